"""A process that gets every event, as others do, and prints the ones that it answers: the bot without a platform."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

from adapters.storage.database.database import open_database
from adapters.storage.leases import hold_lease, new_process
from adapters.storage.sql.storage import SqlStorage
from bots.bot import Bot
from bots.messages import Incoming, Person, Started
from bots.ports import Received
from bots.profile.preferences import SettingBounds
from inference.api import Interrupted
from tests.fakes import said, scripted_inference

WORKERS = 16


async def main(address: str, events: int) -> None:
    with TemporaryDirectory() as folder:
        empty = Path(folder) / "script.jsonl"
        empty.write_text("")
        process = new_process()
        async with (
            open_database(address) as database,
            hold_lease(database, process),
            scripted_inference(empty) as inference,
        ):
            storage = SqlStorage(database, process)
            bot = Bot(inference, storage, bounds=SettingBounds(), now=time.time, new_id=lambda: uuid.uuid4().hex)
            numbers = itertools.count()
            async with storage.behind.running(), asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(_work(bot, storage, numbers, events))


async def _work(bot: Bot, storage: SqlStorage, numbers: itertools.count[int], events: int) -> None:
    while (number := next(numbers)) < events:
        event = Received(account="bot", id=f"e{number}", chat=f"c{number}", payload="", received_at=time.time())
        mine = await storage.receive([event])
        incoming = Incoming(
            event_id=event.id,
            chat=event.chat,
            author=Person(f"p{number}", "P"),
            text=f"question {number}",
            new=bool(mine),
        )
        # Whoever has it in the inbox is who answers; the ledger refuses it to the other one all the same.
        while not mine and await storage.reply(event.chat, event.id) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        try:
            answered = [each async for each in bot.respond(incoming)]
        except Interrupted:  # the other one's
            continue
        if answered:
            print(json.dumps([event.id, said(answered)]), flush=True)
            shown = next(each.answer_id for each in answered if isinstance(each, Started))
            await storage.record_shown(event.chat, shown)
            await storage.answered("bot", event.id)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
