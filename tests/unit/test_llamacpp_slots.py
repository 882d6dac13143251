"""Which of llama.cpp's slots reads a request's prompt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.engines.cache_salt import KnownPrefixes, Prefix
from inference.engines.llamacpp.slots import Slots


def test_who_goes_on_has_the_slot_of_before_and_others_that_which_nobody_used_for_longest() -> None:
    known, slots = KnownPrefixes(block=1), Slots(3)
    for owner in "abc":
        prefix = known.of(owner, [1, 2, 3])
        slots.give(taken(slots, prefix), prefix)
    assert taken(slots, known.of("b", [1, 2, 3, 4])) == 1
    assert taken(slots, known.of("d", [1, 2, 3])) == 0, "what others have read counts for nothing"


def test_others_are_read_before_a_long_prompt() -> None:
    known, slots = KnownPrefixes(block=1), Slots(4)
    assert taken(slots, known.of("a", range(500))) == 2
    assert taken(slots, known.of("b", range(500, 1000))) == 3
    own = known.of("c", range(1000, 1010))
    assert taken(slots, own) == 0
    slots.give(0, own)
    slots.read(2)
    slots.read(3)
    assert taken(slots, known.of("c", range(1000, 1011))) == 0
    assert taken(slots, known.of("d", range(2000, 2010))) == 1


def test_who_has_most_of_a_prompt_read_behind_a_long_one_stays_there() -> None:
    """To read all of it again before that would be a long prompt itself."""
    known, slots = KnownPrefixes(block=1), Slots(4)
    assert taken(slots, known.of("b", range(1000, 2000))) == 2
    conversation = known.of("a", range(500))
    slots.give(taken(slots, conversation), conversation)
    assert taken(slots, known.of("a", range(510))) == 3


def taken(slots: Slots, prefix: Prefix) -> int:
    slot = slots.take(prefix)
    assert slot is not None
    return slot


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_no_slot_is_taken_twice_nor_lost(count: int, steps: list[tuple[str, bool]]) -> None:
    known, slots = KnownPrefixes(), Slots(count)
    held: list[tuple[int, Prefix]] = []
    for owner, gives in steps:
        if gives and held:
            slots.give(*held.pop(0))
            continue
        prefix = known.of(owner, range(20))
        slot = slots.take(prefix)
        assert (slot is None) is (len(held) == count)
        if slot is not None:
            assert slot not in [each for each, _ in held]
            held.append((slot, prefix))
