"""What the bot does, on any platform: what a message means, what is answered, what is kept of it."""
