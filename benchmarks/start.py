"""From `partyline run` to the first poll and the first words, against a Bot API server on loopback.

Every start is in an empty folder, with the embedded model, and with a question that waits for it:
`python -m benchmarks.start --starts 5`. `--beside` is the folder of another version, which is started in turn with this
one; what counts is the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL
from pathlib import Path

import psutil
from aiohttp import web

from tests.servers.telegram import TOKEN, TelegramServer, until

_PROGRAM = "from adapters.cli import main; main()"
_LONGEST_S = 60.0
_STATES = ("Writing", "The model is", "Thinking")


class _Clocked(TelegramServer):
    """When each method was called first."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, float] = {}

    async def _call(self, request: web.Request) -> web.StreamResponse:
        self.first.setdefault(request.match_info["method"], time.monotonic())
        return await super()._call(request)


async def measured(code: Path, model: str) -> dict[str, float]:
    """Seconds from the start of the process."""
    server = _Clocked()
    await server.start()
    with tempfile.TemporaryDirectory() as folder:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
        settings = {
            "TELEGRAM_TOKEN": TOKEN,
            "TELEGRAM_API_BASE": server.address,
            "PARTYLINE_MODEL": model,
            "PARTYLINE_CAPTIONER": "demo",
            "PARTYLINE_LOG_LEVEL": "error",
            "PYTHONPATH": str(code),
        }
        chat = server.person().private
        server.person().says("Tell me about the sea.")
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM, "run", cwd=folder, env=inherited | settings, stdout=DEVNULL
        )
        try:
            async with asyncio.timeout(_LONGEST_S):
                await until(lambda: "getUpdates" in server.first)
                polled = server.first["getUpdates"] - began
                used = psutil.Process(process.pid).cpu_times()
                await until(lambda: chat.answers)
                seen = time.monotonic() - began
                await until(lambda: any(each.text and not each.text.startswith(_STATES) for each in chat.answers))
                words = time.monotonic() - began
        finally:
            process.kill()
            await process.wait()
            await server.kill()
    cpu = used.user + used.system
    return {"first poll": polled, "processor time until then": cpu, "anything seen": seen, "first words": words}


async def compare(versions: list[Path], starts: int, model: str) -> None:
    found: dict[Path, list[dict[str, float]]] = {code: [] for code in versions}
    for _ in range(starts):
        for code in versions:
            found[code].append(await measured(code, model))
    first = found[versions[0]]
    for code, runs in found.items():
        print(code)
        for name in runs[0]:
            values = sorted(run[name] for run in runs)
            ratio = statistics.median(own[name] / run[name] for own, run in zip(first, runs, strict=True))
            middle = f"median {statistics.median(values):.2f} s, from {values[0]:.2f} to {values[-1]:.2f} s"
            print(f"  {name}: {middle}" + ("" if runs is first else f"; the first version takes {ratio:.2f} of that"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--beside", action="append", type=Path, default=[], metavar="FOLDER")
    options = parser.parse_args()
    asyncio.run(compare([Path(__file__).parents[1], *options.beside], options.starts, options.model))
    return 0


if __name__ == "__main__":
    sys.exit(main())
