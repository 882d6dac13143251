"""Captions of pictures, and answers about them, by BLIP."""
