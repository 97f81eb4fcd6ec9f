"""A token authority: macaroons that holders narrow, that always expire, and that can be revoked at once."""
