"""What the service, the middleware and the discharger say and hear on HTTP in the same way."""
