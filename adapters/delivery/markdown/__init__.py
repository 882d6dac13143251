"""Reads Markdown, whole or still growing: what models write, in blocks and as one small tree."""
