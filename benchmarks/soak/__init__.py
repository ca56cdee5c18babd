"""What the service does under load for minutes, against its limits."""
