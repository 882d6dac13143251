"""From `partyline run` to the first poll and the first words, against a Bot API server on loopback.

Every start is in an empty folder, with the embedded model, and with a question that waits for it:
`python -m benchmarks.start --starts 5`. `--program` is another checkout's interpreter, started in turn with this one.
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

from aiohttp import web

from tests.servers.telegram import TOKEN, TelegramServer, until

_PROGRAM = "from adapters.cli import main; main()"
_STATES = ("Writing", "The model is", "Thinking")


class _Clocked(TelegramServer):
    """When each method was called first."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, float] = {}

    async def _call(self, request: web.Request) -> web.StreamResponse:
        self.first.setdefault(request.match_info["method"], time.monotonic())
        return await super()._call(request)


async def measured(program: str, model: str) -> dict[str, float]:
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
        }
        chat = server.person().private
        server.person().says("Tell me about the sea.")
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            program, "-c", _PROGRAM, "run", cwd=folder, env=inherited | settings, stdout=DEVNULL
        )
        try:
            await until(lambda: "getUpdates" in server.first)
            polled = server.first["getUpdates"] - began
            await until(lambda: chat.answers)
            seen = time.monotonic() - began
            await until(lambda: any(each.text and not each.text.startswith(_STATES) for each in chat.answers))
            words = time.monotonic() - began
        finally:
            process.terminate()
            await process.wait()
            await server.kill()
    return {"first poll": polled, "anything seen": seen, "first words": words}


async def compare(programs: list[str], starts: int, model: str) -> None:
    found: dict[str, list[dict[str, float]]] = {program: [] for program in programs}
    for _ in range(starts):
        for program in programs:
            found[program].append(await measured(program, model))
    for program, runs in found.items():
        print(Path(program).parents[2])
        for name in runs[0]:
            values = sorted(run[name] for run in runs)
            print(f"  {name}: median {statistics.median(values):.2f} s, from {values[0]:.2f} to {values[-1]:.2f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--program", action="append", default=[], metavar="PYTHON")
    options = parser.parse_args()
    asyncio.run(compare([sys.executable, *options.program], options.starts, options.model))
    return 0


if __name__ == "__main__":
    sys.exit(main())
