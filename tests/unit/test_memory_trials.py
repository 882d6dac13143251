"""Trials of requests that lacked memory: of one owner one a minute, and of all together a tenth of the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.failures.memory_trials import MemoryTrials

LONGEST_S = 30.0
steps = st.lists(st.tuples(st.floats(0.0, 120.0), st.floats(0.0, LONGEST_S), st.integers(0, 40)), max_size=80)


def held_within(trials: list[tuple[float, float]], since: float, until: float) -> float:
    """Seconds of the trials in that time, each for itself."""
    return sum(max(0.0, min(end, until) - max(began, since)) for began, end in trials)


@given(steps=steps)
def test_however_many_owners_lack_memory_others_are_held_back_for_a_tenth_of_the_time(
    steps: list[tuple[float, float, int]],
) -> None:
    """Each step: so long after the last request, a trial of this length, of this owner."""
    trials, now = MemoryTrials(LONGEST_S), 0.0
    running: list[tuple[float, float]] = []
    held: list[tuple[float, float]] = []
    for pause_s, length_s, owner in steps:
        now += pause_s
        for each in sorted((each for each in running if each[1] <= now), key=lambda each: each[1]):
            trials.end(*each)
            running.remove(each)
        if trials.begin(f"owner {owner}", 100, now):
            running.append((now, now + length_s))
            held.append((now, now + length_s))
    moments = [moment for each in held for moment in each]
    for since in moments:
        for until in moments:
            assert held_within(held, since, until) <= 0.1 * max(0.0, until - since) + 2 * LONGEST_S + 1e-6


@given(
    lengths=st.lists(st.sampled_from([0.1, 7.0, 15.0, LONGEST_S]), min_size=40, max_size=120),
    pause_s=st.floats(0.5, 5.0),
)
def test_owners_without_end_who_ask_as_often_as_they_may_hold_others_back_no_longer(
    lengths: list[float], pause_s: float
) -> None:
    """Each time somebody new, who begins a trial as soon as there may be one."""
    trials, now = MemoryTrials(LONGEST_S), 0.0
    held: list[tuple[float, float]] = []
    for number, length_s in enumerate(lengths):
        while not trials.begin(f"owner {number}", 100, now):
            now += pause_s
        held.append((now, now + length_s))
        now += length_s
        trials.end(held[-1][0], now)
    for since, _ in held:
        for _, until in held:
            assert held_within(held, since, until) <= 0.1 * max(0.0, until - since) + 2 * LONGEST_S + 1e-6


def test_short_trials_of_several_owners_follow_each_other() -> None:
    trials = MemoryTrials(LONGEST_S)
    for number in range(10):
        assert trials.begin(f"owner {number}", 100, float(number))
        trials.end(number, number + 1.0)


def test_long_ones_wait_until_others_had_nine_times_as_long() -> None:
    trials, now, begun = MemoryTrials(LONGEST_S), 0.0, 0
    while now < 3600.0:
        if trials.begin(f"owner {now}", 100, now):
            trials.end(now, now + LONGEST_S)
            begun += 1
        now += 1.0
    assert begun == pytest.approx(3600.0 / 300.0 + 2, abs=1)


def test_one_owner_has_one_trial_a_minute() -> None:
    trials = MemoryTrials(LONGEST_S)
    begun = []
    for now in range(0, 180, 10):
        if trials.begin("ann", 100, float(now)):
            trials.end(now, now)
            begun.append(now)
    assert begun == [0, 60, 120]


def test_what_is_known_to_be_too_large_is_not_tried() -> None:
    trials = MemoryTrials(LONGEST_S)
    trials.failed(100)
    assert not trials.begin("ann", 100, 0.0)
    assert trials.begin("ann", 99, 0.0)
    trials.fitted(100)
    assert trials.begin("bob", 100, 0.0)
