"""The same service over HTTP: what both sides agree on, the client, the server."""
