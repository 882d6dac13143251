"""The estimator against limits that it does not know, by a pure simulation of hours."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.delivery.pacing.call_budget import CallBudget, Demand, Priority
from adapters.delivery.pacing.limit_estimator import LimitEstimator
from adapters.delivery.pacing.rate_budget import Rate, RateBudget

Limit = Callable[[float], float]
"""What the platform says to a call at a time: 0 admits it, otherwise the penalty in seconds."""

PRIVATE, GROUP, DISCORD = Rate(1, 1.0, burst=4), Rate(20, 60.0), Rate(5, 5.0)


def bucket(interval_s: Callable[[float], float], burst: int = 1) -> Limit:
    """Holds `burst` calls and is refilled every interval."""
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


class Calls(list[tuple[float, float]]):
    """When each call began, and its penalty."""

    def between(self, begin: float, end: float) -> list[tuple[float, float]]:
        return [call for call in self if begin <= call[0] < end]

    def penalties(self, begin: float = 0.0, end: float = float("inf")) -> list[float]:
        return [now for now, penalty in self.between(begin, end) if penalty]


def run(
    table: Rate,
    limit: Limit,
    until: float,
    latency: tuple[float, float] = (0.05, 0.3),
    seed: int = 0,
    priority: Priority = Priority.FINAL,
) -> Calls:
    """Sends whenever it may, as in a chat where there is always something to show."""
    budget, dice, calls = CallBudget(table), random.Random(seed), Calls()
    now = silent_until = 0.0
    while now < until:
        now = max(budget.ready_at(priority, "", Demand(), now), silent_until)
        budget.begin(now)
        there = dice.uniform(*latency) / 2
        penalty = limit(now + there)
        calls.append((now, penalty))
        now += there + dice.uniform(*latency) / 2
        if penalty:
            silent_until = budget.penalised(now, penalty)
            assert silent_until >= now + penalty
        else:
            budget.admitted(now, priority, "")
    return calls


@pytest.mark.parametrize(
    ("table", "limit"),
    [
        (PRIVATE, lambda: bucket(lambda now: 1.0, burst=4)),
        (GROUP, lambda: window(20, 60)),
        (DISCORD, lambda: window(5, 5)),
    ],
)
@pytest.mark.parametrize("latency", [(0.0, 0.0), (0.05, 0.3), (0.0, 2.0)])
@pytest.mark.parametrize("priority", [Priority.FINAL, Priority.PREVIEW])
def test_the_tables_limit_is_kept_and_used(
    table: Rate, limit: Callable[[], Limit], latency: tuple[float, float], priority: Priority
) -> None:
    calls = run(table, limit(), 3_600, latency, priority=priority)
    assert calls.penalties() == []
    if priority is Priority.FINAL:
        used = table.interval_s + latency[1] / table.capacity
        assert len(calls) >= 0.75 * 3_600 / max(used, latency[1] / 2)


@pytest.mark.parametrize(
    ("table", "limit", "possible"),
    [
        (PRIVATE, lambda: bucket(lambda now: 3.0), 1 / 3),
        (PRIVATE, lambda: bucket(lambda now: 1.3, burst=5), 1 / 1.3),
        (PRIVATE, lambda: bucket(lambda now: 5.0, burst=10), 1 / 5),
        (PRIVATE, lambda: bucket(lambda now: 3.0, burst=30), 1 / 3),
        (PRIVATE, lambda: bucket(lambda now: 20.0), 1 / 20),
        (PRIVATE, lambda: window(20, 60), 1 / 3),
        (PRIVATE, lambda: window(50, 60), 50 / 60),
        (PRIVATE, lambda: window(5, 15), 1 / 3),
        (PRIVATE, lambda: window(100, 300), 1 / 3),
        (GROUP, lambda: window(10, 60), 1 / 6),
        (GROUP, lambda: bucket(lambda now: 10.0, burst=3), 1 / 10),
        (DISCORD, lambda: window(3, 5), 3 / 5),
        (DISCORD, lambda: window(2, 10), 2 / 10),
    ],
)
def test_steady_load_meets_hardly_any_penalty(table: Rate, limit: Callable[[], Limit], possible: float) -> None:
    calls = run(table, limit(), 6 * 3_600)
    steady = calls.between(600, 6 * 3_600)
    assert len(calls.penalties(600)) <= 0.005 * len(steady) + 1
    assert len(steady) >= 0.65 * possible * (6 * 3_600 - 600)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.sampled_from([PRIVATE, GROUP, DISCORD]),
    st.integers(3, 60),
    st.booleans(),
    st.booleans(),
    st.floats(0.02, 0.3),
    st.integers(0, 1_000),
)
def test_limits_of_3_to_60_calls_a_minute_are_found(
    table: Rate, a_minute: int, by_window: bool, is_rounded: bool, leg_s: float, seed: int
) -> None:
    limit = window(a_minute, 60) if by_window else bucket(lambda now: 60 / a_minute, 1 + seed % 5)
    calls = run(table, in_whole_seconds(limit) if is_rounded else limit, 2 * 3_600, (leg_s, 3 * leg_s), seed)
    assert len(calls.penalties(600)) <= 0.005 * len(calls.between(600, 2 * 3_600)) + 6
    allowed = min(a_minute, 60 / table.interval_s)
    assert len(calls.between(600, 2 * 3_600)) >= 0.5 * allowed * (7_200 - 600) / 60


@pytest.mark.parametrize("after", [1.2, 1.5, 2.0, 3.0, 5.0, 10.0])
def test_a_limit_that_is_tightened_is_found_by_a_few_penalties(after: float) -> None:
    for seed in range(10):
        calls = run(PRIVATE, bucket(lambda now: 1.0 if now < 1_000 else after, 4), 1_600, seed=seed)
        assert calls.penalties(0, 1_000) == []
        assert len(calls.penalties(1_000)) <= 8, "as many as a new chat may pay for, and those of two trials"


@pytest.mark.parametrize("allowed", [3, 10, 20, 30])
@pytest.mark.parametrize("is_rounded", [False, True])
def test_one_or_two_penalties_tell_that_the_calls_of_a_minute_are_used_up(allowed: int, is_rounded: bool) -> None:
    for seed in range(10):
        limit = from_1000_on(window(allowed, 60))
        calls = run(PRIVATE, in_whole_seconds(limit) if is_rounded else limit, 1_125, seed=seed)
        assert 1 <= len(calls.penalties()) <= 2


@pytest.mark.parametrize("strict", [1.5, 3.0, 5.0, 10.0])
@pytest.mark.parametrize("lasted", [5, 30, 60])
def test_a_short_restriction_is_over_within_ten_minutes(strict: float, lasted: float) -> None:
    over = 1_000 + lasted
    calls = run(PRIVATE, bucket(lambda now: strict if 1_000 <= now < over else 1.0, 4), over + 700)
    assert len(calls.between(over + 600, over + 700)) >= 80
    assert len(calls.penalties()) <= 4


def test_a_limit_that_held_for_hours_is_found_loosened_when_the_calls_have_paid_for_a_trial() -> None:
    calls = run(PRIVATE, bucket(lambda now: 3.0 if now < 7_200 else 1.0, 4), 10_000)
    found = 7_200 + 280 * 1.15 * 3 + 60
    assert len(calls.between(found, found + 100)) >= 75


@pytest.mark.parametrize("retry_after_s", [1.0, 3.0, 10.0])
def test_penalties_that_come_whatever_the_pace_do_not_silence_a_chat(retry_after_s: float) -> None:
    made = sum(
        len(run(PRIVATE, by_chance(0.05, retry_after_s, seed), 2_400, seed=seed).between(0, 2_400)) for seed in range(6)
    )
    assert made >= 0.3 * 6 * 2_400 / (1.0 + 0.05 * retry_after_s)


@pytest.mark.parametrize("table", [PRIVATE, GROUP, DISCORD])
@pytest.mark.parametrize("quiet_s", [0, 36_000])
@pytest.mark.parametrize("refused_s", [20, 60, 1_000])
def test_a_platform_that_refused_everything_for_a_while_is_written_to_again(
    table: Rate, quiet_s: float, refused_s: float
) -> None:
    """Nothing was admitted meanwhile, so nothing is known of a pace; before it the chat may have slept for hours."""
    budget, now, over = CallBudget(table), 0.0, quiet_s + refused_s
    if quiet_s:
        budget.begin(now)
        budget.admitted(now, Priority.FINAL, "")
    now, times = quiet_s, list[float]()
    while now < over + 1_200:
        now = budget.ready_at(Priority.FINAL, "", Demand(), now)
        budget.begin(now)
        if now < over:
            now = budget.penalised(now + 0.1, 1.0)
        else:
            times.append(now)
            budget.admitted(now + 0.1, Priority.FINAL, "")
            now += 0.1
    assert times[0] < over + 61
    assert all(later - earlier < 63 for earlier, later in pairwise(times))
    assert sum(time > over + 900 for time in times) >= 0.7 * 300 / table.interval_s


@pytest.mark.parametrize("calls", [0, 1, 10, 300])
@pytest.mark.parametrize("punished_s", [400, 4_000, 86_400])
def test_a_punishment_is_waited_for_once_and_is_no_limit(calls: int, punished_s: float) -> None:
    budget, now = CallBudget(PRIVATE), 0.0
    for _ in range(calls):
        now = budget.ready_at(Priority.FINAL, "", Demand(), now)
        budget.begin(now)
        budget.admitted(now, Priority.FINAL, "")
    budget.begin(now)
    now = over = budget.penalised(now, punished_s)
    assert over >= punished_s
    for _ in range(20):
        now = budget.ready_at(Priority.FINAL, "", Demand(), now)
        budget.begin(now)
        budget.admitted(now, Priority.FINAL, "")
    assert now < over + 20 * PRIVATE.interval_s


def test_a_penalty_before_which_nothing_was_sent_tells_nothing_of_the_chat() -> None:
    estimator = LimitEstimator(GROUP)
    estimator.penalised(0.0, 0.0, 200.0)
    assert estimator.learned is None


@settings(derandomize=True, deadline=None)
@given(
    st.sampled_from([PRIVATE, GROUP, DISCORD]),
    st.lists(st.tuples(st.floats(0.001, 90), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(0.1, 300),
)
def test_by_what_was_learnt_the_refused_call_would_have_waited(
    table: Rate, steps: list[tuple[float, float]], retry_after_s: float
) -> None:
    estimator, now = LimitEstimator(table), 0.0
    for pause, took in steps:
        now += pause
        estimator.admitted(now, now + took, is_used=False)
        now += took
    estimator.penalised(now, now, retry_after_s)
    assert estimator.learned is not None
    learned = RateBudget(estimator.learned, estimator.ended)
    assert learned.free_at(1) >= now + retry_after_s or estimator.learned.calls == 1


@settings(derandomize=True, deadline=None)
@given(
    st.sampled_from([PRIVATE, GROUP, DISCORD, Rate(1, 1.0), Rate(30, 1.0)]),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 5), st.floats(0, 1)), max_size=200),
)
def test_however_long_calls_are_under_way_the_platform_counts_no_more_than_are_allowed(
    rate: Rate, plan: list[tuple[float, float, float]]
) -> None:
    """Many at once; each arrives at some moment of its time."""
    budget, now = RateBudget(rate), 0.0
    under_way: list[float] = []
    arrivals: list[float] = []
    for pause, took, arrives in plan:
        now += pause
        for ended in sorted(each for each in under_way if each <= now):
            under_way.remove(ended)
            budget.end(ended)
        if budget.free(now) > 0:
            budget.begin()
            under_way.append(now + took)
            arrivals.append(now + took * arrives)
    limit = bucket(lambda at: rate.interval_s, rate.burst) if rate.burst else window(rate.calls, rate.window_s)
    assert [limit(at) for at in sorted(arrivals)] == [0.0] * len(arrivals)
