"""Answers as models write them: what the renderers and the chunker are held against, and what a person looked at."""
