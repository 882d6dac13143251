"""The simulation behind docs/capacity.md: nothing is lost in it, and more people never need less."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.costs import fitted
from benchmarks.rivals.results import Result
from benchmarks.simulation.flow import Flow, Message, Work, arrivals
from benchmarks.simulation.model import Costs, Deployment, Load, busy, demand, needed, times, waits
from benchmarks.simulation.stations import Engine, Loop, Rates, Server

COSTS = Costs(
    engine="an engine",
    tokens_a_second={1: 100.0, 16: 1000.0, 64: 3000.0},
    slots=64,
    first_token_s=0.1,
    telegram_calls_a_second=29,
    discord_calls_a_second=45,
    work=Work(message_s=0.01, call_s=0.005, company_s=0.03, other_s=0.02),
    cpu_s_a_token=0.0003,
    servers_a_shard=2500,
    picture_s=0.8,
    rows_a_reply=16.0,
    rows_a_second=1000.0,
)
RATES = Rates({1: 100.0, 4: 200.0})
MESSAGES = st.lists(
    st.builds(
        Message, at=st.floats(0, 30), tokens=st.integers(1, 300), has_picture=st.booleans(), account=st.integers(0, 1)
    ),
    max_size=60,
).map(lambda messages: sorted(messages, key=lambda each: each.at))


def flow() -> Flow:
    engines = [Engine(3, RATES, 0.2), Engine(1, RATES)]
    accounts, loops = [Server(3, 1.0, kept=1), Server(1, 0.5)], [Loop(0.001), Loop(0.001)]
    return Flow(engines, accounts, loops, COSTS.work, [Server(1, 2.0)])


@given(messages=MESSAGES)
def test_every_message_is_answered_once_with_all_its_tokens(messages: list[Message]) -> None:
    stations = flow()
    done = stations.run(messages)
    assert done == messages
    for each in done:
        assert each.at < each.first_at <= each.complete_at < math.inf
        assert each.ended_at <= each.complete_at
        assert each.calls >= 1
    given_tokens = sum(engine.given for engine in stations.engines)
    assert given_tokens == pytest.approx(sum(each.tokens for each in done))
    started, shown = sum(account.started for account in stations.accounts), sum(each.calls for each in done)
    assert shown <= started <= shown + len(done), "beside what is shown, each is typed for once at most"
    assert sum(loop.busy_s for loop in stations.loops) == pytest.approx(len(done) * 0.01 + started * 0.005)
    assert not any(engine.taken for engine in stations.engines)


@given(times_=st.lists(st.floats(0, 20), max_size=80).map(sorted), calls=st.integers(1, 5))
def test_an_account_never_makes_more_calls_in_a_window_than_it_may(times_: list[float], calls: int) -> None:
    account = Server(calls, 1.0)
    made: list[float] = []
    for at in times_:
        account.enter(0)
        now = max(at, account.free_at, made[-1] if made else 0.0)
        account.start(now)
        made.append(now)
    for first, last in zip(made, made[calls:], strict=False):
        assert last - first >= 1.0 - 1e-9


def test_last_frames_go_before_first_words() -> None:
    account = Server(1, 1.0)
    for message, rank in ((1, 1), (2, 1), (3, 0)):
        account.enter(message, rank)
    assert [account.start(float(at)) for at in range(3)] == [3, 1, 2]


def test_streams_share_what_the_engine_gives() -> None:
    engine = Engine(4, RATES)
    for message in range(4):
        assert engine.enter(message)
        engine.begin(message, 100.0, 0.0)
    assert not engine.enter(4)
    assert engine.next_end() == pytest.approx(2.0)  # 400 tokens at 200 a second
    assert engine.leave(2.0) == (0, 4)


@pytest.mark.parametrize(("streams", "rate"), [(1, 100), (2, 400 / 3), (4, 200), (9, 200)])
def test_rates_lie_between_what_was_measured(streams: int, rate: float) -> None:
    assert RATES.together(streams) == pytest.approx(rate)
    assert Rates(RATES.measured, most=120.0).together(streams) == pytest.approx(min(120.0, rate))


LOADS = st.builds(
    Load,
    people=st.integers(0, 10**7),
    messages=st.floats(0, 100),
    tokens=st.integers(1, 2000),
    burstiness=st.floats(1, 20),
    pictures=st.floats(0, 1),
    discord=st.floats(0, 1),
)


@given(load=LOADS, more=st.floats(1, 10))
def test_more_messages_never_need_less(load: Load, more: float) -> None:
    fewer, rest = needed(load, COSTS).counts(), needed(times(load, more), COSTS).counts()
    assert all(rest[name] >= count for name, count in fewer.items())


@given(load=LOADS, people=st.integers(0, 10**7))
def test_more_people_never_need_less(load: Load, people: int) -> None:
    more = replace(load, people=load.people + people)
    fewer, rest = needed(load, COSTS).counts(), needed(more, COSTS).counts()
    assert all(rest[name] >= count for name, count in fewer.items())


@given(load=LOADS)
def test_what_is_needed_is_enough(load: Load) -> None:
    deployment = needed(load, COSTS)
    assert all(share <= 0.8 + 1e-9 for share in busy(load, COSTS, deployment).values())
    for name, share in demand(load, COSTS).items():
        assert (deployment.counts()[name] > 0) == (share > 0) or name == "bot_processes"


def test_nobody_needs_nothing_and_waits_for_nothing() -> None:
    nobody = Load(people=0)
    assert needed(nobody, COSTS) == Deployment()
    assert busy(nobody, COSTS, Deployment()) == {}
    told = waits(nobody, COSTS, Deployment())
    assert (told.messages, told.first_p95, told.complete_p95) == (0, 0.0, 0.0)


def test_a_light_load_waits_for_the_engine_alone() -> None:
    load = Load(people=50, pictures=0.0)
    told = waits(load, COSTS, needed(load, COSTS))
    work = COSTS.work
    alone = COSTS.first_token_s + work.message_s + work.call_s + work.company_s + work.other_s
    assert told.first_p50 == pytest.approx(alone, abs=0.01)


@settings(deadline=None, max_examples=3, derandomize=True)
@given(seed=st.integers(0, 1000))
def test_over_its_load_a_deployment_gives_way(seed: int) -> None:
    load = Load(people=20_000, pictures=0.0)
    deployment = needed(load, COSTS)
    usual, flooded = (waits(each, COSTS, deployment, seed) for each in (load, times(load, 4.0)))
    assert flooded.complete_p95 > 3 * usual.complete_p95


def test_messages_come_as_often_as_they_should() -> None:
    came = list(arrivals(5.0, 1000.0, 100, random.Random(1), pictures=0.2))
    assert len(came) == pytest.approx(5000, rel=0.05)
    assert sum(each.tokens for each in came) / len(came) == pytest.approx(100, rel=0.05)
    assert sum(each.has_picture for each in came) / len(came) == pytest.approx(0.2, rel=0.1)
    assert not list(arrivals(0.0, 1000.0, 100, random.Random(1)))


@given(jobs=st.lists(st.tuples(st.floats(0, 20), st.floats(0.001, 0.5)), max_size=40).map(sorted))
def test_a_thread_does_one_thing_after_the_other(jobs: list[tuple[float, float]]) -> None:
    loop, free_at = Loop(token_s=0.001), 0.0
    for now, cost_s in jobs:
        done_at = loop.take(now, cost_s, tokens_a_second=500.0)
        assert done_at == pytest.approx(max(now, free_at) + 2 * cost_s), "tokens take half of it"
        free_at = done_at


def test_messages_at_once_wait_for_the_thread() -> None:
    work = Work(message_s=0.1, call_s=0.01)
    flow = Flow([Engine(99, RATES)], [Server(29, 1.0)], [Loop()], work)
    done = flow.run(Message(0.0, 1) for _ in range(10))
    assert max(each.first_at for each in done) >= 1.0


def test_previews_leave_what_is_worth_more_its_calls() -> None:
    account = Server(4, 1.0, kept=1)
    for message in range(6):
        account.enter(message, 2)
    for _ in range(3):
        assert account.free_at <= 0.0
        account.start(0.0)
    assert account.free_at == 1.0, "the last place is kept"
    account.enter(5, 0)
    assert account.free_at <= 0.0
    assert account.start(0.0) == 5
    assert account.load == 2


def test_nobody_is_typed_for_where_calls_are_scarce() -> None:
    account = Server(4, 1.0)
    assert account.may_spare(0.0)
    account.take(0.0)
    account.take(0.0)
    assert not account.may_spare(0.5)
    assert account.may_spare(1.0)


def test_costs_are_found_again() -> None:
    sizes = [(50, 500, 120), (50, 6400, 400), (100, 1000, 210), (200, 25600, 520)]
    crowds = [
        Result(part="growth", people=people, contender="A", first=[], complete=[], tokens=tokens, calls=calls)
        for people, tokens, calls in sizes
    ]
    for each in crowds:
        each.cpu_s = 0.015 * each.people + 0.0002 * each.tokens + 0.006 * each.calls
    assert fitted(crowds) == pytest.approx((0.015, 0.0002, 0.006))
