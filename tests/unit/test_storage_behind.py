"""Writes that may come later: in order, again until they succeed, and one that is broken spoils no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest
from sqlalchemy import Connection

from adapters.storage import write_behind
from adapters.storage.database.batch_executor import BatchExecutor
from adapters.storage.errors import DatabaseFailure, Taken, WriteRefused
from adapters.storage.write_behind import Write, WriteBehind
from bots.ports import Turn

TURN = Turn(id="a", chat="c", person="p", role="assistant", text="said")


class Disk:
    """Keeps what was written, in transactions; `away` of them fail."""

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.kept: list[str] = []
        self.transactions = 0
        self.behind = WriteBehind(self.write, self.grow)

    async def write(self, work: Write) -> None:
        await asyncio.sleep(0)
        self.transactions += 1
        if self.away:
            self.away -= 1
            raise DatabaseFailure("The disk is full.")
        before = list(self.kept)
        try:
            work(cast(Connection, self))
        except Exception:
            self.kept = before
            raise

    def grow(self, connection: Connection, texts: Sequence[Turn]) -> None:
        self.kept += [text.text for text in texts]

    def put(self, word: str, error: Exception | None = None) -> Write:
        def work(_: Connection) -> None:
            self.kept.append(word)
            if error is not None:
                raise error

        return work

    async def take(self, *works: Write) -> None:
        async with self.behind.running(), asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(self.behind.enqueue(work))


@pytest.fixture(autouse=True)
def patience_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_behind, "_FIRST_PAUSE_S", 0.001)


async def test_what_waits_at_once_is_one_transaction_in_order() -> None:
    disk = Disk()
    await disk.take(*map(disk.put, "abc"))
    assert (disk.kept, disk.transactions) == (["a", "b", "c"], 1)


@pytest.mark.parametrize("error", [LookupError(), Taken("It is there."), WriteRefused("That is too long.")])
async def test_only_what_fails_alone_is_left_out(error: Exception) -> None:
    disk = Disk()
    await disk.take(disk.put("a"), disk.put("broken", error), disk.put("c"))
    assert disk.kept == ["a", "c"]


async def test_what_fails_for_a_while_is_made_later_in_order() -> None:
    disk = Disk(away=3)
    await disk.take(*map(disk.put, "abc"))
    assert disk.kept == ["a", "b", "c"]


async def test_a_text_that_could_not_be_kept_is_kept_when_it_can() -> None:
    disk = Disk(away=1)
    async with disk.behind.running():
        disk.behind.update_text(TURN)
    assert disk.kept == ["said"]


async def test_what_is_refused_for_good_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    await disk.take(disk.put("a"), disk.put("broken", WriteRefused("There is no such table.")))
    assert [record.getMessage() for record in caplog.records] == ["a write is left out: There is no such table."]
    assert not caplog.records[0].exc_info


async def test_a_text_that_is_refused_for_good_keeps_no_other_back() -> None:
    class Strict(Disk):
        def grow(self, connection: Connection, texts: Sequence[Turn]) -> None:
            super().grow(connection, texts)
            if any(text.text == "broken" for text in texts):
                raise WriteRefused("That is too long.")

    disk = Strict()
    async with disk.behind.running():
        for number, words in enumerate(("a", "broken", "c")):
            disk.behind.update_text(replace(TURN, id=str(number), text=words))
    assert disk.kept == ["a", "c"]


async def test_what_is_asked_of_a_closed_database_is_refused_and_never_waits() -> None:
    line = BatchExecutor("closed", 1, lambda works: [1 for _ in works])
    assert await line.submit(lambda _: 1) == 1
    late = asyncio.ensure_future(line.submit(lambda _: 1))
    await asyncio.sleep(0)  # it waits for the next round of the loop, in which the threads may be gone
    await asyncio.to_thread(line.close)
    (outcome,) = await asyncio.wait_for(asyncio.gather(late, return_exceptions=True), 5)
    assert outcome == 1 or "closed" in str(outcome)
    with pytest.raises(DatabaseFailure, match="closed"):
        await asyncio.wait_for(line.submit(lambda _: 1), 5)
