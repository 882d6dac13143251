"""Discord, over the unmodified discord.py."""
