"""The local page: one shared channel over WebSocket, its posts, and the server that plays the platform's part."""
