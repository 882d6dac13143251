"""What a person and an address may do in a while, and that newcomers do not refill anybody's bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web.security.token_buckets import ADDRESS_POST_BYTES, POST_BYTES, POST_S, Budgets, TokenBuckets, network

KB = 1024


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills() -> None:
    clock = Clock()
    buckets = TokenBuckets(4, 8.0, clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0]
    assert buckets.take("a") == 2.0
    assert buckets.take("b") == 0
    clock.now = 2.0
    assert buckets.take("a") == 0
    assert buckets.take("a", 100) == 8.0  # more than it holds needs a full one


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 10)), max_size=60))
def test_no_more_is_taken_than_a_full_bucket_and_what_came_in(steps: list[tuple[float, float]]) -> None:
    clock = Clock()
    buckets, taken = TokenBuckets(10, 20.0, clock), 0.0
    for pause_s, amount in steps:
        clock.now += pause_s
        if not buckets.take("a", amount):
            taken += amount
        assert taken <= 10 + clock.now * 0.5 + 1e-6


def test_many_newcomers_refill_nobodys_bucket() -> None:
    buckets = TokenBuckets(5, 600.0, Clock(), remembered=100)
    for _ in range(5):
        buckets.take("flooder")
    for number in range(10_001):
        buckets.take(str(number))
    assert buckets.wait_s("flooder") > 0
    assert len(buckets._taken) <= 100


def test_a_guest_cannot_fill_the_channel_and_neither_can_many_of_one_address() -> None:
    clock = Clock()
    budgets = Budgets(clock)
    accepted = sum(not budgets.post("web:1", "192.0.2.1", 200 * KB) for _ in range(400))
    assert accepted * 200 * KB <= POST_BYTES
    accepted += sum(not budgets.post(f"web:{guest}", "192.0.2.1", 200 * KB) for guest in range(2, 402))
    assert accepted * 200 * KB <= ADDRESS_POST_BYTES
    assert not budgets.post("web:other", "192.0.2.2", 200 * KB)
    clock.now = POST_S
    assert not budgets.post("web:1", "192.0.2.1", 200 * KB)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:50123", "192.0.2.1"),
        ("[2001:db8:1:2:3::4]:50123", "2001:db8:1:2::"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_what_counts_as_one_address(address: str, place: str) -> None:
    assert network(address) == place
