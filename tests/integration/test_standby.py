"""Two processes with one token over one database: one answers, the other one stands by."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from adapters.storage.database.database import open_database
from adapters.storage.sql.tables import processes, replies, usage
from tests.fakes import script
from tests.servers.telegram import TOKEN, TelegramServer, telegram, until
from tests.servers.telegram_world import Chat

pytestmark = pytest.mark.timeout(120)

_SHORT_LEASE = """
import os, signal
from pathlib import Path
from adapters.storage import leases
leases.BEAT_S, leases.LEASE_S, leases.BEAT_WITHIN_S = 0.4, 5.0, 1.5
from adapters.telegram.client.transport import BotApiRequest
whole, under_way = BotApiRequest.do_request, 0

def stand_still(moment):
    wanted = Path(f"{moment}-{os.getpid()}")
    if not under_way and wanted.exists():
        wanted.unlink()
        os.kill(os.getpid(), signal.SIGSTOP)

async def call(self, url, *arguments, **more):
    global under_way
    if "essage" not in url:
        return await whole(self, url, *arguments, **more)
    stand_still("before a call")
    under_way += 1
    try:
        return await whole(self, url, *arguments, **more)
    finally:
        under_way -= 1
        stand_still("after a call")

BotApiRequest.do_request = call
from adapters.cli import main
main()
"""
"""The program, which stops itself where a file of that name wants it, and no other call is under way: what was half
written then would be beyond its control."""
INTERVAL_S = 1.0
WORDS = 2500
ANSWER = "".join(f"w{n} " for n in range(WORDS)).strip()


@asynccontextmanager
async def partyline(folder: Path, server: TelegramServer) -> AsyncIterator[Process]:
    """The program, ready; ends with the context."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
    settings = {
        "PYTHONPATH": str(Path.cwd()),
        "TELEGRAM_TOKEN": TOKEN,
        "TELEGRAM_API_BASE": server.address,
        "PARTYLINE_MODEL": f"scripted:{folder / 'script.jsonl'}",
        "PARTYLINE_CAPTIONER": "",
        "PARTYLINE_TELEGRAM__PRIVATE_INTERVAL_S": str(INTERVAL_S),
        "PARTYLINE_LIMITS__MAX_TOKENS": "8192",
        "PARTYLINE_LIMITS__DEFAULT_MAX_TOKENS": "8192",
        "PARTYLINE_INFERENCE__CONTEXT_TOKENS": "65536",
    }
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _SHORT_LEASE, "run", cwd=folder, env=inherited | settings, stdout=PIPE, stderr=log
        )
    try:
        assert process.stdout is not None
        while (line := await process.stdout.readline()) and b"ready" not in line:
            pass  # it connects before the model is loaded
        assert b"ready" in line, (folder / "log").read_text()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def is_over(chat: Chat) -> bool:
    return any("Regenerate" in label for each in chat.answers for label in each.buttons)


def parts(chat: Chat) -> list[list[str]]:
    """The words of the answer, message by message, without the small print."""
    return [re.findall(r"\bw\d+\b", each.text) for each in chat.answers]


def shown(chat: Chat) -> int:
    return sum(map(len, parts(chat)))


@pytest.mark.parametrize("moment", ["before a call", "after a call"])
async def test_who_stood_still_for_longer_than_its_lease_says_no_more(tmp_path: Path, moment: str) -> None:
    """It was stopped in the middle of answers, with which the other process has gone on meanwhile.

    Before a call: when that was made up already, and not handed to the network.
    """
    script(tmp_path, {"match": "slow", "answer": ANSWER, "tokens_per_s": 100})
    async with (
        telegram() as server,
        open_database(str(tmp_path / "partyline.sqlite3")) as database,
        partyline(tmp_path, server) as one,
        partyline(tmp_path, server) as two,
    ):
        people = [server.person(f"Person {n}", 1000 + n) for n in range(2)]
        chats = [person.private for person in people]
        for person in people:
            person.says("slow")
        await until(lambda: all(shown(chat) > 100 for chat in chats))
        owners = await database.read(lambda connection: connection.scalars(select(replies.c.process)).all())
        first, second = (one, two) if f"/{one.pid}/" in owners[0] else (two, one)
        wanted = tmp_path / f"{moment}-{first.pid}"
        wanted.touch()
        await until(lambda: not wanted.exists())
        query = select(processes.c.id)
        while len(await database.read(lambda connection: connection.scalars(query).all())) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        then = [shown(chat) for chat, owner in zip(chats, owners, strict=True)]
        await until(lambda: all(shown(chat) > before + 200 for chat, before in zip(chats, then, strict=True)))
        first.send_signal(signal.SIGCONT)
        await first.wait()
        await until(lambda: all(is_over(chat) for chat in chats))
        second.terminate()
        await second.wait()
        for chat in chats:
            assert [word for part in parts(chat) for word in part] == ANSWER.split(), parts(chat)
            written = re.findall(r"([\d,]+) tokens", chat.answers[-1].text)
            used = select(usage.c.tokens).where(usage.c.person == f"telegram:{chat.id}")
            counted = await database.read(lambda connection: connection.scalars(used).all())  # noqa: B023
            assert [int(number.replace(",", "")) for number in written] == counted


async def test_when_the_first_one_dies_the_other_one_is_soon_there(tmp_path: Path) -> None:
    """However long both of them have taken turns with the updates."""
    script(tmp_path, {"match": "quick", "answer": "quick"})
    async with telegram() as server, partyline(tmp_path, server), partyline(tmp_path, server) as second:
        ann = server.person()
        before = server.methods.count("getUpdates")
        await until(lambda: server.methods.count("getUpdates") >= before + 6)
        second.kill()
        await second.wait()
        ann.says("quick")
        async with asyncio.timeout(10):
            await until(lambda: is_over(ann.private))
