"""How many calls a chat and an account may make, and which of them are worth one. Pure: the clock is an argument."""
