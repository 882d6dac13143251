"""`partyline data`: backup, restore, export, erase and vacuum, each safe while the bot runs."""
