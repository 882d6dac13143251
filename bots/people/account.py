"""What a person can see and do about their own data: `/stats`, `/privacy`, `/link`."""

from __future__ import annotations

from collections.abc import Callable, Collection

from bots import wording
from bots.commands.registry import Called
from bots.messages import Attached, Notice
from bots.people import account_links
from bots.people.privacy import Privacy
from bots.people.stats import Draw, panels, read, stats
from bots.people.usage import QuotaMeter
from bots.profile.personal import Personal, Quotas, Retention
from bots.profile.preferences import UserError

COMMANDS = ("stats", "privacy", "link")


class Account:
    """The commands, the quotas and the counting of usage.

    Args:
        now: seconds since the epoch.
        owners: the operators' ids; they have no quota and may see everybody's sums.
        draw: None answers `/stats` in words only.
    """

    def __init__(
        self,
        record: Personal,
        *,
        now: Callable[[], float],
        quotas: Quotas | None = None,
        owners: Collection[str] = (),
        retention: Retention | None = None,
        draw: Draw | None = None,
    ) -> None:
        self.meter = QuotaMeter(record, now, quotas or Quotas(), owners)
        self.privacy = Privacy([record], self.meter, retention or Retention())
        self._linking = account_links.Linking(record, now)
        self._owners = owners
        self._draw = draw

    async def do(self, person: str, called: Called, name: str = "") -> Notice | Attached:
        """The answer to one of `COMMANDS`; `name` is what the person is called there. Raises Refused."""
        match called.name:
            case "stats":
                return await self._stats(person, called.argument)
            case "privacy":
                self._linking.forget(person)
                return await self.privacy.do(person, called.argument)
        return await self._linking.do(person, called.argument, name)

    async def news(self, person: str) -> str:
        """What others have done to this person's links, in words, once; "" where there is nothing."""
        return await self._linking.news(person)

    async def _stats(self, person: str, argument: str) -> Notice | Attached:
        asked = read(argument)
        people = await self.meter.record.people(person)
        if asked.everybody and person not in self._owners:
            raise UserError(wording.for_owners())
        seen = await stats(self.meter, None if asked.everybody else people, asked.days)
        title = wording.stats_title(asked.days, asked.everybody)
        quotas = Quotas() if asked.everybody else self.meter.limits(people)
        words = wording.stats_summary(title, seen, quotas, self.meter.now())
        if self._draw is None or not seen.total.answers:
            return Notice(words, private=True)
        picture = await self._draw(title, panels(seen), dark=asked.dark)
        return Attached("stats.png", picture, words, private=True)
