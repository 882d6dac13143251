"""A limit that shrinks after failures and is back after a bounded number of good results."""

from hypothesis import given
from hypothesis import strategies as st

from inference.queueing.adaptive_limit import AdaptiveLimit


def goods_until_full(limit: AdaptiveLimit) -> int:
    count = 0
    while limit.value < limit.most:
        limit.good()
        count += 1
    return count


@given(most=st.integers(1, 256), steps=st.lists(st.one_of(st.none(), st.integers(1, 300)), max_size=60))
def test_it_stays_within_its_bounds_and_is_back_soon(most: int, steps: list[int | None]) -> None:
    limit = AdaptiveLimit(most)
    for failed in steps:
        before = limit.value
        if failed is None:
            limit.good()
            assert limit.value >= before
        else:
            limit.shrink(failed)
            assert limit.value <= max(1, min(before, failed - 1))
        assert 1 <= limit.value <= most
    assert goods_until_full(limit) <= 64 + 2 * most


def test_from_one_slot_to_eight_takes_some_answers() -> None:
    limit = AdaptiveLimit(8)
    for running in range(8, 1, -1):
        limit.shrink(running)
    assert limit.value == 1
    assert goods_until_full(limit) == 8 + 2 + 4


def test_one_failure_of_eight_is_forgotten_after_eight_answers() -> None:
    limit = AdaptiveLimit(8)
    limit.shrink(8)
    assert limit.value == 7
    assert goods_until_full(limit) == 8


def test_what_fails_again_and_again_is_tried_ever_more_rarely() -> None:
    limit = AdaptiveLimit(8)
    waits = []
    for _ in range(6):
        limit.shrink(8)
        waits.append(goods_until_full(limit))
    assert waits == [8, 16, 32, 64, 64, 64]


def test_what_was_not_their_number_costs_nothing() -> None:
    limit = AdaptiveLimit(8)
    limit.shrink(4)
    limit.restore()
    assert limit.value == 8
