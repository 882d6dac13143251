"""The connection to Discord: REST calls, gateway, addresses."""
