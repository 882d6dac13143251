"""Three bots, the service that they share and a real PostgreSQL, each of which is stopped, killed and slowed down.

The first bot has Telegram and the page, the second one Discord and the page, the third one the page alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import make_url

from tests.killing import ANSWERS
from tests.lifecycle import ended_after_s
from tests.servers.postgresql import Server
from tests.servers.slow_line import SlowLine

READY_WITHIN_S = 180.0
KEY = "the key of the fleet"
# Most answers take some seconds, so that every fault meets some of them in the middle.
_RATES = {"short": 50, "story": 8, "code": 25, "epic": 500, "think": 8}
_BUSY_TABLES = ("turns", "replies", "inbox", "posts", "processes")
_START_AGAIN_S = 3


class Part:
    """One process, which nobody but this test ends."""

    def __init__(self, name: str, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.environment = dict(environment)
        self.interruptions = 0
        """How often it was ended by this test."""
        self.deserted: list[str] = []
        """How it ended by itself."""
        self._command = command
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Starts it, and returns at once."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "adapters.cli",
                self._command,
                cwd=self._folder,
                env=self.environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self._watching = asyncio.ensure_future(self._watch(self._process, self.interruptions))

    async def ready(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while b"ready" not in (line := await self._process.stdout.readline()):
                    assert line, f"{self.name} ended before it was ready:\n{self._tail()}"
        except TimeoutError:
            raise AssertionError(f"{self.name} is not ready:\n{self._tail()}") from None

    async def start(self) -> None:
        await self.begin()
        await self.ready()

    async def kill(self) -> None:
        self.interruptions += 1
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def terminate(self) -> float:
        """The seconds that it took. Raises AssertionError: they were too many, or it failed."""
        self.interruptions += 1
        assert self._process is not None
        assert self._process.returncode is None, f"{self.name} had ended by itself:\n{self._tail()}"
        return await ended_after_s(self._process)

    async def stand_still(self, seconds: float) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            self._process.send_signal(signal.SIGCONT)

    async def _watch(self, process: asyncio.subprocess.Process, interruptions: int) -> None:
        await process.wait()
        if self.interruptions == interruptions:
            self.deserted.append(f"{self.name} ended by itself ({process.returncode}):\n{self._tail()}")

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]


@dataclass
class Fleet:
    """All parts, and what was done to them."""

    database: str
    serve: Part
    bots: list[Part]
    server: Server
    line: SlowLine
    dice: random.Random
    longest_s: float
    """The most that the service or the database is away, in seconds."""
    done: Counter[str] = field(default_factory=Counter)
    stops_s: list[float] = field(default_factory=list)
    _turn: int = 0

    @property
    def parts(self) -> list[Part]:
        return [self.serve, *self.bots]

    async def start(self) -> None:
        """Everything, the bots first: they wait for what they need."""
        for bot in self.bots:
            await bot.begin()
        await self.serve.begin()
        for part in self.parts:
            await part.ready()

    async def stop(self) -> None:
        """Asks each to end. Raises AssertionError: one fails, or takes too long."""
        for part in [*self.bots, self.serve]:
            self.stops_s.append(await part.terminate())

    async def kill(self) -> None:
        for part in self.parts:
            await part.kill()

    async def suffer(self, rounds: int, only: str = "", most: int | None = None) -> None:
        """Every fault, or those with this word in their names, so many times, in any order; of the bots' any bot's.

        With several rounds every bot has each of its faults in every round. `most`: so many of all those.
        """
        bots = self.bots if rounds > 1 else [self.dice.choice(self.bots)]
        faults = [(name, fault) for name, fault in self._faults(bots) if only in name] * rounds
        self.dice.shuffle(faults)
        for name, fault in faults[:most]:
            await asyncio.sleep(self.dice.uniform(0.5, 3.0))
            self.done[name] += 1
            await fault()

    def _faults(self, bots: Sequence[Part]) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        return [
            ("serve killed", self._serve_killed),
            ("serve stopped and started", self._serve_stopped),
            ("serve started again at once", self._serve_again),
            ("serve away", self._serve_away),
            ("serve with another model", self._serve_changed),
            *((f"{bot.name} killed", self._of(bot, self._bot_killed)) for bot in bots),
            *((f"{bot.name} stopped", self._of(bot, self._bot_stopped)) for bot in bots),
            *((f"{bot.name} stood still", self._of(bot, self._bot_still)) for bot in bots),
            ("database stopped", self._database_stopped),
            ("database killed", self._database_killed),
            ("a table locked for 12 s", self._locked),
            ("database 200 ms away", self._far_away),
            ("everything at once", self._everything),
        ]

    def _of(self, bot: Part, fault: Callable[[Part], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        return lambda: fault(bot)

    def _away_s(self) -> float:
        return self.dice.uniform(self.longest_s / 2, self.longest_s)

    async def _serve_killed(self) -> None:
        await self.serve.kill()
        await asyncio.sleep(self.dice.uniform(0.0, 2.0))
        await self.serve.start()

    async def _serve_stopped(self) -> None:
        self.stops_s.append(await self.serve.terminate())
        await asyncio.sleep(self.dice.uniform(0.0, 2.0))
        await self.serve.start()

    async def _serve_again(self) -> None:
        await self.serve.kill()
        await self.serve.start()

    async def _serve_away(self) -> None:
        await self.serve.kill()
        await asyncio.sleep(self._away_s())
        await self.serve.start()

    async def _serve_changed(self) -> None:
        """The same answers under another name, so that an answer can be compared, whichever model gave it."""
        self.stops_s.append(await self.serve.terminate())
        before = Path(self.serve.environment["PARTYLINE_MODEL"].removeprefix("scripted:"))
        after = before.with_name("second.jsonl" if before.name == "first.jsonl" else "first.jsonl")
        self.serve.environment["PARTYLINE_MODEL"] = f"scripted:{after}"
        await self.serve.start()

    async def _bot_killed(self, bot: Part) -> None:
        await bot.kill()
        await asyncio.sleep(self.dice.uniform(0.0, 3.0))
        await bot.start()

    async def _bot_stopped(self, bot: Part) -> None:
        self.stops_s.append(await bot.terminate())
        await bot.start()

    async def _bot_still(self, bot: Part) -> None:
        await bot.stand_still(3.0)

    async def _database_stopped(self) -> None:
        await asyncio.to_thread(self.server.stop)
        await asyncio.sleep(self._away_s() * 2 / 3)
        await asyncio.to_thread(self.server.start)

    async def _database_killed(self) -> None:
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(self._away_s() / 3)
        await asyncio.to_thread(self.server.start)

    async def _locked(self) -> None:
        table = _BUSY_TABLES[self._turn % len(_BUSY_TABLES)]
        self._turn += 1
        lock = f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(12); COMMIT"
        name = make_url(self.database).database or ""
        await asyncio.to_thread(self.server.sql, name, lock)

    async def _far_away(self) -> None:
        self.line.delay_s = 0.2
        await asyncio.sleep(max(8.0, self.longest_s / 3))
        self.line.delay_s = 0.0

    async def _everything(self) -> None:
        """The bots are back first, and find neither the database nor the service."""
        for part in self.parts:
            await part.kill()
        await asyncio.to_thread(self.server.kill)
        for bot in self.bots:
            await bot.begin()
        await asyncio.sleep(_START_AGAIN_S)
        await self.serve.begin()
        await asyncio.to_thread(self.server.start)
        for part in self.parts:
            await part.ready()


@asynccontextmanager
async def fleet(
    folder: Path,
    server: Server,
    platforms: list[Mapping[str, str]],
    ports: tuple[int, ...],
    dice: random.Random,
    longest_s: float,
) -> AsyncIterator[Fleet]:
    """A fleet that is not started, one bot for each of `platforms`; `ports` are that of the service and the pages'."""
    address = make_url(await asyncio.to_thread(server.new_database))
    socket = Path(str(address.query["host"])) / ".s.PGSQL.5432"
    async with SlowLine(socket).serving() as line:
        database = f"postgresql://postgres@127.0.0.1:{line.port}/{address.database}"
        common = _environment(database)
        model = {"PARTYLINE_MODEL": f"scripted:{_scripts(folder)}"}
        own = {"PARTYLINE_SERVE__PORT": str(ports[0]), "PARTYLINE_SERVE__KEY": KEY, **model}
        serve = Part("serve", "serve", folder, common | own)
        remote = {
            "PARTYLINE_MODEL": f"partyline+http://127.0.0.1:{ports[0]}",
            "PARTYLINE_INFERENCE__API_KEY": KEY,
            "PARTYLINE_WEB__ENABLED": "true",
        }
        bots = [
            Part(f"bot {number}", "run", folder, common | remote | dict(platform) | {"PARTYLINE_WEB__PORT": str(port)})
            for number, (platform, port) in enumerate(zip(platforms, ports[1:], strict=True), 1)
        ]
        made = Fleet(database, serve, bots, server, line, dice, longest_s)
        try:
            yield made
        finally:
            await made.kill()


def _environment(database: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    return inherited | {
        "PYTHONPATH": str(Path.cwd()),
        "PARTYLINE_CAPTIONER": "",
        "PARTYLINE_DATABASE": database,
        "PARTYLINE_INFERENCE__SLOTS": "32",
        "PARTYLINE_INFERENCE__CONTEXT_TOKENS": "16384",
        "PARTYLINE_LIMITS__MAX_TOKENS": "4096",
        "PARTYLINE_LIMITS__DEFAULT_MAX_TOKENS": "4096",
        "PARTYLINE_ACCESS__REQUESTS_PER_MINUTE": "0",
    }


def _scripts(folder: Path) -> Path:
    """Two models that say the same; the first one."""
    lines = [{"match": f"^{word}", "answer": a, "tokens_per_s": _RATES[word]} for word, a in ANSWERS.items()]
    written = "\n".join(json.dumps(line | {"first_token_s": 0.05}) for line in lines)
    for name in ("first.jsonl", "second.jsonl"):
        (folder / name).write_text(written)
    return folder / "first.jsonl"
