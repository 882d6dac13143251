"""Measures what memory costs: `python -m benchmarks.memory` prints the table of docs/reliability.md.

Options: `--messages` stored ones, `--postgresql` to measure that instead of SQLite, `--only` one of the figures. Exits
with 1 where a goal is missed; `make soak` runs it on both.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Event as ThreadEvent
from threading import Thread

from sqlalchemy import Connection

from adapters.delivery.channel import Frame
from adapters.storage.database.database import Database, open_database
from adapters.storage.database.sqlite_backend import LocalDatabase
from adapters.storage.memory.storage import MemoryStorage
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.tables import heads, turns
from adapters.storage.sql.web_posts import SqlPosts
from adapters.web.posts.posts import Post, StoredFile, decode, encode
from adapters.web.sessions.events import PageEvent
from benchmarks.lateness import idle_beside, in_words, lateness
from bots.conversation.context_window import MAX_TURNS
from bots.conversation.ledger import LedgerRequest
from bots.ports import Received, ReplyRecord, Storage, Turn
from inference.api import Message, Sampling
from inference.processes.gc_freeze import frozen_allocations
from inference.serving.service import LocalInference
from tests.fakes import Chat, script, scripted_inference
from tests.integration.test_kill import free_port
from tests.killing import Page, Program
from tests.servers.postgresql import Server

CONVERSATION = 500
UNFINISHED = 1000
BATCH = 10_000
ROUNDS = 800
RECORDINGS = 3
SECONDS = 20.0
SLOW_S = 0.05


missed: list[str] = []


def judge(what: str, value: float, goal: float, unit: str = "ms", more: str = "") -> None:
    """Prints the figure beside its goal, and remembers one that is missed."""
    held = value <= goal
    if not held:
        missed.append(what)
    print(f"{what}: {value:.1f} {unit}{more} (goal {goal:g} {unit}: {'holds' if held else 'MISSED'})", flush=True)


def p95_ms(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=20)[-1] * 1000


async def fill(database: Database, messages: int) -> list[str]:
    """Conversations of `CONVERSATION` turns; returns their newest turns."""
    for begin in range(0, messages, BATCH):
        rows = [_row(number) for number in range(begin, min(messages, begin + BATCH))]
        await database.write(partial(Connection.execute, statement=turns.insert(), parameters=rows))
    newest = [f"t{number}" for number in range(CONVERSATION - 1, messages, CONVERSATION)]
    if not isinstance(database, LocalDatabase):
        # What the server does by itself, a minute after so much was put in at once.
        await database.write(lambda connection: connection.exec_driver_sql("VACUUM ANALYZE turns"), single=True)
    rows = [{"chat": "c", "person": f"p{n}", "turn_id": turn} for n, turn in enumerate(newest)]
    await database.write(partial(Connection.execute, statement=heads.insert(), parameters=rows))
    return newest


def _row(number: int) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(("prompt", "thinking"), "")
    parent = f"t{number - 1}" if number % CONVERSATION else None
    row |= {"id": f"t{number}", "chat": "c", "person": f"p{number // CONVERSATION}", "parent_id": parent}
    row |= {"role": "assistant" if number % 2 else "user", "text": "some words of it " * 15, "captions": ()}
    return row | {"state": "done", "reason": "stop", "created_at": float(number)}


async def branches(database: Database, newest: list[str]) -> None:
    storage, took = SqlStorage(database), []
    for _ in range(300):
        person = random.randrange(len(newest))
        began = time.perf_counter()
        head = await storage.head("c", f"p{person}")
        found = await storage.branch(head or "", MAX_TURNS)
        took.append(time.perf_counter() - began)
        assert len(found) == MAX_TURNS
    judge(f"newest branch of {MAX_TURNS} turns, p95", p95_ms(took), 10, more=f", median {median(took) * 1000:.1f}")


async def start(address: str, folder: Path) -> None:
    """Until the program is ready, with so many replies that another one was writing when it was killed."""
    async with open_database(address) as database:
        await _leave_unfinished(database)
    page = Page(free_port(), random.Random(1))
    async with Program(folder, address, page.environment).running(ready=False) as process:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
    found = re.search(r"after ([\d.]+) s", line)
    if found is None:
        raise RuntimeError(f"the program did not start: {line}")
    judge(f"a start with {UNFINISHED} unfinished replies", float(found[1]), 5, "s")


async def _leave_unfinished(database: Database) -> None:
    storage = SqlStorage(database, "dead")
    posts: SqlPosts[Post, StoredFile] = SqlPosts(database, encode=encode, decode=decode, make_file=StoredFile)
    asked = LedgerRequest(messages=(Message("user", "story"),), sampling=Sampling(), opening="", model="").written()
    for n in range(UNFINISHED):
        event = PageEvent(id=f"w{n}/1", person=f"w{n}", name="W", text="story", under=f"post{n}")
        await posts.put(_post(n, event))
        await storage.receive([event.received(0.0)])
        incoming = event.incoming([], new=True)
        reply = ReplyRecord(chat=incoming.chat, event_id=event.id, answer_id=f"wa{n}", person=event.person)
        await storage.claim(reply)
        question = Turn(id=f"wq{n}", chat=reply.chat, person=reply.person, role="user", text="story")
        answer = Turn(
            id=f"wa{n}", chat=reply.chat, person=reply.person, role="assistant", text="story0 ", state="streaming"
        )
        begun = replace(reply, state="streaming", question_id=question.id, request=asked)
        await storage.begin(begun, [question, answer], answer.id)


def _post(number: int, event: PageEvent) -> Post:
    frame = Frame(markdown=event.text)
    return Post(
        id=event.under,
        position=number + 1,
        kind="person",
        author=event.person,
        name=event.name,
        frame=frame,
        event_id=event.id,
    )


async def under_load(storage: Storage, inference: LocalInference, slots: int = 8) -> tuple[list[float], str]:
    """By how much the loop is late while so many answers are written, and an idle one in a process beside it."""
    chat, until = Chat(inference, storage=storage), time.perf_counter() + SECONDS

    async def ask(number: int) -> None:
        while time.perf_counter() < until:
            await chat.say("story", person=f"b{number}")

    async with asyncio.TaskGroup() as group:
        idle = group.create_task(idle_beside(SECONDS))
        late = group.create_task(lateness(SECONDS))
        for number in range(slots):
            group.create_task(ask(number))
    return late.result(), f", {in_words(late.result())}; an idle loop beside it {idle.result()}"


async def first_frames(
    storage: Storage, inference: LocalInference, people: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Seconds from an event's arrival, for so many at the same instant, many times.

    Returns:
        until it is recorded, and until the first event of its reply.
    """
    chat, recorded, took = Chat(inference, storage=storage), [], []

    async def ask(person: str) -> None:
        incoming = chat.incoming("hello", person=person, chat=person)
        began = time.perf_counter()
        await storage.receive([Received(account="bot", id=incoming.event_id, chat=incoming.chat, payload="{}")])
        recorded.append(time.perf_counter() - began)
        async with aclosing(chat.events(incoming)) as events:
            await anext(events)
            took.append(time.perf_counter() - began)
            async for _ in events:
                pass

    for at in range(0, ROUNDS, people):
        async with asyncio.TaskGroup() as group:
            for number in range(at, at + people):
                group.create_task(ask(f"f{people}-{number}"))
    return recorded, took


