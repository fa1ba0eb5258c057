"""What answers: models behind an API, and models on this machine."""
