"""What is done beside text, in batches: a folder for each task, and the decoding of media."""
