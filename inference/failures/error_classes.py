"""What an exception of a library means. Pure: the libraries themselves are not imported."""

from __future__ import annotations

_GB = 1e9
# As torch says it of GPUs, of CPUs, and of its libraries on GPUs (CUBLAS_STATUS_ALLOC_FAILED).
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device has no memory for what was asked; by names and words, as torch and llama.cpp have them."""
    names = {kind.__name__ for kind in type(error).__mro__}
    said = str(error).lower()
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or any(words in said for words in _OUT_OF_MEMORY)


def missing_memory(what: str, needed: int, free: int) -> str | None:
    """A sentence where `needed` bytes are more than `free`."""
    if needed <= free:
        return None
    return (
        f"{what} needs {needed / _GB:.1f} GB of memory and {free / _GB:.1f} GB are free: "
        f"{(needed - free) / _GB:.1f} GB are missing"
    )
