"""Who reads what waits to be written waits for it: on SQLite, whose one writer is busy with something long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.storage.database.database import open_database
from adapters.storage.errors import DatabaseAway
from adapters.storage.sql.storage import SqlStorage
from bots.people.usage import QuotaMeter
from bots.ports import Delivered, ReplyRecord, Turn
from bots.profile.personal import Quotas, Spent, Used

ANSWER = Turn(id="a", chat="c", person="p", role="assistant", text="begun", state="streaming")
REPLY = ReplyRecord(chat="c", event_id="e", answer_id="a", person="p", state="streaming")
WHOLE = replace(ANSWER, text="whole", state="done")
READS: dict[str, tuple[Callable[[SqlStorage], Awaitable[object]], object]] = {
    "turn": (lambda storage: storage.turn("a"), WHOLE),
    "delivered": (lambda storage: storage.delivered("c", "a"), Delivered("a", ("m",))),
    "used_on": (lambda storage: storage.used_on(["p"], "2026-01-01"), Used(tokens=7)),
    "usage": (lambda storage: storage.usage(["p"], "2026-01-01"), {"2026-01-01": Used(answers=1, tokens=7)}),
}


@pytest.mark.parametrize("read", READS)
async def test_what_was_said_last_is_read(read: str, tmp_path: Path) -> None:
    call, expected = READS[read]
    over = threading.Event()
    async with open_database(str(tmp_path / "p.sqlite3")) as database, asyncio.TaskGroup() as tasks:
        storage = SqlStorage(database)
        await storage.claim(REPLY)
        await storage.begin(REPLY, [ANSWER], "a")
        async with storage.behind.running():
            tasks.create_task(database.write(lambda _: over.wait(60)))
            spent = Spent(person="p", day="2026-01-01", used=Used(answers=1, tokens=7), marks=())
            await storage.end(replace(REPLY, state="done", ending="{}"), WHOLE, spent)
            await storage.record_delivery("c", "a", 0, "m")
            reading = asyncio.ensure_future(call(storage))
            await asyncio.wait([reading], timeout=0.2)
            over.set()
            assert await reading == expected


PEOPLE: dict[str, Callable[[SqlStorage], Awaitable[object]]] = {
    "used_on": lambda storage: storage.used_on(["p"], "2026-01-01"),
    "usage": lambda storage: storage.usage(["p"], "2026-01-01"),
    "histograms": lambda storage: storage.histograms(["p"], "2026-01-01"),
    "people": lambda storage: storage.people("p"),
    "sharing": lambda storage: storage.sharing("p"),
    "requested": lambda storage: storage.requested("p", 0.0),
    "giver": lambda storage: storage.giver("code", "p", 0.0),
    "put_code": lambda storage: storage.put_code("code", "p", 1.0),
    "share_data": lambda storage: storage.share_data("p", True),
    "export": lambda storage: storage.export(["p"]),
    "a quota": lambda storage: QuotaMeter(storage, lambda: 0.0, Quotas(tokens=1)).spent("p"),
}


@pytest.mark.parametrize("asked", PEOPLE)
async def test_what_is_asked_of_people_waits_for_a_server_that_is_away(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota, above all, which is looked at before each answer."""
    async with open_database(str(tmp_path / "p.sqlite3")) as database:
        for name in ("read", "write"):
            monkeypatch.setattr(database, name, AwayAtFirst(getattr(database, name)))
        await PEOPLE[asked](SqlStorage(database))


class AwayAtFirst:
    def __init__(self, call: Callable[..., Awaitable[object]]) -> None:
        self._call = call
        self._left = 2

    async def __call__(self, *arguments: object, **more: object) -> object:
        if self._left:
            self._left -= 1
            raise DatabaseAway("It is away.")
        return await self._call(*arguments, **more)
