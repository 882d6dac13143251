"""Events of Discord on their way in: heard, read, recorded, answered once."""
