"""Several servers of one model: which is asked next, and which is left alone for a while. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from zlib import crc32

from inference.engines.openai.refused_fields import RefusedFields

C = TypeVar("C")

_FIRST_REST_S = 1.0
_LONGEST_REST_S = 30.0


@dataclass(slots=True, eq=False)
class Replica(Generic[C]):
    """One server, and what is known of it.

    Args:
        client: whatever speaks to it.
        outstanding: requests that it is working on for us.
        failures: how often it has failed in a row; before it is used again it must pass a health check.
        rests_until: it is not asked before that.
        penalised: it rests because it said so (429), so that asking it all the same would only make it worse.
        is_away: it loads its model or does not listen, as far as the last call tells.
        refuses: fields that it does not know.
    """

    address: str
    client: C
    outstanding: int = 0
    failures: int = 0
    rests_until: float = 0.0
    penalised: bool = False
    is_away: bool = False
    refuses: RefusedFields = field(default_factory=RefusedFields)

    @contextmanager
    def working(self) -> Iterator[None]:
        self.outstanding += 1
        try:
            yield
        finally:
            self.outstanding -= 1

    def failed(self, now: float, *, is_away: bool = False) -> None:
        rest = min(_LONGEST_REST_S, _FIRST_REST_S * 2**self.failures)
        self.failures, self.rests_until, self.penalised = min(self.failures + 1, 10), now + rest, False
        self.is_away = is_away

    def refused_for(self, now: float, retry_in_s: float) -> None:
        self.rests_until, self.penalised, self.is_away = now + retry_in_s, True, False

    def succeeded(self) -> None:
        self.failures, self.rests_until, self.penalised, self.is_away = 0, 0.0, False, False


def choose(replicas: Sequence[Replica[C]], owner: str, tried: Collection[Replica[C]], now: float) -> Replica[C] | None:
    """The one with the fewest requests; among equals the owner's own, which may still hold their prompt in its cache.

    Those that rest after a failure come last; those that asked to be left alone are not asked.
    """

    def rank(replica: Replica[C]) -> tuple[float, int, int]:
        return max(0.0, replica.rests_until - now), replica.outstanding, crc32(f"{owner} {replica.address}".encode())

    able = [r for r in replicas if r not in tried and not (r.penalised and r.rests_until > now)]
    return min(able, key=rank, default=None)
