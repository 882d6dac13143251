"""One open socket: what its person sends, and what becomes of it."""
