"""A program that is killed again and again, and people on a wire who do not mind.

A `Wire` is a platform as people use it, outside of the process that is killed; `Page` is the local page by WebSocket.
Other platforms join by a wire of their own.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from sqlalchemy import func, select

from adapters.storage.database.database import open_database
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.tables import inbox
from adapters.storage.sql.web_posts import SqlPosts
from adapters.web.channel.channel import CHAT
from adapters.web.posts.posts import Post, StoredFile, decode, encode

READY_WITHIN_S = 60.0
SETTLED_WITHIN_S = 120.0
ANSWERS = {
    "short": "A short answer.",
    "story": " ".join(f"story{n}" for n in range(60)),
    "code": "Here it is:\n\n```python\n" + "\n".join(f"print({n})" for n in range(40)) + "\n```\n\nThat is all.",
    "epic": "\n\n".join(" ".join(f"epic{n}" for n in range(at, at + 50)) for at in range(0, 3500, 50)),
    "think": "<think>" + " ".join(f"hm{n}" for n in range(40)) + "</think>\n\n" + "The answer is 42.",
}
_RATES = {"short": 50, "story": 60, "code": 80, "epic": 3000, "think": 60}


class Wire(Protocol):
    """A platform with people on it."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What switches the platform on in the program."""
        ...

    async def live(self) -> None:
        """People send, read, press and set, through every interruption, until everybody has had every answer."""
        ...

    def finish(self) -> None:
        """Nobody begins anything new. Called while the program does not run."""
        ...

    def waiting(self) -> list[str]:
        """What is not answered yet, a line each."""
        ...

    async def check(self, database: str) -> None:
        """Every event was answered once, every reply is whole, and the settings are those last confirmed."""
        ...


