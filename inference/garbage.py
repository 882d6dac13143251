"""Keeps the search for garbage away from what is there for good."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def made_to_last() -> Iterator[None]:
    """What is there when this ends is looked through only when the next such thing begins.

    Python's collector stops every thread while it looks at all objects there are: 0.07 s with the program's own, 0.3 s
    with those of torch and transformers, several times while these are imported. Streams stand still for that long.
    """
    gc.unfreeze()
    gc.collect()  # a model that another one follows is full of cycles
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
