"""What a token costs on its way from the embedded model to Telegram: the loop's time, its wake-ups, renders and SQL.

`python -m benchmarks.hot_path --people 1 8 16`. The program runs as a process of its own against the Bot API server on
loopback, with flood limits. All figures are counts or processor time, so a busy machine changes them little; `--beside`
is the folder of another version, measured in turn with this one. `--profile FILE` writes what py-spy sees. `--page`
prints what the page is sent for an answer of 15 kB.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import statistics
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.telegram import TOKEN, TelegramServer, until
from tests.servers.telegram_world import Rules
from tests.unit.test_web_deltas import an_answer, sent

_LONGEST_S = 180.0
_LIMITS = Rules(private_interval_s=1.0, private_burst=4, group_calls=20, account_calls=30)
_PROGRAM = """
import collections, json, os, selectors, threading, time
from sqlalchemy import Engine, event
import adapters.telegram.outbound.rendering as rendering
import adapters.telegram.outbound.channel as channel
counts = collections.Counter()
def counted(name, function):
    def wrapper(*arguments, **named):
        counts[name] += 1
        return function(*arguments, **named)
    return wrapper
rendering.render_telegram = counted("renders", rendering.render_telegram)
channel.TelegramChannel.measure = counted("measures", channel.TelegramChannel.measure)
selectors.EpollSelector.select = counted("wakes", selectors.EpollSelector.select)
event.listen(Engine, "before_cursor_execute", lambda *_: counts.update(statements=1))
event.listen(Engine, "commit", lambda *_: counts.update(commits=1))
def write():
    while True:
        with open("counts.part", "w") as file:
            json.dump(counts, file)
        os.replace("counts.part", "counts")
        time.sleep(0.2)
threading.Thread(target=write, daemon=True).start()
from adapters.cli import main
main()
"""


@dataclass
class Cost:
    """Of all answers together: processor seconds of the loop's thread, and counts."""

    loop_s: float
    counts: dict[str, int]


def cost(process: int, folder: Path) -> Cost:
    main = Path(f"/proc/{process}/task/{process}")
    fields = main.joinpath("stat").read_text().rpartition(")")[2].split()
    loop_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return Cost(loop_s, json.loads((folder / "counts").read_text()))


async def measured(code: Path, people: int, tokens: int, model: str, profile: str) -> dict[str, float]:
    """Costs for each token, from the first question to the last answer."""
    server = TelegramServer(_LIMITS)
    await server.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PARTYLINE_")}
        settings = {
            "TELEGRAM_TOKEN": TOKEN,
            "TELEGRAM_API_BASE": server.address,
            "PARTYLINE_MODEL": model,
            "PARTYLINE_CAPTIONER": "",
            "PARTYLINE_LOG_LEVEL": "error",
            "PARTYLINE_LIMITS__DEFAULT_MAX_TOKENS": str(tokens),
            "PARTYLINE_INFERENCE__SLOTS": str(max(8, people)),
            "PYTHONPATH": str(code),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM, "run", cwd=folder, env=inherited | settings, stdout=DEVNULL
        )
        try:
            async with asyncio.timeout(_LONGEST_S):
                crowd = [server.person(f"Person {n}", 100 + n) for n in range(people)]
                crowd[0].says("Say hello.")
                await until(lambda: _ended(crowd[0].private.answers[-1:]))
                await asyncio.sleep(1.0)
                before, calls = cost(process.pid, folder), len(server.methods)
                watch = await _watched(process.pid, profile) if profile else None
                for each in crowd:
                    each.says(f"/ask Write a long story about the sea and the wind, in {tokens} words and more.")
                wanted = {each.private.id: 1 for each in crowd} | {crowd[0].private.id: 2}
                await until(lambda: all(_count(each.private.answers) == wanted[each.private.id] for each in crowd))
                await asyncio.sleep(0.5)
                after, calls = cost(process.pid, folder), len(server.methods) - calls
                if watch is not None:
                    watch.send_signal(signal.SIGINT)
                    await watch.wait()
        finally:
            process.kill()
            await process.wait()
            await server.kill()
    written = sum(_tokens(each.private.answers[-1].text) for each in crowd)
    used = {name: after.counts.get(name, 0) - before.counts.get(name, 0) for name in after.counts}
    return {
        "tokens": written,
        "loop's ms a token": 1000 * (after.loop_s - before.loop_s) / written,
        "wake-ups a token": used.pop("wakes") / written,
        "calls": calls,
        **{f"{name} a call": count / calls for name, count in sorted(used.items())},
    }


async def _watched(process: int, profile: str) -> asyncio.subprocess.Process:
    spy = str(Path(sys.executable).with_name("py-spy"))
    arguments = ("record", "--pid", str(process), "--format", "raw", "--rate", "200", "--output", profile)
    return await asyncio.create_subprocess_exec(spy, *arguments, stdout=DEVNULL, stderr=DEVNULL)


def _ended(answers: list[Any]) -> bool:
    return bool(answers) and _tokens(answers[0].text) > 0


def _count(answers: list[Any]) -> int:
    return sum(_tokens(each.text) > 0 for each in answers)


def _tokens(text: str) -> int:
    """As the footer says."""
    words = text.rpartition("\n")[2].replace(",", "").split()
    return next((int(count) for count, word in itertools.pairwise(words) if word.startswith("token")), 0)


async def compare(versions: list[Path], people: list[int], rounds: int, tokens: int, model: str, profile: str) -> None:
    for count in people:
        found: dict[Path, list[dict[str, float]]] = {code: [] for code in versions}
        for _ in range(rounds):
            for code in versions:
                found[code].append(await measured(code, count, tokens, model, profile))
        for code, runs in found.items():
            names = {name: None for run in runs for name in run}
            middle = {name: statistics.median(run.get(name, 0.0) for run in runs) for name in names}
            print(f"{count} people, {code}: " + ", ".join(f"{name} {value:.3g}" for name, value in middle.items()))


async def page() -> None:
    text = an_answer(15_000)
    for deltas in (True, False):
        wire = await sent(text, 12, deltas=deltas)
        what = "what is new" if deltas else "whole states"
        print(f"{what}: {wire.messages:,} messages, {wire.size:,} bytes, {wire.size / len(text):.1f} times the text")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--profile", default="", metavar="FILE")
    parser.add_argument("--beside", action="append", type=Path, default=[], metavar="FOLDER")
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    if options.page:
        asyncio.run(page())
        return 0
    versions = [Path(__file__).parents[1], *options.beside]
    asyncio.run(compare(versions, options.people, options.rounds, options.tokens, options.model, options.profile))
    return 0


if __name__ == "__main__":
    sys.exit(main())
