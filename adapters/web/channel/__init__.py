"""The shared channel: its posts, who sees their changes, and the messages that tell of them."""