class Program:
    """`partyline run` over the scripted engine."""

    def __init__(self, folder: Path, database: str, environment: Mapping[str, str]) -> None:
        script = folder / "script.jsonl"
        lines = [{"match": f"^{word}", "answer": a, "tokens_per_s": _RATES[word]} for word, a in ANSWERS.items()]
        script.write_text("\n".join(json.dumps(line | {"first_token_s": 0.05}) for line in lines))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled by the first start, and not by hundreds
        self._environment = inherited | {
            "PYTHONPATH": str(Path.cwd()),
            "PARTYLINE_MODEL": f"scripted:{script}",
            "PARTYLINE_CAPTIONER": "",
            "PARTYLINE_DATABASE": database,
            # The longest answer must fit behind a conversation that has others of them.
            "PARTYLINE_INFERENCE__CONTEXT_TOKENS": "65536",
            "PARTYLINE_LIMITS__MAX_TOKENS": "4096",
            "PARTYLINE_LIMITS__DEFAULT_MAX_TOKENS": "4096",
            **environment,
        }
        self._folder = folder

    @asynccontextmanager
    async def running(self, *, ready: bool = True) -> AsyncIterator[asyncio.subprocess.Process]:
        """A process; it is killed with -9 at the end, if it still lives."""
        with (self._folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "adapters.cli",
                "run",
                cwd=self._folder,
                env=self._environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        try:
            if ready:
                await self._wait_until_ready(process)
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async with asyncio.timeout(READY_WITHIN_S):
            while (line := await process.stdout.readline()) and b"ready" not in line:
                pass  # it connects before the model is loaded
        assert b"ready" in line, (self._folder / "log").read_text()


async def kill_at_random(program: Program, kills: int, dice: random.Random, longest_s: float) -> None:
    """Starts and kills the program; every tenth time also before it is ready. It lives for `longest_s` at most."""
    for number in range(kills):
        async with program.running(ready=number % 10 != 9):
            await asyncio.sleep(dice.uniform(0.0, longest_s))


async def survives(
    wire: Wire, program: Program, database: str, kills: int, dice: random.Random, longest_s: float = 1.2
) -> None:
    """Everybody is answered, though the program is killed so many times meanwhile."""
    async with asyncio.TaskGroup() as group:
        people = group.create_task(wire.live())
        await kill_at_random(program, kills, dice, longest_s)
        wire.finish()
        async with program.running() as process:
            try:
                async with asyncio.timeout(SETTLED_WITHIN_S):
                    await people
                    await nothing_is_left(database)  # nobody waits for what was pressed last
            except TimeoutError:
                raise AssertionError("\n".join(["these wait for ever:", *wire.waiting()])) from None
            process.terminate()
            await process.wait()
            assert process.returncode == 0
    await wire.check(database)


async def nothing_is_left(database: str) -> None:
    """Returns when every event is answered."""
    async with open_database(database) as opened:
        unanswered = select(func.count()).select_from(inbox).where(inbox.c.answered.is_(False))
        while await opened.read(lambda connection: connection.scalar(unanswered)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@dataclass
class Page:
    """The local page: `people` who each have one message after the other answered."""

    port: int
    dice: random.Random
    people: int = 4
    done: asyncio.Event = field(default_factory=asyncio.Event)
    visitors: list[Visitor] = field(default_factory=list)

    @property
    def environment(self) -> Mapping[str, str]:
        return {"PARTYLINE_WEB__ENABLED": "true", "PARTYLINE_WEB__PORT": str(self.port)}

    async def live(self) -> None:
        self.visitors = [Visitor(self.port, number, self.dice, self.done) for number in range(self.people)]
        async with asyncio.TaskGroup() as group:
            for visitor in self.visitors:
                group.create_task(visitor.live())

    def finish(self) -> None:
        self.done.set()

    def waiting(self) -> list[str]:
        return [line for visitor in self.visitors for line in visitor.waiting()]

    async def check(self, database: str) -> None:
        async with open_database(database) as opened:
            posts: SqlPosts[Post, StoredFile] = SqlPosts(opened, encode=encode, decode=decode, make_file=StoredFile)
            everything = await posts.load(1_000_000)
            storage = SqlStorage(opened)
            answers = {post.id: await storage.answer_at(CHAT, post.id) for post in everything}
            for visitor in self.visitors:
                visitor.check(everything, answers)
                visitor.check_settings(await storage.preferences(visitor.id))
            assert [post for post in everything if post.frame.growing] == []


class Visitor:
    """Somebody with the page open, who comes back whenever the connection breaks."""

    def __init__(self, port: int, number: int, dice: random.Random, done: asyncio.Event) -> None:
        self.id = ""
        self._address = f"http://127.0.0.1:{port}/ws"
        self._name, self._dice, self._done = f"v{number}", dice, done
        self._sent: dict[str, str] = {}
        """Text by client id, in order."""
        self._accepted: dict[str, str] = {}
        """The post of a client id."""
        self._pressed: dict[str, str] = {}
        """The post whose Regenerate was pressed, by client id."""
        self._posts: dict[str, dict[str, Any]] = {}
        self._answers: defaultdict[str, set[str]] = defaultdict(set)
        """The bot's posts, by what they reply to."""
        self._oldest = 0
        """The position of the first post that was seen since the page was opened."""
        self._set = 0
        self._confirmed = 0

    async def live(self) -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            while not self._content():
                with suppress(aiohttp.ClientError, ConnectionError):
                    async with session.ws_connect(self._address, timeout=aiohttp.ClientWSTimeout(ws_close=1)) as socket:
                        await self._visit(socket)
                await asyncio.sleep(0.05)

    def waiting(self) -> list[str]:
        unanswered = [client_id for client_id in self._sent if not self._answered(client_id)]
        return [f"page: {self.id} {one}, post {self._accepted.get(one)}, {self._sent[one]!r}" for one in unanswered]

    def _content(self) -> bool:
        return self._done.is_set() and all(self._answered(client_id) for client_id in self._sent)

    def _answered(self, client_id: str) -> bool:
        post = self._accepted.get(client_id)
        mine = self._answers.get(post or "", ())
        return bool(mine) and not any(self._posts[each]["growing"] for each in mine)

    async def _look_above(self, socket: aiohttp.ClientWebSocketResponse, said: dict[str, Any]) -> None:
        """Scrolls up while an answer is missing that is not among the newest posts; the first of these may have it."""
        if said["posts"]:
            self._oldest = said["posts"][0]["position"]
        else:
            await asyncio.sleep(0.5)  # the database is away
        if said["earlier"] and any(not self._answered(client_id) for client_id in self._accepted):
            await socket.send_json({"type": "earlier", "before": self._oldest})

    def _see(self, post: dict[str, Any]) -> None:
        self._posts[post["id"]] = post
        if post["kind"] == "bot" and post["reply_to"]:
            self._answers[post["reply_to"]].add(post["id"])

    async def _visit(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            await self._hear(socket, json.loads(message.data))
            if self._content():
                return
            await self._go_on(socket)

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse, said: dict[str, Any]) -> None:
        match said["type"]:
            case "hello":
                self.id = said["person"]
                for post in said["posts"]:
                    self._see(post)
                for client_id in self._sent:
                    if client_id not in self._accepted:
                        await self._send(socket, client_id)
                await self._look_above(socket, said)
            case "earlier":
                for post in said["posts"]:
                    self._see(post)
                await self._look_above(socket, said)
            case "post":
                self._see(said["post"])
            case "accepted":
                self._accepted[said["client_id"]] = said["id"]
            case "settings" if said.get("sentence"):
                value = next(each["value"] for each in said["settings"] if each["name"] == "seed")
                self._confirmed = max(self._confirmed, int(value))

    async def _go_on(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        newest = next(reversed(self._sent), None)
        if self._done.is_set() or (newest is not None and not self._answered(newest)):
            return
        if newest is not None and self._dice.random() < 0.3:
            await self._press(socket, self._accepted[newest])
        if self._dice.random() < 0.5:
            self._set += 1
            await socket.send_json({"type": "setting", "name": "seed", "value": str(self._set)})
        client_id = f"{self._name}-{len(self._sent)}"
        self._sent[client_id] = f"{self._dice.choice(list(ANSWERS))} {client_id}"
        await self._send(socket, client_id)

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, client_id: str) -> None:
        text = self._sent[client_id]
        await socket.send_json({"type": "message", "client_id": client_id, "text": text, "pictures": []})

    async def _press(self, socket: aiohttp.ClientWebSocketResponse, post_id: str) -> None:
        answer = [post for post in self._posts.values() if post["reply_to"] == post_id and post["kind"] == "bot"][-1]
        client_id = f"{self._name}-press-{len(self._pressed)}"
        self._pressed[client_id] = answer["id"]
        pressed = {"type": "action", "client_id": client_id, "action": "regenerate", "message_id": answer["id"]}
        await socket.send_json(pressed)

    def check(self, posts: Sequence[Post], answers: Mapping[str, str | None]) -> None:
        """Raises AssertionError where something was lost or doubled; `answers` says which answer a post shows."""
        for client_id, text in self._sent.items():
            mine = [post for post in posts if post.event_id == f"{self.id}/{client_id}"]
            assert [post.frame.markdown for post in mine] == [text]
            self._check_answer(text, posts, answers, mine[0].id)
        for post_id in self._pressed.values():
            question = next(post.reply_to for post in posts if post.id == post_id)
            text = next(post.frame.markdown for post in posts if post.id == question)
            # Nobody confirms a press, so one may have been lost with its connection.
            if any(post.reply_to == post_id for post in posts):
                self._check_answer(text, posts, answers, post_id)

    def check_settings(self, settings: Mapping[str, str]) -> None:
        """Those last confirmed, or set after that."""
        assert self._confirmed <= int(settings.get("seed", 0)) <= self._set

    def _check_answer(self, text: str, posts: Sequence[Post], answers: Mapping[str, str | None], post_id: str) -> None:
        replies = [post for post in posts if post.reply_to == post_id and post.kind == "bot"]
        assert len(replies) == 1, (text, replies)
        answer = answers[replies[0].id]
        assert answer is not None
        shown = [post for post in posts if answers[post.id] == answer]
        assert not any(post.frame.failure for post in shown), shown
        whole = re.sub(r"<think>.*</think>", "", ANSWERS[text.split()[0]], flags=re.DOTALL)
        assert _words(*(post.frame.markdown for post in shown)) == _words(whole), text
        assert sum(post.asker == self.id and post.reply_to is None for post in posts if answers[post.id] is None) == 0


def _words(*texts: str) -> list[str]:
    return "".join(texts).split()
