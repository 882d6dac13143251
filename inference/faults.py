"""What an exception of a library means. Pure: the libraries themselves are not imported."""

from __future__ import annotations


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device has no memory for what was asked; by names and words, as torch and llama.cpp have them."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or "out of memory" in str(error).lower()
