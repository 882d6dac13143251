"""The laws of sharing a chat's calls, and what they mean in a group of Telegram."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.delivery.pacing.fair_share import FairShare

CALLS, WINDOW_S, ANSWER = 20, 60.0, 2
PEOPLE = st.dictionaries(st.sampled_from("abcdefghij"), st.tuples(st.integers(0, 20), st.integers(0, 60)), max_size=10)
CAPACITIES = st.integers(1, 60)


def shared(capacity: int, people: dict[str, tuple[int, int]], *, is_open: bool = True, answer: int = 1) -> FairShare:
    """Of each of the people: what they have had here, and elsewhere."""
    here = {name: had for name, (had, _) in people.items()}
    elsewhere = {name: had for name, (_, had) in people.items()}
    return FairShare(capacity, here, elsewhere, answer=answer, is_open=is_open)


@given(CAPACITIES, PEOPLE.filter(bool), st.booleans())
def test_all_calls_are_shared_and_everybody_who_gets_some_stands_as_high(
    capacity: int, people: dict[str, tuple[int, int]], is_open: bool
) -> None:
    """Max-min fairness: who has less than another could be given more only out of what somebody lower has."""
    level = shared(capacity, people, is_open=is_open, answer=0).level
    grounds = [had for _, had in people.values()] + [0] * is_open
    assert sum(max(0.0, level - ground) for ground in grounds) == pytest.approx(capacity)


@given(CAPACITIES, PEOPLE, st.sampled_from("abcdefghij"), st.integers(0, 60))
def test_whoever_comes_lowers_the_level_for_nobody_below_an_answer(
    capacity: int, people: dict[str, tuple[int, int]], new: str, elsewhere: int
) -> None:
    before = shared(capacity, {name: had for name, had in people.items() if name != new}).level
    after = shared(capacity, {**people, new: (0, elsewhere)}).level
    assert 1 <= after <= before


@given(CAPACITIES, PEOPLE.filter(bool), st.booleans())
def test_whoever_stands_higher_leaves_as_much_and_whoever_is_within_their_share_nothing(
    capacity: int, people: dict[str, tuple[int, int]], is_open: bool
) -> None:
    share = shared(capacity, people, is_open=is_open)
    order = sorted(people, key=share.standing)
    over = [each for each in order if share.is_over(each)]
    assert [share.leaves(each) for each in order if each not in over] == [0] * (len(order) - len(over))
    assert order[len(order) - len(over) :] == over
    left = [share.leaves(each) for each in over]
    assert left == sorted(left)
    assert all(each <= capacity for each in left)


@given(CAPACITIES, st.integers(0, 60), st.integers(0, 60))
def test_where_nobody_else_can_come_nothing_is_left(capacity: int, here: int, elsewhere: int) -> None:
    assert shared(capacity, {"a": (here, elsewhere)}, is_open=False).leaves("a") == 0


class Group:
    """A group that can be sent 20 calls in any minute, by people who take each that they may have."""

    def __init__(self, elsewhere: dict[str, int]) -> None:
        self._elsewhere = elsewhere
        self._spent = deque[tuple[float, str]]()

    def free(self, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - WINDOW_S:
            self._spent.popleft()
        return CALLS - len(self._spent)

    def take(self, name: str, now: float) -> bool:
        free, had = self.free(now), Counter(each for _, each in self._spent)
        share = FairShare(CALLS, {**dict.fromkeys([name], 0), **had}, self._elsewhere, answer=ANSWER)
        if free < 1 + share.leaves(name):
            return False
        self._spent.append((now, name))
        return True


@given(st.integers(1, 8), st.integers(0, 40), st.integers(0, 120), st.randoms(use_true_random=False))
def test_an_answers_calls_are_always_there_for_somebody_who_had_nothing_lately(
    hasty: int, elsewhere: int, come_s: int, dice: random.Random
) -> None:
    """Up to eight people who take every call that they may have, from the first moment on: it is kept before."""
    people = [f"h{number}" for number in range(hasty)]
    group = Group(dict.fromkeys(people, elsewhere))
    for second in range(come_s + 1):
        dice.shuffle(people)
        for _ in range(CALLS):
            for name in people:
                group.take(name, float(second))
    assert [group.take("new", float(come_s)) for _ in range(ANSWER)] == [True] * ANSWER


@pytest.mark.parametrize("first_s", [0, 1, 30, 59, 90])
def test_beside_eight_who_ask_in_ten_groups_somebody_has_three_answers_a_minute(first_s: int) -> None:
    """Who has asked before them, too."""
    people = [f"h{number}" for number in range(8)]
    group = Group(dict.fromkeys(people, 18))
    for before in (-50.0, -45.0, -40.0, -20.0):
        assert [group.take("ann", before) for _ in range(ANSWER)] == [True] * ANSWER
    for second in range(first_s + 120):
        if second >= first_s and (second - first_s) % 20 == 0:
            assert [group.take("ann", float(second)) for _ in range(ANSWER)] == [True] * ANSWER
        for _ in range(CALLS):
            for name in people:
                group.take(name, float(second))


def test_one_person_alone_has_three_quarters_of_a_group_at_once() -> None:
    group = Group({})
    assert sum(group.take("ann", 0.0) for _ in range(CALLS)) == 15
