"""`/privacy`: what is kept of a person, all of it as a file, and its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from bots import wording
from bots.messages import Attached, Notice
from bots.people.usage import QuotaMeter
from bots.profile.personal import PersonalData, Retention
from bots.profile.preferences import UserError
from bots.profile.tally import day_of

FILE_NAME = "partyline-data.json"


class Privacy:
    """The command, over every place where data of people are kept.

    Args:
        places: asked in turn. The first ones may keep things in memory that are also in a later one's tables.
    """

    def __init__(self, places: Sequence[PersonalData], meter: QuotaMeter, retention: Retention) -> None:
        self._places = list(places)
        self._meter = meter
        self._retention = retention

    def keeps(self, place: PersonalData) -> None:
        """Another place where data of people are kept from now on."""
        self._places.insert(0, place)

    async def do(self, person: str, argument: str) -> Notice | Attached:
        """The answer to `/privacy`, `/privacy export`, `/privacy erase` and `/privacy erase now`.

        Raises:
            Refused: anything else, or an answer is still being written.
        """
        # What is kept of linked accounts is covered only where these have agreed, too.
        people = await self._meter.record.sharing(person)
        match argument.lower().split():
            case []:
                return Notice(wording.privacy(self._retention), private=True)
            case ["export"]:
                data = await self.export(people)
                return Attached(
                    FILE_NAME, data, wording.exported(), private=True, otherwise=wording.export_where_alone()
                )
            case ["erase"]:
                return Notice(wording.confirm_erasing(people), private=True)
            case ["erase", "now"]:
                if self._meter.busy(await self._meter.record.people(person)):
                    raise UserError(wording.erase_later())
                await self.erase(people)
                return Notice(wording.erased(), private=True)
        raise UserError(wording.privacy_usage())

    async def export(self, people: Sequence[str]) -> bytes:
        """Everything that is kept of these people, as JSON in UTF-8."""
        kept: dict[str, object] = {
            "people": list(people),
            "exported_at": datetime.fromtimestamp(self._meter.now(), UTC).isoformat(),
        }
        for place in self._places:
            kept |= await place.export(people)
        return await asyncio.to_thread(_written, kept)

    async def erase(self, people: Sequence[str]) -> None:
        today = day_of(self._meter.now())
        # Whoever stays keeps the settings that were shared.
        for person in people:
            await self._meter.record.unlink(person)
        for place in self._places:
            await place.erase(people, today)

    async def expire(self, limit: int) -> int:
        """Deletes what is older than it may be, at most `limit` things of each sort; returns how many."""
        now = self._meter.now()
        return sum([await place.expire(self._retention, now, limit) for place in self._places])


def _written(kept: dict[str, object]) -> bytes:
    # Of a lone surrogate JSON can only say its escape.
    return json.dumps(kept, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
