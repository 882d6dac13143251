"""What a failure means, and which request has caused it. Pure."""
