"""Reasoning beside answers: how each family of models writes it (`formats`), and how a stream is taken apart.

Standard library and `regex` only, no clock and no asyncio.
"""
