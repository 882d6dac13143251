"""The shared service itself: one request from its place in the queue to its last token, and an engine that is
replaced when it dies.
"""
