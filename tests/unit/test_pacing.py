"""The pace against limits that it does not know, by a pure simulation of hours."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from math import ceil

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


def from_1000_on(limit: Limit) -> Limit:
    return lambda now: limit(now) if now >= 1_000 else 0.0


def in_whole_seconds(limit: Limit) -> Limit:
    return lambda now: float(ceil(limit(now)))


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
        (1.0, spaced(lambda now: 5.0, burst=10), 1 / 5),
        (1.0, spaced(lambda now: 3.0, burst=30), 1 / 3),
        (3.0, window(20, 60), 1 / 3),
        (1.0, window(20, 60), 1 / 3),
        (1.0, window(50, 60), 50 / 60),
        (1.0, window(10, 60), 1 / 6),
        (1.0, window(5, 15), 1 / 3),
        (1.0, window(100, 300), 1 / 3),
        (0.1, spaced(lambda now: 1.0, burst=5), 1.0),
        (1.0, spaced(lambda now: 20.0), 1 / 20),
    ],
)
def test_steady_load_meets_hardly_any_penalty(guess: float, limit: Limit, possible: float) -> None:
    calls = run(Pace(guess), limit, 6 * 3_600)
    steady = calls.between(600, 6 * 3_600)
    assert len(calls.penalties(600)) <= 0.005 * len(steady)
    assert len(steady) >= 0.65 * possible * (6 * 3_600 - 600)


@settings(derandomize=True, max_examples=30)
@given(
    st.sampled_from([0.2, 0.5, 1.0, 3.0]),
    st.floats(1.1, 10),
    st.integers(1, 10),
    st.booleans(),
    st.floats(0.02, 0.3),
    st.integers(0, 1_000),
)
def test_whatever_the_limit_is_steady_load_meets_few_penalties(
    guess: float, stricter: float, burst: int, by_window: bool, leg_s: float, seed: int
) -> None:
    allowed_s = guess * stricter
    limit = window(burst, burst * allowed_s) if by_window else spaced(lambda now: allowed_s, burst)
    calls = run(Pace(guess), limit, 2 * 3_600, (leg_s, 3 * leg_s), seed)
    assert len(calls.penalties(600)) <= 0.005 * len(calls.between(600, 2 * 3_600)) + 4


QUICK, SLOW = (0.05, 0.3), (0.3, 1.0)
"""Where slow round trips keep most calls apart, a limit below 2 s is seldom met at all."""


@pytest.mark.parametrize(
    ("latency", "after"),
    [(QUICK, after) for after in (1.2, 1.5, 2.0, 3.0, 5.0, 10.0)] + [(SLOW, after) for after in (2.0, 3.0, 5.0, 10.0)],
)
def test_settles_within_half_a_minute_when_the_limit_is_tightened(latency: tuple[float, float], after: float) -> None:
    late = 0
    for seed in range(20):
        calls = run(Pace(1.0), spaced(lambda now: 1.0 if now < 1_000 else after), 1_290, latency, seed)
        assert 1 <= len(calls.penalties(1_000)) <= 3
        late += calls.penalties(1_030) != []
    assert late <= 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "burst",
    [
        lambda: window(5, 10),
        lambda: window(5, 15),
        lambda: window(8, 30),
        lambda: spaced(lambda now: 3.0, burst=5),
        lambda: spaced(lambda now: 5.0, burst=10),
    ],
)
def test_settles_within_half_a_minute_of_the_first_penalty_when_bursts_are_allowed(
    burst: Callable[[], Limit], seed: int
) -> None:
    calls = run(Pace(1.0), from_1000_on(burst()), 1_290, seed=seed)
    first = calls.penalties()[0]
    assert calls.penalties(first + 34) == []
    assert len(calls.penalties()) <= 4


@pytest.mark.parametrize("allowed", [3, 10, 20, 30])
def test_settles_when_the_calls_of_a_whole_minute_are_used_up(allowed: int) -> None:
    """One penalty tells such a limit, and a penalty that long is not tried out again soon."""
    for seed in range(40):
        calls = run(Pace(1.0), from_1000_on(window(allowed, 60)), 1_290, seed=seed)
        assert len(calls.penalties()) == 1
        assert calls.penalties(1_037) == []


@pytest.mark.parametrize("allowed", [3, 10, 20, 30])
def test_a_limit_of_a_minute_is_found_from_penalties_in_whole_seconds(allowed: int) -> None:
    """Rounded up, they do not tell to a call how many there were; so sometimes one more tells it."""
    more = 0
    for seed in range(40):
        calls = run(Pace(1.0), from_1000_on(in_whole_seconds(window(allowed, 60))), 1_290, seed=seed)
        assert 1 <= len(calls.penalties()) <= 2
        more += len(calls.penalties()) - 1
    assert more <= 2


@pytest.mark.parametrize("strict", [1.5, 2.0, 5.0, 10.0])
@pytest.mark.parametrize("lasted", [1, 4, 8, 15, 25])
@pytest.mark.parametrize("seed", range(2))
def test_settles_within_half_a_minute_when_a_short_restriction_is_over(strict: float, lasted: float, seed: int) -> None:
    over = 1_000 + lasted
    calls = run(Pace(1.0), spaced(lambda now: strict if 1_000 <= now < over else 1.0), 1_300, seed=seed)
    assert len(calls.between(over + 20, over + 120)) >= 80
    assert len(calls.penalties()) <= 2
    assert calls.penalties(over + 1) == []


def test_a_short_restriction_is_over_for_a_chat_whose_limit_is_known() -> None:
    calls = run(Pace(1.0), spaced(lambda now: 8.0 if 1_000 <= now < 1_020 else 2.0), 1_300)
    assert len(calls.between(1_050, 1_150)) >= 38
    assert len(calls.penalties(1_000)) <= 4


@pytest.mark.parametrize("before", [2.0, 3.0])
def test_a_limit_that_held_for_minutes_is_found_loosened_at_the_next_trial(before: float) -> None:
    calls = run(Pace(1.0), spaced(lambda now: before if now < 200 else 1.0), 2_000)
    assert len(calls.between(345, 445)) >= 80
    assert len(calls.penalties()) <= 4


@pytest.mark.parametrize("before", [1.5, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("held", [2_000, 7_200])
def test_a_limit_that_held_for_hours_is_found_loosened_when_the_calls_have_paid_for_a_trial(
    before: float, held: float
) -> None:
    calls = run(Pace(1.0), spaced(lambda now: before if now < held else 1.0), held + 2_100)
    found = held + max(300.0, 280 * 1.15 * before) + 60
    assert len(calls.between(found, found + 100)) >= 80


@pytest.mark.parametrize(("before", "afterwards"), [(3.0, 2.0), (5.0, 2.0), (10.0, 3.0)])
def test_a_limit_that_is_loosened_by_a_little_is_found(before: float, afterwards: float) -> None:
    calls = run(Pace(1.0), spaced(lambda now: before if now < 1_000 else afterwards), 6 * 3_600)
    assert len(calls.between(3 * 3_600, 6 * 3_600)) >= 0.75 * 3 * 3_600 / afterwards
    assert len(calls.penalties(600)) <= 0.005 * len(calls.between(600, 6 * 3_600))


def test_a_failed_trial_costs_one_penalty_and_leaves_the_interval() -> None:
    pace = Pace(1.0)
    calls = run(pace, spaced(lambda now: 3.0), 7_200)
    trials = calls.penalties(60)
    assert 4 <= len(trials) <= 10
    assert all(later - earlier > 290 for earlier, later in pairwise(trials))
    assert 3.0 <= pace.interval_s <= 3.4


@pytest.mark.parametrize("retry_after_s", [1.0, 3.0, 10.0])
def test_penalties_that_come_whatever_the_pace_do_not_silence_a_chat(retry_after_s: float) -> None:
    made = 0
    for seed in range(5):
        made += len(run(Pace(1.0), by_chance(0.05, retry_after_s, seed), 1_200, seed=seed))
    assert made >= 0.5 * 5 * 1_200 / (1.15 + 0.05 * retry_after_s)


@pytest.mark.parametrize(
    ("share", "retry_after_s", "kept"), [(0.005, 3, 0.9), (0.01, 1, 0.85), (0.01, 3, 0.8), (0.005, 30, 0.65)]
)
def test_rare_penalties_that_come_whatever_the_pace_hardly_slow_a_chat_down(
    share: float, retry_after_s: float, kept: float
) -> None:
    made = 0
    for seed in range(6):
        made += len(run(Pace(1.0), by_chance(share, retry_after_s, seed), 3_600, seed=seed))
    assert made >= kept * 6 * 3_600 / (1.15 + share * retry_after_s)


@settings(derandomize=True)
@given(
    st.lists(st.tuples(st.floats(0, 4_000), st.booleans(), st.floats(0, 500)), max_size=60),
    st.floats(0.01, 5),
)
def test_nothing_is_ever_due_in_a_penalty(calls: list[tuple[float, bool, float]], guess: float) -> None:
    pace, now = Pace(guess), 0.0
    for seconds, penalised, pause in calls:
        now = max(now, pace.ready_at()) + pause
        pace.began(now)
        if penalised:
            pace.penalised(now, seconds)
            assert pace.ready_at() >= now + seconds
        else:
            pace.succeeded(now, min(seconds, 60))
            assert pace.ready_at() >= now
        assert guess <= pace.interval_s <= 60
