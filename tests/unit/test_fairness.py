"""The laws of the fair queue."""

from collections import Counter
from collections.abc import Iterator
from itertools import count, cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.queueing.fair_queue import FairQueue, QueueFull


def queue(slots: int = 1, per_owner: int = 8, waiting: int = 100, each: int = 100) -> FairQueue:
    return FairQueue(slots=slots, per_owner=per_owner, max_waiting=waiting, max_waiting_per_owner=each)


def run_all(fair: FairQueue) -> list[str]:
    """Runs everything, one after the other; returns the order."""
    order: list[str] = []
    while started := fair.start():
        for request_id in started:
            order.append(request_id)
            fair.remove(request_id, 100)
    return order


def test_one_owner_is_served_in_order() -> None:
    fair = queue()
    for number in range(5):
        fair.push(str(number), "a", 100)
    assert run_all(fair) == ["0", "1", "2", "3", "4"]


def test_twenty_requests_of_one_owner_hold_up_nobody() -> None:
    fair = queue()
    for number in range(20):
        fair.push(f"a{number}", "a", 100)
    fair.start()
    fair.push("b", "b", 100)
    assert fair.position("b") == 1


def test_owners_share_by_tokens_not_by_requests() -> None:
    fair = queue()
    for number in range(8):
        fair.push(f"long{number}", "long", 400)
        fair.push(f"short{number}", "short", 100)
    served: Counter[str] = Counter()
    for _ in range(5):
        (request_id,) = fair.start()
        owner = request_id[:-1]
        served[owner] += 1
        fair.remove(request_id, 400 if owner == "long" else 100)
    assert served == {"short": 4, "long": 1}


def test_a_weight_is_a_share_of_the_tokens() -> None:
    weights = {"web": 2.0, "web:ann": 4.0}
    fair = FairQueue(slots=1, per_owner=1, max_waiting=99, max_waiting_per_owner=99, weights=weights)
    for owner in ("web:ann", "web:bob", "discord:cy"):
        for number in range(14):
            fair.push(f"{owner} {number}", owner, 100)
    places = [fair.position(f"web:ann {number}") or 0 for number in range(8)]
    served: Counter[str] = Counter()
    for _ in range(14):
        (request_id,) = fair.start()
        served[request_id.split()[0]] += 1
        fair.remove(request_id, 100)
    assert served == {"web:ann": 8, "web:bob": 4, "discord:cy": 2}
    assert places == sorted(places)
    assert places[-1] <= 14, "the places that people are told know of weights, too"


def test_an_owner_at_the_limit_gets_no_idle_slot() -> None:
    fair = queue(slots=4, per_owner=2)
    for name in ("a0", "a1", "a2"):
        fair.push(name, "a", 1)
    assert fair.start() == ["a0", "a1"]
    fair.push("b0", "b", 1)
    assert fair.start() == ["b0"], "whoever comes next does not wait"
    fair.remove("a0", 1)
    assert fair.start() == ["a2"]


def test_an_owner_at_the_limit_waits_behind_others() -> None:
    fair = queue(slots=2, per_owner=1)
    for name in ("a0", "a1", "b0"):
        fair.push(name, name[0], 1)
    assert fair.start() == ["a0", "b0"]


def test_full_names_the_place_and_leaves_nothing_behind() -> None:
    fair = queue(slots=1, waiting=1)
    fair.push("a", "a", 1)
    fair.start()
    fair.push("b", "b", 1)
    with pytest.raises(QueueFull) as full:
        fair.push("c", "c", 1)
    assert full.value.position == 2
    assert fair.waiting == 1


def test_one_owner_cannot_fill_the_queue() -> None:
    fair = queue(slots=1, waiting=10, each=2)
    for number in range(3):
        fair.push(f"a{number}", "a", 1)
        fair.start()
    with pytest.raises(QueueFull):
        fair.push("a3", "a", 1)
    fair.push("b", "b", 1)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 1000)), min_size=1, max_size=40))
def test_positions_are_the_order_in_which_requests_start(requests: list[tuple[str, int]]) -> None:
    fair = queue()
    for number, (owner, cost) in enumerate(requests):
        fair.push(str(number), owner, cost)
    told: list[dict[str, int]] = []
    order: list[str] = []

    def tell() -> None:
        places = {str(number): fair.position(str(number)) for number in range(len(requests))}
        told.append({request_id: place for request_id, place in places.items() if place is not None})

    tell()
    while started := fair.start():
        order += started
        tell()
        fair.remove(started[0], requests[int(started[0])][1])
        tell()
    for places in told:
        waiting = order[len(order) - len(places) :]
        assert places == {request_id: place for place, request_id in enumerate(waiting, 1)}


def test_all_places_are_found_at_once() -> None:
    class Counted(FairQueue):
        replays = 0

        def _order(self) -> Iterator[str]:
            self.replays += 1
            return super()._order()

    fair = Counted(slots=1, per_owner=1, max_waiting=100, max_waiting_per_owner=1)
    for number in range(100):
        fair.push(str(number), str(number), 1)
    assert [fair.position(str(number)) for number in range(100)] == list(range(1, 101))
    assert fair.replays == 1, "each place by itself would be the work of all who wait, times each of them"


