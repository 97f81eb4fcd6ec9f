"""Where the authority keeps what it must not lose, behind one protocol."""
