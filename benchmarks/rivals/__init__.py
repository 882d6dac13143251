"""The smallest honest versions of the bots that Partyline is compared with, each a process of its own.

`telegram_bot` and `discord_bot` are the usual bot: a placeholder, then an edit a second for each message, and waiting
where the platform says 429. Its words come from llama.cpp's own server (`llama`) by the `openai` client, or from a
thread for each message (`pieces.from_threads`). `llama` also drives the engine without any bot. Nothing here imports
Partyline, but for where its demo model lies.
"""
