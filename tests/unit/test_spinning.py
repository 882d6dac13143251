"""Contention is felt when it lasts, and forgotten when it is over; the crowd comes and goes with it."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.engines.llamacpp import openmp_spin
from inference.engines.llamacpp.openmp_spin import Contention, Spinning, waited

shares = st.floats(0.0, 3.0)
intervals = st.floats(0.01, 1.0)


def after(contention: Contention, samples: Iterable[tuple[float, float]], start: float = 0.0) -> bool:
    """Feeds (seconds, share of them that was waited) and returns what is felt in the end."""
    now, total = start, 0.0
    contention.sample(now, total)
    for passed_s, share in samples:
        now, total = now + passed_s, total + share * passed_s
        contention.sample(now, total)
    return contention.felt


def test_a_machine_for_oneself_is_calm() -> None:
    assert not after(Contention(), [(0.25, share) for share in (0.1, 0.2, 0.3, 0.1, 0.7, 0.1, 0.4, 0.1)])


def test_a_shared_machine_is_felt_within_a_second_and_forgotten_within_a_second() -> None:
    contention = Contention()
    assert after(contention, [(0.25, 0.9)] * 4)
    assert not after(contention, [(0.25, 0.1)] * 4, start=10.0)


@given(st.lists(st.tuples(intervals, st.floats(0.0, Contention.felt_above - 0.01))))
def test_what_stays_below_is_never_felt(samples: list[tuple[float, float]]) -> None:
    assert not after(Contention(), samples)


@given(st.lists(st.tuples(intervals, shares), max_size=20), st.floats(Contention.felt_above + 0.05, 3.0))
def test_what_lasts_is_felt_whatever_was_before(before: list[tuple[float, float]], share: float) -> None:
    assert after(Contention(), [*before, *[(0.25, share)] * 20])


@given(st.lists(st.tuples(intervals, shares), max_size=20))
def test_calm_returns_whatever_was_before(before: list[tuple[float, float]]) -> None:
    assert not after(Contention(), [*before, *[(0.25, 0.0)] * 20])


@given(st.floats(0.0, 100.0))
def test_a_pause_and_a_clock_that_stands_still_count_nothing(waited_s: float) -> None:
    contention = Contention()
    contention.sample(1.0, 0.0)
    assert not contention.sample(1.0, waited_s)
    contention.pause()
    assert not contention.sample(2.0, 1_000.0)


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="this system does not count the waiting")
def test_waiting_is_counted() -> None:
    waited_s = waited()
    assert waited_s is not None
    assert waited_s >= 0.0


def test_nobody_watches_where_the_operator_has_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "10")
    watch = Spinning()
    watch.start()
    with working(watch):
        assert not any(thread.name == "llama-spinning" for thread in threading.enumerate())
    watch.close()


@contextmanager
def working(watch: Spinning) -> Iterator[None]:
    watch.count(1)
    yield
    watch.count(-1)


def crowded() -> bool:
    return any(thread.name == "llama-crowd" for thread in threading.enumerate())


def until(wanted: bool) -> None:
    deadline = time.monotonic() + 10
    while crowded() is not wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    assert crowded() is wanted


@pytest.fixture
def openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has GNU OpenMP loaded, and no word of the operator about it."""
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        pytest.skip("there is no GNU OpenMP here")


@pytest.mark.usefixtures("openmp")
def test_the_crowd_is_there_while_cores_are_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmp_spin, "waited", lambda: None)  # as where nobody counts, which is taken for scarce
    watch = Spinning()
    watch.start()
    try:
        assert not crowded()
        with working(watch):
            until(True)
    finally:
        watch.close()
    until(False)


@pytest.mark.usefixtures("openmp")
def test_there_is_no_crowd_while_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = threading.Semaphore(0)

    def nothing_waited() -> float:
        looks.release()
        return 0.0

    monkeypatch.setattr(openmp_spin, "waited", nothing_waited)
    watch = Spinning()
    watch.start()
    try:
        with working(watch):
            assert all(looks.acquire(timeout=10) for _ in range(3))
            assert not crowded()
    finally:
        watch.close()
