"""`partyline bench`: the search for the most people who are served at once, and what is said of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bench.verdict import (
    MOST_PEOPLE,
    PATIENCE_S,
    WORDS_A_MINUTE,
    Crowd,
    Seen,
    in_words,
    next_size,
    serves,
    table,
)


def crowd(people: int, *, first_s: float = 1.0, rate: float = 500.0) -> Crowd:
    return Crowd(people=people, first_s=first_s, words_a_minute=rate, tokens_a_second=100.0)


def searched(serves_up_to: int, most: int = MOST_PEOPLE) -> list[Crowd]:
    """All crowds that are asked on a machine that serves so many."""
    crowds: list[Crowd] = []
    while (people := next_size(crowds, most)) is not None:
        crowds.append(crowd(people, rate=500.0 if people <= serves_up_to else 100.0))
    return crowds


@given(limit=st.integers(0, 400), most=st.integers(1, 300))
def test_the_search_comes_close_with_few_crowds_and_never_asks_more_than_allowed(limit: int, most: int) -> None:
    crowds = searched(limit, most)
    sizes = [each.people for each in crowds]
    assert len({*sizes}) == len(sizes) <= 16
    assert max(sizes) <= most
    found, wanted = serves(crowds), min(limit, most)
    assert found <= wanted <= found + max(1, 0.1 * found)


def test_a_crowd_is_as_good_as_what_95_of_100_see() -> None:
    seen = [Seen(0.1, 900)] * 95 + [Seen(60, 10)] * 5
    assert Crowd.of(seen, 1.0).first_s == 0.1
    assert Crowd.of(seen, 1.0).words_a_minute == 900
    few = Crowd.of([Seen(0.1, 900), Seen(2.0, 300)], 1.0)
    assert (few.first_s, few.words_a_minute) == (2.0, 300)


@pytest.mark.parametrize(
    ("first_s", "rate", "served"),
    [
        (PATIENCE_S, WORDS_A_MINUTE, True),
        (PATIENCE_S + 0.1, 10_000, False),
        (0.1, WORDS_A_MINUTE - 1, False),
        (math.inf, 0.0, False),
    ],
)
def test_served_is_soon_and_as_fast_as_people_read(first_s: float, rate: float, served: bool) -> None:
    assert crowd(3, first_s=first_s, rate=rate).is_served is served


def test_a_larger_crowd_that_had_luck_does_not_count() -> None:
    assert serves([crowd(4), crowd(8, rate=100), crowd(16)]) == 4


def test_the_verdict_is_in_words() -> None:
    assert in_words(searched(14), "X on 2 CPU cores", 64).startswith("X on 2 CPU cores serves 14 people at once at ")
    assert "serves 1 person at once" in in_words(searched(1), "X", 8)
    assert "slower than people read, even for one person" in in_words(searched(0), "X", 8)
    assert in_words(searched(999), "X", 8) == f"X serves at least {MOST_PEOPLE} people at once at reading speed."


def test_where_people_only_wait_for_a_slot_the_verdict_says_so() -> None:
    crowds = [crowd(8), crowd(16, first_s=30.0, rate=2000)]
    assert "inference.slots" in in_words(crowds, "X", 8)
    assert "inference.slots" not in in_words(crowds, "X", 16)
    assert "inference.slots" not in in_words([crowd(8), crowd(16, first_s=30.0, rate=300)], "X", 8)


def test_the_table_has_a_line_for_each_size_in_order() -> None:
    lines = table([crowd(8, first_s=math.inf), crowd(4)])
    assert [line.split()[0] for line in lines] == ["people", "4", "8"]
    assert "never" in lines[2]
    assert len({len(line) for line in lines}) == 1
