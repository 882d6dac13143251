"""Engines do the forward passes and the batching; each one wraps a library that is good at it."""
