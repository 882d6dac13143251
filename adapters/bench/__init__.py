"""`partyline bench`: how many people this machine and model serve at once at the speed at which people read."""
