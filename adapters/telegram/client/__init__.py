"""The way to a Bot API server: transport, its errors, retries, addresses."""
