"""One person's data, from the command line."""

from __future__ import annotations

import time
from collections.abc import Sequence

from adapters.data.progress import Tick
from adapters.storage.database import open_database
from adapters.storage.sql import SqlStorage
from bots.account import Account


async def export(database: str, person: str, tick: Tick) -> bytes:
    """Everything that is kept of the person, as JSON. Raises StorageError."""
    async with open_database(database) as opened:
        tick(0.3)
        storage = SqlStorage(opened)
        return await Account(storage, now=time.time).privacy.export(await storage.people(person))


async def erase(database: str, person: str, tick: Tick) -> Sequence[str]:
    """Erases the person in one transaction; returns the ids that were theirs. Raises StorageError."""
    async with open_database(database) as opened:
        tick(0.3)
        storage = SqlStorage(opened)
        people = await storage.people(person)
        await storage.erase(people)
        return people