async def recording(database: Database, folder: Path) -> None:
    """Of several rounds the median of their p95, because a machine that does something else for a second spoils one.

    The first frame waits for the record of its event, and for settings that are read fresh; the reply's own row is
    made behind it.
    """
    async with scripted_inference(script(folder, {"match": "hello", "answer": "hello"})) as inference:
        storage = SqlStorage(database)
        async with storage.behind.running():
            for people in (1, 8):
                rounds = []
                for _ in range(RECORDINGS):
                    _, without = await first_frames(MemoryStorage(), inference, people)
                    rounds.append((*await first_frames(storage, inference, people), without))
                recorded, took, without = ([p95_ms(times) for times in kind] for kind in zip(*rounds, strict=True))
                every = ", ".join(f"{p95:.1f}" for p95 in recorded)
                more = f" ({every}); first frame {median(took):.1f}, without a database {median(without):.1f}"
                if people == 1:
                    judge("recorded after, p95", median(recorded), 5, more=more)
                else:
                    print(f"{people} at the same instant, recorded after, p95: {median(recorded):.1f} ms{more}")


@contextmanager
def slow_disk(path: Path) -> Iterator[None]:
    """Every write waits: another program holds the lock half of the time, for `SLOW_S` each."""
    over = ThreadEvent()

    def hold() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
            while not over.is_set():
                connection.execute("BEGIN IMMEDIATE")
                time.sleep(SLOW_S)
                connection.execute("ROLLBACK")
                time.sleep(SLOW_S)

    thread = Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def loop(database: Database, folder: Path, path: Path | None) -> None:
    line = {"match": "story", "answer": " ".join(["words"] * 60), "tokens_per_s": 60, "first_token_s": 0.02}
    async with scripted_inference(script(folder, line)) as inference:
        _, words = await under_load(MemoryStorage(), inference)
        print(f"the loop is late, kept in memory{words}")
        for name, trouble in (("", nullcontext()), (", slow disk", slow_disk(path) if path else None)):
            storage = SqlStorage(database)
            if trouble is None:
                continue
            async with storage.behind.running():
                with trouble:
                    late, words = await under_load(storage, inference)
            judge(f"the loop is late, kept in the database{name}, at most", max(late) * 1000, 20, more=words)


@asynccontextmanager
async def place(postgresql: bool) -> AsyncIterator[tuple[str, Path, Path | None]]:
    """An address, a folder, and the file where it is one."""
    with TemporaryDirectory(prefix="pl") as name:
        folder = Path(name)
        if not postgresql:
            path = folder / "partyline.sqlite3"
            yield str(path), folder, path
            return
        server = Server(folder / "pg")
        await asyncio.to_thread(server.start)
        try:
            yield await asyncio.to_thread(server.new_database), folder, None
        finally:
            await asyncio.to_thread(server.stop)


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--only", choices=("branches", "recording", "loop", "start"))
    options = parser.parse_args()
    async with place(options.postgresql) as (address, folder, path):
        async with open_database(address) as database:
            newest = await fill(database, options.messages)
            with frozen_allocations():
                pass  # as the program's start ends
            if options.only in (None, "branches"):
                await branches(database, newest)
            if options.only in (None, "recording"):
                await recording(database, folder)
            if options.only in (None, "loop"):
                await loop(database, folder, path)
        if options.only in (None, "start"):
            await start(address, folder)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
