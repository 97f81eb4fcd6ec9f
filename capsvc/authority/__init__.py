"""What the service does, callable without HTTP."""
