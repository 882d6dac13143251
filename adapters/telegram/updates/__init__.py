"""What an update says: messages, files, marked text, groups that moved."""
