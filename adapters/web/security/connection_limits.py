"""How many sockets and uploads one person and one address may hold open at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from adapters.web.security.token_buckets import network
from inference.untrusted.hosts import is_loopback

PERSON, ADDRESS = 20, 1024
"""A person has tabs and devices; behind one address may be a whole school."""


class TooManyHere(web.HTTPTooManyRequests):
    """One address holds as many as it may."""

    def __init__(self) -> None:
        super().__init__(
            text="Many people in your network are here at the moment. Please try again in a minute.\n",
            headers={"Cache-Control": "no-store", "Retry-After": "60"},
        )


class ConnectionLimits:
    """Counts what is open. Loopback is bounded by person alone: it is everybody behind a proxy that nobody named."""

    def __init__(self, person: int = PERSON, address: int = ADDRESS) -> None:
        self._most_of_person = person
        self._most_of_address = address
        self._people: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    @contextmanager
    def taken(self, person: str, address: str) -> Iterator[bool]:
        """It is open inside; yields whether the person may hold it. Raises TooManyHere."""
        place = "" if is_loopback(address) else network(address)
        if place and self._addresses[place] >= self._most_of_address:
            raise TooManyHere
        self._addresses[place] += 1
        self._people[person] += 1
        try:
            yield self._people[person] <= self._most_of_person
        finally:
            _give_back(self._people, person)
            _give_back(self._addresses, place)


def _give_back(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
