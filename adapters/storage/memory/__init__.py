"""What is kept, in plain dictionaries: for one question in a terminal, and for tests."""
