"""The service, asked over HTTP."""
