"""Somebody asks every 5 s while others flood the bot elsewhere, or in the same chat: `python -m benchmarks.floods`.

The real program (page, Telegram and Discord over wire-level servers, a scripted engine whose 8 slots write an answer in
2 s each); whoever floods is a process of its own:

    commands   20 `/help` a second of one person in a Telegram group
    presses    20 presses a second of one person on their settings panel there
    accounts   8 new accounts in ten Telegram groups, each asking in all of them again and again
    uploads    20 pictures a second of one guest of the page, 1.4 MB each
    posts      20 messages a second of one guest of the page, 1 kB each
    guests     1,000 new guests of the page who come at once, each asking again and again
    newcomers  the same, who come within a minute

In the same chat, too, somebody asks: in the group somebody new, on the page somebody who was there on another day. Each
is judged within one run: alone first, then beside the flood. Goals: somebody on Discord is let in on every try, and the
95th percentile of the time to their first words is at most twice what it is alone; in the same chat it is at most three
times that. A Telegram group can be sent 20 calls a minute and an answer takes two or more, so there they ask
every 20 s, and an answer's calls are kept for them (`adapters.delivery.pacing.fair_share`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.floods import (
    EVERY_S,
    KINDS,
    LEAD_S,
    ON_TELEGRAM,
    REGULAR,
    REGULAR_SECRET,
    Attacker,
    OnDiscord,
    Seen,
    asks,
    guest,
)
from tests.servers.discord import TOKEN as DISCORD_TOKEN
from tests.servers.discord import DiscordServer
from tests.servers.telegram import TOKEN as TELEGRAM_TOKEN

SIZES = {"commands": 20, "presses": 20, "accounts": 8, "uploads": 20, "posts": 20, "guests": 1_000, "newcomers": 1_000}
ELSEWHERE, HERE = 2.0, 3.0


@dataclass
class Case:
    """What somebody on Discord saw, and somebody in the same chat; and what the flood did."""

    elsewhere: Seen
    here: Seen
    flood: Seen


@asynccontextmanager
async def program(folder: Path, telegram: str, discord: DiscordServer) -> AsyncIterator[str]:
    """`partyline run`; the page's address."""
    script = folder / "script.jsonl"
    script.write_text(json.dumps({"match": ".", "answer": "word " * 60, "tokens_per_s": 30, "first_token_s": 0.1}))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
    environment = inherited | {
        "PARTYLINE_MODEL": f"scripted:{script}",
        "PARTYLINE_CAPTIONER": "",
        "PARTYLINE_DATABASE": str(folder / "partyline.sqlite3"),
        "PARTYLINE_WEB__ENABLED": "true",
        "PARTYLINE_WEB__PORT": "0",
        "PARTYLINE_WEB__SECRET": REGULAR_SECRET,
        "PARTYLINE_ACCESS__ALLOWED_USERS": REGULAR,
        "PARTYLINE_ACCESS__STRANGERS": "answer",
        "TELEGRAM_TOKEN": TELEGRAM_TOKEN,
        "TELEGRAM_API_BASE": telegram,
        "DISCORD_TOKEN": DISCORD_TOKEN,
        "DISCORD_API_BASE": f"{discord.address}/api/v10",
        "DISCORD_GATEWAY_URL": discord.gateway,
        "PYTHONPATH": str(Path.cwd()),
    }
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "adapters.cli",
            "run",
            cwd=folder,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        page = ""
        while process.stdout is not None and (line := (await process.stdout.readline()).decode()):
            if found := re.search(r"http://\S+", line):
                page = found[0]
            if "ready" in line:
                break
        if not page:
            raise RuntimeError((folder / "log").read_text())
        await discord.until(lambda: discord.identified, 60.0)
        yield page
    finally:
        process.terminate()
        await process.wait()


class Stage:
    """One program with everybody around it."""

    def __init__(self, kind: str, attacker: Attacker, elsewhere: OnDiscord, page: str) -> None:
        self._kind = kind
        self._attacker = attacker
        self._elsewhere = elsewhere
        self._page = page

    async def watch(self, seconds: float, every_s: float, *, floods: bool) -> Case:
        elsewhere, here = Seen(), Seen()
        async with asyncio.TaskGroup() as tasks:
            flood = tasks.create_task(self._attacker.watch(seconds, self._page, floods=floods))
            await asyncio.sleep(LEAD_S * floods)
            tasks.create_task(asks(self._elsewhere.ask, seconds, every_s, elsewhere))
            if self._kind not in ON_TELEGRAM:
                tasks.create_task(self._on_the_page(seconds, every_s, here))
        there = flood.result()
        return Case(elsewhere, there if self._kind in ON_TELEGRAM else here, there)

    async def _on_the_page(self, seconds: float, every_s: float, seen: Seen) -> None:
        async with guest(self._page, seen, is_regular=True) as (someone, _):
            await asks(someone.ask, seconds, every_s, seen)


@asynccontextmanager
async def stage(kind: str, size: int, folder: Path) -> AsyncIterator[Stage]:
    attacker = Attacker(kind, size)
    try:
        await attacker.start()
        async with DiscordServer().serving() as discord:
            room = discord.room()
            async with program(folder, attacker.address, discord) as page:
                yield Stage(kind, attacker, OnDiscord(discord, room), page)
    finally:
        attacker.end()


def p95(tries: list[float | None]) -> float:
    """Of those that were let in; infinite where nobody was."""
    let_in = [each for each in tries if each is not None]
    return statistics.quantiles(let_in, n=20, method="inclusive")[-1] if len(let_in) > 1 else float("inf")


def judged(name: str, alone: Seen, beside: Seen, most: float) -> bool:
    let_in, ratio = sum(each is not None for each in beside.tries), p95(beside.tries) / p95(alone.tries)
    holds = let_in == len(beside.tries) and ratio <= most
    print(
        f"{name:22}{let_in:4} of {len(beside.tries):2}{p95(alone.tries):9.2f} s{p95(beside.tries):9.2f} s{ratio:7.2f}"
        f"  (wanted: {most:g}) {'holds' if holds else 'DOES NOT HOLD'}",
        flush=True,
    )
    return holds


async def measure(kinds: list[str], seconds: float, every_s: float) -> bool:
    print(f"{'':22}{'let in':>10}{'alone p95':>11}{'beside p95':>11}{'ratio':>7}")
    holds = True
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            async with stage(kind, SIZES[kind], Path(folder)) as set_up:
                await set_up.watch(2 * every_s, every_s, floods=False)  # warms everything up
                alone = await set_up.watch(max(seconds / 2, 2 * EVERY_S.get(kind, 0.0)), every_s, floods=False)
                beside = await set_up.watch(seconds, every_s, floods=True)
        holds &= judged(f"{kind}, elsewhere", alone.elsewhere, beside.elsewhere, ELSEWHERE)
        holds &= judged(f"{kind}, same chat", alone.here, beside.here, HERE)
        broken = beside.flood.broken + beside.elsewhere.broken + beside.here.broken
        flood = beside.flood
        print(f"{'':22}the flood: {flood.sent} sent, told {flood.told} times; broken: {broken[:2] or 'nothing'}")
        holds &= not broken
    return holds


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("kinds", nargs="*", choices=[*KINDS, []], default=[])
    options.add_argument("--seconds", type=float, default=60.0, help="of each case; half of it alone before")
    chosen = options.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return 0 if asyncio.run(measure(chosen.kinds or list(KINDS), chosen.seconds, 5.0)) else 1


if __name__ == "__main__":
    sys.exit(main())
