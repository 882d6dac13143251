"""What strangers send over HTTP, within limits: connections, Host headers, forms, JSON."""
