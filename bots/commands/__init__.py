"""How words become commands, and what each command is called and does, by language. Pure."""
