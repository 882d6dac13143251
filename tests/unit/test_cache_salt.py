"""Prefix caches that tell nobody what others have asked."""

from __future__ import annotations

from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from inference.engines.cache_salt import KnownPrefixes, cache_salt, salted

IDS = st.lists(st.integers(0, 2**17), min_size=1, max_size=60)


def shared(one: list[int], two: list[int]) -> int:
    """The length of what both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))


@given(IDS, st.integers(0, 70))
def test_a_salt_changes_nothing_before_the_head_and_little_behind_it(ids: list[int], head: int) -> None:
    mine, others = salted(ids, head, cache_salt("a")), salted(ids, head, cache_salt("b"))
    assert mine[:head] == others[:head] == ids[:head]
    assert mine[head + 2 :] == ids[head + 2 :]
    assert (mine == others) is (head >= len(ids))
    assert all(0 <= each < 2**31 for each in mine), "the library hashes ids of 32 bits with a sign"


@given(IDS, IDS, st.integers(0, 3))
def test_two_prompts_of_one_owner_stay_as_different_as_they_are(one: list[int], two: list[int], head: int) -> None:
    salt = cache_salt("a")
    assert (salted(one, head, salt) == salted(two, head, salt)) is (one == two)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 1), max_size=5), st.booleans()), max_size=30))
def test_only_what_was_read_for_oneself_is_reused(asked: list[tuple[str, list[int], bool]]) -> None:
    """Against a model that remembers every prompt whole."""
    known = KnownPrefixes(block=1)
    before: list[tuple[str, list[int], bool]] = []

    def longest(ids: list[int], *, mine: bool, owner: str) -> int:
        some = [each for who, each, read in before if ((who == owner and read) if mine else who != owner)]
        return max((shared(ids, each) for each in some), default=0)

    for owner, ids, read in asked:
        prefix = known.of(owner, ids)
        assert prefix.may_reuse is (longest(ids, mine=False, owner=owner) <= longest(ids, mine=True, owner=owner))
        assert prefix.own == longest(ids, mine=True, owner=owner)
        if read:
            prefix.read()
        before.append((owner, ids, read))


def test_the_head_that_all_share_betrays_nobody() -> None:
    known = KnownPrefixes()
    head = list(range(20))
    known.of("a", [*head, *range(100, 140)], head=20).read()
    assert known.of("b", [*head, *range(200, 240)], head=20).may_reuse
    assert not known.of("b", [*head, *range(100, 140)], head=20).may_reuse


def test_no_words_and_no_names_are_remembered_and_not_for_ever() -> None:
    known = KnownPrefixes(block=4, most=10)
    for number in range(100):
        known.of("telegram:somebody", b"%d secret" % (1000 + number))
    assert len(known._owners) == 10
    assert "somebody" not in repr(known._owners)
    assert "secret" not in repr(known._owners)
