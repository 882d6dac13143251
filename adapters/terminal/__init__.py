"""The bot in a terminal: one answer, or a conversation."""
