"""One person's data, from the command line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from adapters.data.files import check_there
from adapters.data.progress import Tick
from adapters.storage.database.address import parse_address
from adapters.storage.database.database import open_database
from adapters.storage.errors import DatabaseFailure
from adapters.storage.sql.storage import SqlStorage
from bots.people.account import Account
from bots.profile.tally import day_of


async def export(database: str, person: str, tick: Tick) -> bytes:
    """Everything that is kept of the person, as JSON. Raises StorageError, also where that is nothing."""
    async with _kept_of(database, person) as (storage, people):
        tick(0.3)
        return await Account(storage, now=time.time).privacy.export(people)


async def erase(database: str, person: str, tick: Tick) -> Sequence[str]:
    """Erases the person; returns the ids that were theirs. One that was interrupted can be repeated.

    Raises StorageError, also where nothing is kept: who mistypes an id must not believe that somebody is erased.
    """
    async with _kept_of(database, person) as (storage, people):
        tick(0.3)
        for each in people:
            await storage.unlink(each)
        await storage.erase(people, day_of(time.time()))
        await storage.erase_in_hand(people)
        return people


@asynccontextmanager
async def _kept_of(database: str, person: str) -> AsyncIterator[tuple[SqlStorage, Sequence[str]]]:
    """The storage, and the ids of the person, of whom something is kept there."""
    address = parse_address(database)
    if address.path:
        await asyncio.to_thread(check_there, address.path)
    async with open_database(database) as opened:
        storage = SqlStorage(opened)
        people = await storage.sharing(person)
        if not any((await storage.export(people)).values()):
            raise DatabaseFailure(f"{address.where} keeps nothing of {person}; an id is written as in telegram:4711.")
        yield storage, people
