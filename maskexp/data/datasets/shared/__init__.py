"""What several declarations share."""
