"""What a growing answer shows now: chunks within a platform's limits, thinking, files."""
