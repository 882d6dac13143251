"""What is kept of a person beside conversations and settings, as protocols; `adapters.storage` implements them.

Every write is atomic and is on disk when the call returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

SampleKind = Literal["first_token", "queue", "hour"]
News = Literal["linked", "unlinked", "shares", "keeps"]
"""What somebody else has done: linked or unlinked their account, let others have its data or no more."""
Histogram = Mapping[int, int]
"""How many there were in each bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What answers took. `tokens` were generated, reasoning included; `seconds` leave the wait in the queue out."""

    answers: int = 0
    tokens: int = 0
    captions: int = 0
    seconds: float = 0.0

    def __add__(self, other: Used) -> Used:
        return Used(
            answers=self.answers + other.answers,
            tokens=self.tokens + other.tokens,
            captions=self.captions + other.captions,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One more in a bucket of a histogram."""

    kind: SampleKind
    bucket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one answer took, for the sums of a person's day."""

    person: str
    day: str
    used: Used
    marks: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """How much a person may use on one day (in UTC); 0 means as much as they like."""

    tokens: int = 0
    captions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """For how many days things are kept; 0 means until they are erased.

    Args:
        days: what was said, here and on the page.
        usage_days: usage.
        name_days: names of people who have not come to the page for so long.
        event_days: the ids of events that were answered. Never 0: a platform gives an id once more after minutes.
    """

    days: int = 0
    usage_days: int = 400
    event_days: int = 30
    name_days: int = 90


class UsageRecord(Protocol):
    """Sums by person and day; a day is a date in UTC ("2026-11-25"). `people` None means everybody."""

    async def count(self, person: str, day: str, used: Used, marks: Sequence[Sample]) -> None:
        """Adds to the day of the person; of two at once both count. Returns soon, also while the database is away."""
        ...

    async def usage(self, people: Sequence[str] | None, since: str) -> Mapping[str, Used]:
        """The sums of each day from `since` on that has any."""
        ...

    async def used_on(self, people: Sequence[str], day: str) -> Used:
        """Return what counts for the quotas of that day, with what these people had used before they were erased."""
        ...

    async def histograms(self, people: Sequence[str] | None, since: str) -> Mapping[tuple[str, SampleKind], Histogram]:
        """By day and kind, from the day `since` on."""
        ...


class Links(Protocol):
    """Which ids, each of one platform, are one person. They share settings, usage and their place in the queue.

    What is kept of each id stays its own, unless several let each other have it.
    """

    async def people(self, person: str) -> Sequence[str]:
        """All ids of that person, this one included; the first one stands for all of them."""
        ...

    async def put_code(self, code: str, person: str, expires_at: float) -> None:
        """Keeps a code that `request` takes once; it replaces the one that this person had before."""
        ...

    async def giver(self, code: str, person: str, now: float) -> str | None:
        """Return whose code it is, None where there is no such code (any more) or it is this person's own.

        From then on nobody else can look at it or take it: the first who looks is whom the code was meant for.
        """
        ...

    async def request(self, code: str, person: str, now: float, expires_at: float) -> str | None:
        """Take a code: this person agrees to be linked to whoever gave it. Return the giver, None as for `giver`.

        Nothing is linked before the giver has agreed, too (`accept`). Of several requests the newest one counts.
        """
        ...

    async def requested(self, person: str, now: float) -> str | None:
        """Return who has agreed to be linked to this person and waits for the answer."""
        ...

    async def accept(self, person: str, now: float) -> str | None:
        """Make this person and whoever requested it one, and return the other; None where nobody has.

        The settings of this person win over those of the other. Data that were shared before are not any more. The
        others hear of it (`take_news`).
        """
        ...

    async def decline(self, person: str) -> bool:
        """Forget the request. False where there was none."""
        ...

    async def share_data(self, person: str, on: bool) -> bool:
        """Let those linked ids that do so as well export and erase what is kept of this one, or let them no more.

        False where it is linked to nothing.
        """
        ...

    async def sharing(self, person: str) -> Sequence[str]:
        """Return the ids whose data this one may export and erase: itself first, and where it shares, all that do."""
        ...

    async def take_news(self, person: str) -> Sequence[tuple[str, News]]:
        """Return what others have done to this person's links, as (who, what), once."""
        ...

    async def unlink(self, person: str) -> bool:
        """Take this id out; it keeps a copy of the settings, and the others hear of it. False where it was linked to
        nothing."""
        ...


class PersonalData(Protocol):
    """Everything that names these people, in one place where data are kept."""

    async def export(self, people: Sequence[str]) -> Mapping[str, Any]:
        """What is kept of them, ready for JSON."""
        ...

    async def erase(self, people: Sequence[str], today: str) -> None:
        """Leaves nothing of them. Nothing of theirs may be going on meanwhile. Safe to repeat if it was interrupted.

        Args:
            today: the date in UTC. What they used on it counts on for their quotas, and says nothing of them.
        """
        ...

    async def expire(self, retention: Retention, now: float, limit: int) -> int:
        """Deletes at most `limit` old things of each sort, oldest first; returns how many in all."""
        ...


class Personal(UsageRecord, Links, PersonalData, Protocol):
    """All of it, by one implementation."""
