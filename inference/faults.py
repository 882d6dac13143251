"""What an exception of a library means. Pure: the libraries themselves are not imported."""

from __future__ import annotations

_GB = 1e9


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device has no memory for what was asked; by names and words, as torch and llama.cpp have them."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or "out of memory" in str(error).lower()


def missing_memory(what: str, needed: int, free: int) -> str | None:
    """A sentence where `needed` bytes are more than `free`."""
    if needed <= free:
        return None
    return (
        f"{what} needs {needed / _GB:.1f} GB of memory and {free / _GB:.1f} GB are free: "
        f"{(needed - free) / _GB:.1f} GB are missing"
    )
