"""One contract for the storage in memory and the storage in SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast
from unittest.mock import AsyncMock, Mock, patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ClauseElement, Connection

from adapters.storage.database.database import open_database
from adapters.storage.memory.storage import MemoryStorage
from adapters.storage.sql.storage import SqlStorage
from bots.ports import Delivered, Received, ReplyRecord, Storage, Turn
from bots.profile.personal import Sample, Spent, Used
from tests.fakes import keep_turn
from tests.servers.postgresql import Server

ANY_TEXT = st.text(st.characters(), max_size=20)
many = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])

QUESTION = Turn(id="q1", chat="web:main", person="web:ann", role="user", text="Why?", created_at=1_700_000_000.123456)
ANSWER = Turn(
    id="a1",
    chat="web:main",
    person="web:ann",
    role="assistant",
    text="Because.",
    parent_id="q1",
    thinking="Hm",
    state="stopped",
    reason="cancelled",
    created_at=1_700_000_001.5,
)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    if cast(str, request.param) == "memory":
        yield MemoryStorage()
        return
    address = str(tmp_path / "partyline.sqlite3")
    if request.param == "postgresql":
        address = cast(Server, request.getfixturevalue("postgresql")).emptied()
    async with open_database(address) as database:
        yield SqlStorage(database)


async def put_line(storage: Storage, length: int) -> None:
    for number in range(length):
        parent = f"t{number - 1}" if number else None
        await keep_turn(storage, replace(QUESTION, id=f"t{number}", parent_id=parent))


def received(number: int, account: str = "telegram:1") -> Received:
    return Received(account=account, id=f"e{number}", chat="telegram:1:2", payload="{}", received_at=float(number))


async def test_an_event_is_received_once(storage: Storage) -> None:
    assert await storage.receive([]) == []
    assert await storage.receive([received(1), received(2), received(1)]) == [received(1), received(2)]
    assert await storage.receive([received(2), received(3)]) == [received(3)]
    assert await storage.receive([received(3, "telegram:2")]) == [received(3, "telegram:2")]


async def test_what_is_not_answered_is_found_in_order(storage: Storage) -> None:
    await storage.receive([received(number) for number in (3, 1, 2)])
    await storage.receive([received(9, "telegram:2")])
    await storage.answered("telegram:1", "e1")
    await storage.answered("telegram:1", "nobody knows it")
    assert await storage.unanswered("telegram:1") == [received(3), received(2)]
    assert await storage.receive([received(1)]) == []


REPLY = ReplyRecord(chat="c", event_id="e", answer_id="a1", person="web:ann", created_at=1.5)
ENDED = replace(REPLY, state="done", question_id="q1", request="{}", ending="{...}")


async def test_an_event_has_one_reply(storage: Storage) -> None:
    assert await storage.reply(REPLY.chat, REPLY.event_id) is None
    assert await storage.claim(REPLY) == REPLY
    assert await storage.claim(replace(REPLY, answer_id="other")) == REPLY
    assert await storage.reply(REPLY.chat, REPLY.event_id) == REPLY
    assert (await storage.claim(replace(REPLY, chat="d"))) == replace(REPLY, chat="d")


async def test_a_reply_that_is_begun_keeps_question_answer_and_head(storage: Storage) -> None:
    await storage.claim(REPLY)
    begun = replace(REPLY, state="streaming", question_id="q1", request="{}")
    answer = replace(ANSWER, state="streaming", reason=None, captions=("a \0 dog", "a cat"))
    await storage.begin(begun, [QUESTION, answer], "a1")
    assert await storage.claim(REPLY) == begun
    assert [await storage.turn(turn_id) for turn_id in ("q1", "a1")] == [QUESTION, answer]
    assert await storage.head("c", "web:ann") == "a1"


async def test_a_reply_ends_with_its_answer_and_is_shown_after_that(storage: Storage) -> None:
    await storage.claim(REPLY)
    await storage.record_shown("c", "a1")
    assert await storage.claim(REPLY) == REPLY
    storage.keep_soon(replace(ANSWER, text="Bec"))
    await storage.end(ENDED, ANSWER)
    assert (await storage.claim(REPLY), await storage.turn("a1")) == (ENDED, ANSWER)
    await storage.record_shown("c", "a1")
    await storage.record_shown("c", "unknown")
    assert await storage.claim(REPLY) == replace(ENDED, shown=True, request="", ending="{}")


async def test_a_reply_is_counted_once_with_its_ending(storage: Storage) -> None:
    """Also where it is written again, because nobody heard that the first time went well."""
    spent = Spent(person="web:ann", day="2026-11-25", used=Used(answers=1, tokens=7), marks=(Sample("hour", 7),))
    await storage.claim(REPLY)
    await storage.begin(replace(REPLY, state="streaming", question_id="q1"), [QUESTION], "q1")
    for _ in range(2):
        await storage.end(ENDED, ANSWER, spent)
    whole = replace(REPLY, event_id="whole")
    await storage.claim(whole)
    for _ in range(2):
        await storage.begin(replace(ENDED, event_id="whole"), [QUESTION], "q1", spent)
    assert await storage.usage(["web:ann"], "") == {"2026-11-25": Used(answers=2, tokens=14)}


async def test_nobody_else_left_anything(storage: Storage) -> None:
    await storage.receive([received(1)])
    assert await storage.orphaned("telegram:1") == []


async def test_settings_of_a_stranger_are_empty(storage: Storage) -> None:
    assert await storage.preferences("web:ann") == {}


async def test_settings_are_set_changed_and_forgotten_one_by_one(storage: Storage) -> None:
    await storage.set_preferences("web:ann", {"temperature": "0.7", "seed": "1"})
    await storage.set_preferences("web:ann", {"temperature": "0.2", "seed": None, "top_p": "0.9", "stop": None})
    await storage.set_preferences("web:ann", {})
    assert await storage.preferences("web:ann") == {"temperature": "0.2", "top_p": "0.9"}
    assert await storage.preferences("web:bob") == {}


async def test_changes_at_once_all_survive(storage: Storage) -> None:
    names = [f"name{number}" for number in range(50)]
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(storage.set_preferences("web:ann", {name: name}))
    assert await storage.preferences("web:ann") == {name: name for name in names}


async def test_a_head_is_kept_per_chat_and_person(storage: Storage) -> None:
    assert await storage.head("c", "p") is None
    await storage.set_head("c", "p", "t1")
    await storage.set_head("c", "p", "t2")
    await storage.set_head("c", "other", "t3")
    assert (await storage.head("c", "p"), await storage.head("c", "other")) == ("t2", "t3")
    assert await storage.head("d", "p") is None


async def test_a_head_is_forgotten(storage: Storage) -> None:
    await storage.set_head("c", "p", "t1")
    await storage.set_head("c", "p", None)
    await storage.set_head("c", "p", None)
    assert await storage.head("c", "p") is None


@pytest.mark.parametrize("turn", [QUESTION, ANSWER], ids=["question", "answer"])
async def test_a_turn_comes_back_whole(storage: Storage, turn: Turn) -> None:
    await keep_turn(storage, turn)
    assert await storage.turn(turn.id) == turn


async def test_a_turn_replaces_the_one_with_its_id(storage: Storage) -> None:
    streaming = replace(ANSWER, text="Bec", state="streaming", reason=None)
    await keep_turn(storage, streaming)
    await keep_turn(storage, ANSWER)
    assert await storage.turn("a1") == ANSWER


async def test_what_was_deleted_is_hidden_and_stays_so(storage: Storage) -> None:
    await storage.claim(REPLY)
    begun = replace(REPLY, state="streaming", question_id="q1", request="{}")
    await storage.begin(begun, [QUESTION, replace(ANSWER, state="streaming", reason=None)], "a1")
    await storage.record_delivery("c", "a1", 0, "m1")
    await storage.hide(["d"], [REPLY.event_id, "m1"])
    await storage.hide(["c"], ["another"])
    assert [turn and turn.hidden for turn in [await storage.turn("q1"), await storage.turn("a1")]] == [False, False]
    await storage.hide(["d", "c"], ["another", REPLY.event_id])
    assert [turn and turn.hidden for turn in [await storage.turn("q1"), await storage.turn("a1")]] == [True, False]
    await storage.hide(["c"], ["m1"])
    await storage.end(replace(ENDED, question_id="q1"), ANSWER)
    await storage.begin(begun, [QUESTION], "a1")
    assert [turn and turn.hidden for turn in [await storage.turn("q1"), await storage.turn("a1")]] == [True, True]


async def test_a_message_that_shows_nothing_of_an_answer_any_more_hides_none(storage: Storage) -> None:
    await keep_turn(storage, ANSWER)
    await storage.record_delivery("c", "a1", 0, "m1")
    await storage.record_delivery("c", "a1", 1, "m2")
    await storage.supersede("c", "a1")
    await storage.hide(["c"], ["m2"])
    turn = await storage.turn("a1")
    assert turn is not None
    assert not turn.hidden


async def test_postgresql_finds_what_to_hide_without_reading_all_turns(postgresql: Server) -> None:
    """It is looked for whenever anybody deletes or edits anything in a server, and all other writes wait for it."""
    async with open_database(postgresql.emptied()) as database:
        storage, statements = SqlStorage(database), list[ClauseElement]()
        with patch.object(storage.behind, "enqueue", AsyncMock()) as soon:
            await storage.hide(["c", "d"], ["m1", "m2"])
        soon.await_args.args[0](Mock(execute=statements.append))  # type: ignore[union-attr]

        def plan(connection: Connection) -> str:
            said = statements[0].compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # of an empty table it would be quicker
            lines = connection.exec_driver_sql(f"EXPLAIN {said}".replace("%", "%%"))
            return "\n".join(line for (line,) in lines)

        assert "Index Scan using turns_pkey on turns" in await database.write(plan)


async def test_unknown_ids_are_nothing(storage: Storage) -> None:
    assert await storage.turn("x") is None
    assert await storage.branch("x", 10) == []
    assert await storage.delivered("c", "x") == Delivered("x")
    assert await storage.answer_at("c", "x") is None


@pytest.mark.parametrize(
    ("limit", "ids"),
    [
        (10, ["t0", "t1", "t2", "t3", "t4"]),
        (5, ["t0", "t1", "t2", "t3", "t4"]),
        (2, ["t3", "t4"]),
        (1, ["t4"]),
        (0, []),
        (-1, []),
    ],
)
async def test_a_branch_is_its_newest_turns_oldest_first(storage: Storage, limit: int, ids: list[str]) -> None:
    await put_line(storage, 5)
    assert [turn.id for turn in await storage.branch("t4", limit)] == ids


async def test_a_branch_leaves_out_siblings_and_descendants(storage: Storage) -> None:
    await put_line(storage, 4)
    await keep_turn(storage, replace(QUESTION, id="sibling", parent_id="t1"))
    assert [turn.id for turn in await storage.branch("sibling", 10)] == ["t0", "t1", "sibling"]
    assert [turn.id for turn in await storage.branch("t2", 10)] == ["t0", "t1", "t2"]


async def test_a_branch_begins_where_a_parent_is_gone(storage: Storage) -> None:
    await keep_turn(storage, ANSWER)
    assert await storage.branch("a1", 10) == [ANSWER]


async def test_a_circle_ends_at_the_limit(storage: Storage) -> None:
    await keep_turn(storage, replace(QUESTION, id="x", parent_id="y"))
    await keep_turn(storage, replace(QUESTION, id="y", parent_id="x"))
    assert [turn.id for turn in await storage.branch("x", 3)] == ["x", "y", "x"]


async def test_the_messages_of_an_answer_are_in_the_order_of_its_chunks(storage: Storage) -> None:
    for position, message in [(2, "30"), (0, "90"), (1, "18446744073709551615")]:
        await storage.record_delivery("c", "a", position, message)
    await storage.record_delivery("c", "a", 0, "90")
    assert await storage.delivered("c", "a") == Delivered("a", ("90", "18446744073709551615", "30"))
    assert await storage.answer_at("c", "18446744073709551615") == "a"


async def test_the_same_message_id_in_another_chat_is_another_message(storage: Storage) -> None:
    await storage.record_delivery("c", "a", 0, "1")
    await storage.record_delivery("d", "b", 0, "1")
    assert (await storage.answer_at("c", "1"), await storage.answer_at("d", "1")) == ("a", "b")


async def test_a_chunk_that_was_sent_anew_is_in_the_new_message(storage: Storage) -> None:
    await storage.record_delivery("c", "a", 0, "1")
    await storage.record_delivery("c", "a", 0, "2")
    assert await storage.delivered("c", "a") == Delivered("a", ("2",))
    assert await storage.answer_at("c", "1") is None


async def test_messages_that_are_superseded_wait_to_be_deleted(storage: Storage) -> None:
    for position, message in enumerate(["1", "2", "3"]):
        await storage.record_delivery("c", "a", position, message)
    await storage.record_delivery("c", "other", 1, "9")
    for _ in range(2):
        await storage.supersede("c", "a")
        assert await storage.delivered("c", "a") == Delivered("a", ("1",))
        assert sorted(await storage.superseded("c", "a")) == ["2", "3"]
    await storage.forget_delivery("c", "2")
    await storage.record_delivery("c", "a", 1, "4")
    await storage.record_delivery("c", "a", 2, "5")
    assert await storage.delivered("c", "a") == Delivered("a", ("1", "4", "5"))
    assert await storage.superseded("c", "a") == ["3"]
    await storage.supersede("c", "a")
    assert sorted(await storage.superseded("c", "a")) == ["3", "4", "5"]
    assert await storage.delivered("c", "other") == Delivered("other", ("9",))


async def test_a_message_that_shows_another_answer_belongs_to_that_one(storage: Storage) -> None:
    await storage.record_delivery("c", "a", 0, "1")
    await storage.record_delivery("c", "b", 0, "1")
    assert await storage.answer_at("c", "1") == "b"
    assert await storage.delivered("c", "a") == Delivered("a")


@many
@given(text=ANY_TEXT, identity=ANY_TEXT)
async def test_any_text_comes_back(storage: Storage, text: str, identity: str) -> None:
    turn = replace(ANSWER, id=identity, chat=text, person=text, text=text, prompt=text, thinking=text, parent_id=text)
    await keep_turn(storage, turn)
    assert await storage.turn(identity) == turn
    await storage.set_preferences(identity, {text: text})
    assert (await storage.preferences(identity))[text] == text
    await storage.set_head(text, identity, text)
    assert await storage.head(text, identity) == text
    await storage.record_delivery(identity, text, 0, text)
    assert await storage.delivered(identity, text) == Delivered(text, (text,))


async def test_long_text_comes_back(storage: Storage) -> None:
    turn = replace(ANSWER, text="ä😀\0\n" * 250_000)
    await keep_turn(storage, turn)
    assert await storage.turn("a1") == turn


async def test_a_cancelled_write_leaves_the_storage_usable(storage: Storage) -> None:
    for wait_s in (0.0, 0.0005, 0.001, 0.002, 0.004):
        write = asyncio.ensure_future(storage.set_preferences("web:ann", {"a": "1", "b": None}))
        await asyncio.wait([write], timeout=wait_s)
        write.cancel()
        await asyncio.wait([write])
    await storage.set_preferences("web:ann", {"a": "2"})
    assert await storage.preferences("web:ann") == {"a": "2"}
