"""How much of something each person or address may do: token buckets, bounded in number. Pure but for the clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from inference.untrusted.hosts import one_place

_REMEMBERED = 10_000


class TokenBuckets:
    """One bucket for each key; a key that was never seen has a full one.

    When too many keys are remembered, those that have taken least are forgotten first, so that many newcomers do not
    refill the bucket of one who has emptied it.

    Args:
        size: what a full bucket holds.
        refill_s: seconds in which an empty one is full again.
        clock: seconds, monotonic.
    """

    def __init__(
        self, size: float, refill_s: float, clock: Callable[[], float] = time.monotonic, remembered: int = _REMEMBERED
    ) -> None:
        self._size = size
        self._per_s = size / refill_s
        self._clock = clock
        self._remembered = remembered
        self._taken: dict[str, tuple[float, float]] = {}
        """By key: how much was missing from the bucket, and when."""

    def wait_s(self, key: str, amount: float = 1.0) -> float:
        """Seconds until this much can be taken; 0 if now. More than a bucket holds waits for a full one."""
        return max(0.0, self._missing(key) + min(amount, self._size) - self._size) / self._per_s

    def take(self, key: str, amount: float = 1.0) -> float:
        """Take this much, or nothing; returns what `wait_s` would have."""
        wait_s = self.wait_s(key, amount)
        if not wait_s:
            self._taken[key] = min(self._size, self._missing(key) + amount), self._clock()
            if len(self._taken) > self._remembered:
                self._forget()
        return wait_s

    def _missing(self, key: str) -> float:
        missing, at = self._taken.get(key, (0.0, 0.0))
        return max(0.0, missing - (self._clock() - at) * self._per_s)

    def _forget(self) -> None:
        missing = {key: self._missing(key) for key in self._taken}
        most = sorted(missing, key=missing.__getitem__)[len(missing) // 10 + 1 :]
        self._taken = {key: self._taken[key] for key in most if missing[key]}


POST_BYTES = 1024 * 1024
"""Of messages, of one person within `POST_S`; the longest single one has a quarter of it."""
ADDRESS_POST_BYTES = 8 * POST_BYTES
POST_S = 600.0
NAMES, NAMES_S = 5, 600.0
READS, READS_S = 120, 60.0
"""Looks at earlier posts, at a long one and at who is here; a page needs one for each screen that is scrolled up."""


class Budgets:
    """What a person and an address may write, beside the rate of calls."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._posts = TokenBuckets(POST_BYTES, POST_S, clock)
        self._posts_from = TokenBuckets(ADDRESS_POST_BYTES, POST_S, clock)
        self.names = TokenBuckets(NAMES, NAMES_S, clock)
        self.reads = TokenBuckets(READS, READS_S, clock)

    def post(self, person: str, address: str, size: int) -> float:
        """Count a message of so many bytes; returns 0, or after how many seconds it may come, and counts nothing."""
        place = network(address)
        wait_s = max(self._posts.wait_s(person, size), self._posts_from.wait_s(place, size))
        if not wait_s:
            self._posts.take(person, size)
            self._posts_from.take(place, size)
        return wait_s


def network(address: str) -> str:
    """What counts as one address, whether a proxy has named its port or not."""
    return one_place(without_port(address))


def without_port(address: str) -> str:
    """Some proxies name the port, too, which is another one with each connection."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and (host.count(".") == 3 or host.endswith("]")):
        return host.strip("[]")
    return address.strip("[]")
