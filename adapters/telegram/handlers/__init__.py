"""What becomes of a recorded update: an answer, a pressed button, the settings panel."""
