"""Frames as Discord's messages: channels, interactions, components."""
