"""Any OpenAI-compatible server as an engine, several of one model too."""
