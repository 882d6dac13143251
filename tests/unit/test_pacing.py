"""The pace against limits that it does not know, by a pure simulation of hours."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.delivery.pacing import Pace

Limit = Callable[[float], float]
"""What the platform says to a call at a time: 0 admits it, otherwise the penalty in seconds."""


def spaced(interval_s: Callable[[float], float], burst: int = 1) -> Limit:
    """A bucket that holds `burst` calls and is refilled every interval."""
    tokens, refilled = float(burst), 0.0

    def admit(now: float) -> float:
        nonlocal tokens, refilled
        tokens, refilled = min(burst, tokens + (now - refilled) / interval_s(now)), now
        if tokens < 1 - 1e-6:
            return (1 - tokens) * interval_s(now)
        tokens -= 1
        return 0.0

    return admit


def window(calls: int, seconds: float) -> Limit:
    recent: deque[float] = deque()

    def admit(now: float) -> float:
        while recent and recent[0] <= now - seconds:
            recent.popleft()
        if len(recent) >= calls:
            return recent[0] + seconds - now
        recent.append(now)
        return 0.0

    return admit


def by_chance(share: float, seconds: float, seed: int) -> Limit:
    dice = random.Random(seed)
    return lambda now: seconds if dice.random() < share else 0.0


def run(pace: Pace, limit: Limit, until: float, latency: tuple[float, float] = (0.05, 0.3), seed: int = 0) -> Calls:
    """Sends whenever it may, as in a chat where an answer grows without end."""
    dice, now, calls = random.Random(seed), 0.0, Calls()
    while now < until:
        now = max(now, pace.ready_at())
        assert now >= pace.silent_until()
        pace.began(now)
        there = dice.uniform(*latency) / 2
        penalty = limit(now + there)
        took = there + dice.uniform(*latency) / 2
        calls.append((now, penalty))
        now += took
        if penalty:
            pace.penalised(now, penalty)
        else:
            pace.succeeded(now, took)
    return calls


class Calls(list[tuple[float, float]]):
    def between(self, begin: float, end: float) -> list[tuple[float, float]]:
        return [call for call in self if begin <= call[0] < end]

    def penalties(self, begin: float = 0.0, end: float = float("inf")) -> list[float]:
        return [now for now, penalty in self.between(begin, end) if penalty]


def test_a_good_guess_meets_no_penalty() -> None:
    calls = run(Pace(1.0), spaced(lambda now: 1.0), 3_600)
    assert len(calls) > 3_000
    assert len(calls.penalties()) <= 0.005 * len(calls)


@pytest.mark.parametrize(
    ("guess", "limit", "possible"),
    [
        (1.0, spaced(lambda now: 3.0), 1 / 3),
        (1.0, spaced(lambda now: 1.3, burst=5), 1 / 1.3),
        (3.0, window(20, 60), 1 / 3),
        (1.0, window(20, 60), 1 / 3),
        (0.1, spaced(lambda now: 1.0, burst=5), 1.0),
        (1.0, spaced(lambda now: 20.0), 1 / 20),
    ],
)
def test_steady_load_meets_hardly_any_penalty(guess: float, limit: Limit, possible: float) -> None:
    calls = run(Pace(guess), limit, 6 * 3_600)
    steady = calls.between(600, 6 * 3_600)
    assert len(calls.penalties(600)) <= 0.005 * len(steady)
    assert len(steady) >= 0.45 * possible * (6 * 3_600 - 600)


@pytest.mark.parametrize("after", [1.5, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("seed", range(5))
def test_settles_within_half_a_minute_when_the_limit_is_tightened(after: float, seed: int) -> None:
    calls = run(Pace(1.0), spaced(lambda now: 1.0 if now < 1_000 else after), 1_300, seed=seed)
    assert 1 <= len(calls.penalties(1_000)) <= 5
    assert calls.penalties(1_040) == []


@pytest.mark.parametrize("strict", [1.5, 2.0, 5.0, 10.0])
@pytest.mark.parametrize("lasted", [1, 8, 15, 25])
def test_settles_within_half_a_minute_when_a_short_restriction_is_over(strict: float, lasted: float) -> None:
    over = 1_000 + lasted
    calls = run(Pace(1.0), spaced(lambda now: strict if 1_000 <= now < over else 1.0), 1_500)
    assert len(calls.between(over + 30, over + 130)) >= (65 if strict < 3 else 80)
    assert calls.penalties(over + 10) == []


@pytest.mark.parametrize("before", [2.0, 3.0])
def test_a_limit_that_held_for_long_is_found_loosened_at_the_next_trial(before: float) -> None:
    calls = run(Pace(1.0), spaced(lambda now: before if now < 200 else 1.0), 2_000)
    assert len(calls.between(400, 500)) >= 80
    assert len(calls.penalties()) <= 7


def test_a_failed_trial_costs_one_penalty_and_leaves_the_interval() -> None:
    pace = Pace(1.0)
    calls = run(pace, spaced(lambda now: 3.0), 7_200)
    trials = calls.penalties(60)
    assert 2 <= len(trials) <= 6
    assert all(later - earlier > 250 for earlier, later in pairwise(trials))
    assert 3.0 <= pace.interval_s <= 3.6


@pytest.mark.parametrize("retry_after_s", [1.0, 3.0, 10.0])
def test_penalties_that_come_whatever_the_pace_do_not_silence_a_chat(retry_after_s: float) -> None:
    pace = Pace(1.0)
    calls = run(pace, by_chance(0.05, retry_after_s, 1), 600)
    assert len(calls) >= 70
    assert pace.interval_s <= 20.0


def test_rare_penalties_that_come_whatever_the_pace_hardly_slow_a_chat_down() -> None:
    made = 0
    for seed in range(5):
        made += len(run(Pace(1.0), by_chance(0.01, 3.0, seed), 3_600))
    assert made >= 5 * 1_900


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 60), st.booleans()), max_size=60), st.floats(0.01, 5))
def test_nothing_is_ever_due_in_a_penalty(calls: list[tuple[float, bool]], guess: float) -> None:
    pace, now = Pace(guess), 0.0
    for seconds, penalised in calls:
        now = max(now, pace.ready_at())
        pace.began(now)
        if penalised:
            pace.penalised(now, seconds)
            assert pace.ready_at() >= now + seconds
        else:
            pace.succeeded(now, seconds)
            assert pace.ready_at() >= now
        assert guess <= pace.interval_s <= 60
