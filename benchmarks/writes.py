"""What replies cost PostgreSQL: rows written for each, and rows that one server takes in a second.

`python -m benchmarks.writes` runs `partyline run` over a PostgreSQL on this machine, with people on a Telegram without
limits, and asks the server what was written. Then it records events from 64 tasks at once for a while. `--write` keeps
both for `benchmarks.capacity`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import make_url

from adapters.storage.database.database import open_database
from adapters.storage.sql.storage import SqlStorage
from benchmarks.rivals.contenders import partyline
from benchmarks.rivals.parts import questions, roomy, written_script
from benchmarks.rivals.people import TelegramPeople, until, until_over
from bots.ports import Received
from tests.servers.postgresql import Server
from tests.servers.telegram import telegram

FIGURES = Path("benchmarks/figures/writes.json")
PEOPLE, TOKENS = 100, 128
TASKS, SECONDS = 64, 10.0
_WRITTEN = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables"
_FLUSHED_S = 3.0
"""By then write-behind has written all, and the server has counted it."""


async def rows_a_reply(server: Server, folder: Path) -> float:
    address = await asyncio.to_thread(server.new_database)
    database = make_url(address).database or ""
    changes = roomy(await asyncio.to_thread(written_script, folder, TOKENS)) | {"PARTYLINE_DATABASE": address}
    async with telegram() as wire, partyline(wire, folder, TOKENS, **changes) as contender:
        await until(lambda: "getUpdates" in wire.methods)
        people, counts = TelegramPeople(wire), []
        for crowd in (1, PEOPLE):
            asked = await people.ask(questions(crowd), together=False)
            over = await until_over(asked, contender, 120.0)
            if len(over) < crowd:
                raise RuntimeError(f"{crowd - len(over)} people were not answered")
            await asyncio.sleep(_FLUSHED_S)
            counts.append(int(await asyncio.to_thread(server.sql, database, _WRITTEN)))
    return (counts[1] - counts[0]) / PEOPLE


async def rows_a_second(server: Server) -> float:
    """Events recorded by so many tasks at once, each of which waits until its own is on disk."""
    address = await asyncio.to_thread(server.new_database)
    recorded = 0
    async with open_database(address) as database:
        storage = SqlStorage(database)
        until_s = time.perf_counter() + SECONDS

        async def record(task: int) -> None:
            nonlocal recorded
            number = 0
            while time.perf_counter() < until_s:
                number += 1
                event = Received(account="bot", id=f"{task}-{number}", chat=f"c{task}", payload="{}" * 100)
                await storage.receive([event])
                recorded += 1

        await asyncio.gather(*map(record, range(TASKS)))
    return recorded / SECONDS


async def measured() -> dict[str, float]:
    with TemporaryDirectory(prefix="pl") as name:
        folder = Path(name)
        server = Server(folder / "pg")
        await asyncio.to_thread(server.start)
        try:
            figures = {"rows_a_reply": await rows_a_reply(server, folder)}
            print(f"rows written for each reply of {TOKENS} tokens: {figures['rows_a_reply']:.1f}", flush=True)
            figures["rows_a_second"] = await rows_a_second(server)
            print(f"rows that the server takes in a second, from {TASKS} tasks: {figures['rows_a_second']:,.0f}")
        finally:
            with suppress(Exception):
                await asyncio.to_thread(server.stop)
    return figures


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", action="store_true", help=f"keep the figures in {FIGURES}")
    chosen = options.parse_args()
    figures = asyncio.run(measured())
    if chosen.write:
        FIGURES.parent.mkdir(exist_ok=True)
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
