"""What somebody has erased is in no file of the database, while it is in use."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.storage.database.database import open_database
from adapters.storage.sql.storage import SqlStorage
from bots.ports import Received, ReplyRecord, Turn
from bots.profile.personal import Retention

ANN = "telegram:1"
SECRETS = [
    b"payload-of-ann",
    b"question-of-ann",
    b"request-of-ann",
    b"answer-of-ann",
    b"setting-of-ann",
    b"name-of-ann",
]
LONG = " and more of it" * 1000
"""Longer than a page of the file."""


def found(path: Path) -> list[bytes]:
    files = [each.read_bytes() for each in path.parent.glob(f"{path.name}*")]
    return [secret for secret in SECRETS if any(secret in data for data in files)]


async def live(storage: SqlStorage) -> None:
    """What the table holds of somebody who has asked, and of others beside them."""
    for number, person in enumerate(["telegram:2", ANN, "telegram:3"]):
        whose = "ann" if person == ANN else person
        event = Received(
            account="telegram:9", id=f"{number}", chat="telegram:5", payload=f"payload-of-{whose}{LONG}", person=person
        )
        await storage.receive([event])
        reply = ReplyRecord(chat="telegram:5", event_id=f"{number}", answer_id=f"a{number}", person=person)
        await storage.claim(reply)
        question = Turn(
            id=f"q{number}", chat="telegram:5", person=person, role="user", text=f"question-of-{whose}{LONG}"
        )
        answer = replace(question, id=f"a{number}", role="assistant", text="", parent_id=question.id, state="streaming")
        reply = replace(reply, state="streaming", question_id=question.id, request=f"request-of-{whose}{LONG}")
        await storage.begin(reply, [question, answer], answer.id)
        for length in range(3):
            storage.keep_soon(replace(answer, text=f"answer-of-{whose}" * (1 + 300 * length)))
            await storage.branch(answer.id, 1)
        await storage.end(replace(reply, state="done", ending="{}"), replace(answer, text=f"answer-of-{whose}{LONG}"))
        await storage.record_delivery("telegram:5", answer.id, 0, f"m{number}")
        await storage.record_shown("telegram:5", answer.id)
        await storage.answered("telegram:9", f"{number}")
        await storage.set_preferences(person, {"stop": f"setting-of-{whose}"})
    await storage.branch("a0", 1)


@pytest.mark.parametrize("how", ["erased", "too old"])
async def test_erased_words_are_in_no_file_while_the_database_is_open(tmp_path: Path, how: str) -> None:
    path = tmp_path / "partyline.sqlite3"
    async with open_database(str(path)) as database:
        storage = SqlStorage(database)
        async with storage.behind.running():
            await live(storage)
            assert found(path)
            if how == "erased":
                await storage.erase([ANN], "2026-11-30")
                assert found(path) == []
                assert len(await storage.branch("a0", 9)) == 2, "others keep theirs"
            else:
                await storage.expire(Retention(days=1, event_days=1), 90 * 86_400.0, 500)
                assert set(found(path)) <= {b"setting-of-ann"}


async def test_an_erasure_waits_for_a_reader_and_lets_others_write(tmp_path: Path) -> None:
    path = tmp_path / "partyline.sqlite3"
    async with open_database(str(path)) as database:
        storage = SqlStorage(database)
        async with storage.behind.running():
            await live(storage)
            with closing(sqlite3.connect(path, isolation_level=None)) as backup:
                backup.execute("BEGIN")
                backup.execute("SELECT count(*) FROM turns").fetchall()
                erasing = asyncio.ensure_future(storage.erase([ANN], "2026-11-30"))
                while (await storage.branch("a1", 1)) or await storage.preferences(ANN):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await storage.set_preferences("telegram:2", {"seed": "1"})
                assert found(path), "the reader still sees them"
                backup.execute("COMMIT")
            await erasing
            assert found(path) == []


async def test_a_log_that_somebody_reads_for_long_is_emptied_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.storage.sql.person_data._WIPED_WITHIN_S", 0.01)
    path = tmp_path / "partyline.sqlite3"
    async with open_database(str(path)) as database:
        storage = SqlStorage(database)
        async with storage.behind.running():
            await live(storage)
            with closing(sqlite3.connect(path, isolation_level=None)) as backup:
                backup.execute("BEGIN")
                backup.execute("SELECT count(*) FROM turns").fetchall()
                await storage.erase([ANN], "2026-11-30")
                assert found(path)
                backup.execute("COMMIT")
            await storage.expire(Retention(), 0.0, 500)
            assert found(path) == []
