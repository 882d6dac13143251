"""How well people are known, which decides who gives way when the queue is full. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bots.profile.tally import day_of
from inference.api import Standing

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """The rule.

    Args:
        trusted: ids of people whom the operator has named.
        open_platforms: platforms on which an account costs nothing to make, such as a page without a password.
    """

    trusted: Collection[str] = ()
    open_platforms: Collection[str] = ()

    def of(self, people: Sequence[str], since: str, now: float) -> Standing:
        """The standing of one person.

        Args:
            people: all ids of the person.
            since: the first day (UTC) on which the person got an answer, as far as that is kept; "" if never.
            now: seconds since the epoch.
        """
        if any(each in self.trusted for each in people):
            return "known"
        # A whole day and more: somebody who came a minute before midnight is not known a minute after it.
        if since and since < day_of(now - _DAY_S):
            return "known"
        free = all(each.partition(":")[0] in self.open_platforms for each in people)
        return "guest" if free else "new"
