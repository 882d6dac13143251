"""After any sequence of calls, the storage in memory and the storage in SQL answer alike."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.storage.database.database import open_database
from adapters.storage.memory.storage import MemoryStorage
from adapters.storage.sql.storage import SqlStorage
from bots.ports import Storage, Turn
from tests.fakes import keep_turn

# Few different ids, so that the calls meet.
ids = st.sampled_from(["x", "y", "z"])
maybe = st.none() | ids
deliveries = st.tuples(st.just("record"), ids, ids, st.integers(0, 2), ids)
turns = st.tuples(st.just("turn"), ids, maybe, ids)
heads = st.tuples(st.just("head"), ids, ids, maybe)
preferences = st.tuples(st.just("set"), ids, st.dictionaries(ids, maybe))
Call = tuple[object, ...]


async def apply(storage: Storage, call: Call) -> None:
    match call:
        case ("record", str(chat), str(answer), int(position), str(message)):
            await storage.record_delivery(chat, answer, position, message)
        case ("turn", str(turn_id), None | str() as parent, str(text)):
            await keep_turn(storage, Turn(id=turn_id, chat="c", person="p", role="user", text=text, parent_id=parent))
        case ("head", str(chat), str(person), None | str() as turn_id):
            await storage.set_head(chat, person, turn_id)
        case ("set", str(person), dict(values)):
            await storage.set_preferences(person, values)
        case _:
            raise AssertionError(call)


async def everything(storage: Storage) -> list[object]:
    seen: list[object] = []
    for one in ("x", "y", "z"):
        seen += [await storage.preferences(one), await storage.turn(one), await storage.branch(one, 4)]
        for other in ("x", "y", "z"):
            seen += [await storage.head(one, other), await storage.answer_at(one, other)]
            seen += [await storage.delivered(one, other)]
    return seen


@settings(max_examples=15)
@given(st.lists(deliveries | turns | heads | preferences, max_size=20))
async def test_memory_and_sql_agree(calls: list[Call]) -> None:
    memory = MemoryStorage()
    with TemporaryDirectory() as folder:
        async with open_database(str(Path(folder) / "partyline.sqlite3")) as database:
            sql = SqlStorage(database)
            for call in calls:
                await apply(memory, call)
                await apply(sql, call)
            assert await everything(sql) == await everything(memory)
