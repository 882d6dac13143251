"""Brings a streamed answer to a platform: whole, well formed, on time, whatever the platform does."""
