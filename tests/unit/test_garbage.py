"""What is made to last is left alone by the collector."""

from __future__ import annotations

import gc
import weakref

import pytest

from inference.processes.gc_freeze import frozen_allocations


def test_what_is_made_inside_is_not_looked_through() -> None:
    with frozen_allocations():
        assert not gc.isenabled()
        kept = [[number] for number in range(1_000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(kept)
    assert not any(found is kept for found in gc.get_objects())


def test_what_was_made_to_last_and_is_over_goes_when_the_next_begins() -> None:
    class Model:
        def __init__(self) -> None:
            self.itself = self

    with frozen_allocations():
        model = Model()
    gone = weakref.ref(model)
    del model
    with frozen_allocations():
        assert gone() is None


def test_the_collector_runs_again_after_a_failure() -> None:
    with pytest.raises(RuntimeError), frozen_allocations():
        raise RuntimeError
    assert gc.isenabled()