COSTS = st.lists(st.tuples(st.integers(1, 500), st.integers(50, 1000)), min_size=1, max_size=20)
"""What requests are expected to cost and what is spent on them, over and over again."""


@given(st.integers(1, 4), st.integers(1, 8), st.integers(1, 1000), COSTS)
def test_new_people_without_end_keep_nobody_waiting(
    slots: int, waiting: int, had: int, costs: list[tuple[int, int]]
) -> None:
    fair = queue(slots=slots, per_owner=1, waiting=waiting + 1)
    fair.push("first", "ann", 500)
    fair.start()
    newcomers = (f"new {number}" for number in count())
    cost = cycle(costs)
    spent = {}

    def come() -> None:
        while fair.waiting < waiting:
            newcomer = next(newcomers)
            expected, spent[newcomer] = next(cost)
            fair.push(newcomer, newcomer, expected)

    come()
    fair.remove("first", had)
    running = fair.start()
    fair.push("again", "ann", 500)
    come()
    others = 0
    places = slots + waiting + 1
    while "again" not in running:
        done = running.pop(0)
        others += spent[done]
        fair.remove(done, spent[done])
        come()
        running += fair.start()
        assert others <= places * (had + 1000)


@given(st.integers(1, 4), st.integers(1, 4), COSTS)
def test_whoever_comes_is_next_whatever_one_person_has_had(
    slots: int, per_owner: int, costs: list[tuple[int, int]]
) -> None:
    fair = queue(slots=slots, per_owner=per_owner)
    for number, (expected, _) in enumerate([*costs, *costs]):
        fair.push(str(number), "hog", expected)
    running = fair.start()
    for _, spent in costs:
        fair.remove(running.pop(0), spent)
        running += fair.start()
        fair.push("b", "b", 100)
        assert fair.start() == ["b"] or fair.position("b") == 1
        fair.remove("b")


class Machine(RuleBasedStateMachine):
    """Any sequence of calls keeps the books balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.fair = FairQueue(slots=3, per_owner=2, max_waiting=10, max_waiting_per_owner=4)
        self.waiting: set[str] = set()
        self.running: set[str] = set()
        self.number = 0

    @rule(owner=st.sampled_from("abc"), cost=st.integers(1, 500))
    def push(self, owner: str, cost: int) -> None:
        self.number += 1
        try:
            gave_way = self.fair.push(str(self.number), owner, cost)
        except QueueFull:
            assert len(self.running) == 3 or self.waiting
        else:
            self.waiting.add(str(self.number))
            assert gave_way is None or gave_way in self.waiting, "who is being served keeps the slot"
            self.waiting.discard(gave_way or "")

    @rule()
    def start(self) -> None:
        started = set(self.fair.start())
        assert started <= self.waiting
        self.waiting -= started
        self.running |= started
        active = Counter(job.owner for job in self.fair._running.values())
        assert all(count <= 2 for count in active.values())
        if len(self.running) < 3:
            assert all(active[job.owner] == 2 for job in self.fair._waiting.values()), "a slot is idle for no reason"

    @precondition(lambda self: self.running or self.waiting)
    @rule(data=st.data(), spent=st.integers(0, 500))
    def remove(self, data: st.DataObject, spent: int) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.running | self.waiting)))
        self.fair.remove(request_id, spent)
        self.running.discard(request_id)
        self.waiting.discard(request_id)

    @invariant()
    def books_balance(self) -> None:
        assert (self.fair.waiting, self.fair.running) == (len(self.waiting), len(self.running))
        assert len(self.running) <= 3
        if not self.waiting and not self.running:
            assert self.fair.is_blank, "nothing is remembered of a quiet queue"


TestMachine = Machine.TestCase


def test_long_prompts_of_one_owner_are_read_one_by_one_while_others_are_here() -> None:
    fair = queue(slots=8, per_owner=2)
    for number in range(4):
        fair.push(f"key{number}", "api:key", 5000, is_long=True)
    fair.push("chat", "telegram:1", 100)
    assert set(fair.start()) == {"key0", "chat"}
    fair.read("key0")
    assert fair.start() == ["key1"], "one that is being answered holds a slot, and no turn to be read"
    fair.remove("key1", 5000)
    assert fair.start() == ["key2"], "one that was given up holds neither"
    fair.push("other", "api:other", 5000, is_long=True)
    assert fair.start() == ["other"], "everybody has their own turn"
    fair.remove("key0", 5000)
    assert fair.start() == []


def test_long_prompts_of_one_owner_are_read_together_while_nobody_else_is_here() -> None:
    fair = queue(slots=8, per_owner=2)
    for number in range(4):
        fair.push(f"key{number}", "api:key", 5000, is_long=True)
    assert fair.start() == ["key0", "key1"]
