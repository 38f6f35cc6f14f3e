"""What drives the local workspace in environments of their own: unmodified SDKs. Never imported by a test."""
