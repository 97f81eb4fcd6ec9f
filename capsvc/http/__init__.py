"""The service on HTTP: thin."""
