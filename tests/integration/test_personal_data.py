"""A person's own data through the bot: counted, exported, linked, erased from every table."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from adapters.data.people import erase as erase_from_outside
from adapters.delivery.channel import Frame
from adapters.discord.inbound.guild_state import GuildState
from adapters.storage.database.database import Database, open_database
from adapters.storage.database.sqlite_backend import LocalDatabase
from adapters.storage.leases import hold_lease
from adapters.storage.sql.person_data import BATCH
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.tables import metadata
from adapters.storage.sql.web_posts import SqlPosts
from adapters.web.posts.posts import Post, PostFile, StoredFile, decode, encode
from bots.access.allow_list import Access
from bots.bot import Bot
from bots.messages import Attached, Incoming, Notice, Person, Picture, ReplyEvent
from bots.people.account import Account
from bots.people.stats import Panel
from bots.ports import Received, Turn
from bots.profile.personal import Quotas, Retention, Used
from bots.profile.preferences import SettingBounds
from inference.api import Inference
from tests.fakes import keep_turn, said, script, scripted_inference
from tests.servers.postgresql import Server

ANN, BOB = Person("web:5eed5eed", "Ann Marker"), Person("telegram:4711", "Bob")
NOON = 1_795_608_000.0  # 2026-11-25 12:00 UTC


async def no_picture(title: str, panels: Sequence[Panel], *, dark: bool) -> bytes:
    assert all(len(values) == len(panel.labels) for panel in panels for values in panel.series.values())
    return f"{title}, {'dark' if dark else 'light'}".encode()


class World:
    """A bot over SQLite, and people who talk to it."""

    def __init__(self, inference: Inference, database: Database, **account: object) -> None:
        self.database = database
        self.storage = SqlStorage(database)
        self.posts = SqlPosts(database, encode=encode, decode=decode, make_file=StoredFile)
        self._inference = inference
        self._numbers = itertools.count(1)
        self.bot = self.another_bot(self.storage, **account)

    def another_bot(self, storage: SqlStorage, **account: object) -> Bot:
        own = Account(storage, now=lambda: NOON, draw=no_picture, **account)  # type: ignore[arg-type]
        return Bot(
            self._inference,
            storage,
            bounds=SettingBounds(),
            now=lambda: NOON,
            new_id=lambda: f"id{next(self._numbers)}",
            own=own,
            access=Access(owners=account.get("owners", ())),  # type: ignore[arg-type]
        )

    async def say(
        self, text: str, who: Person = ANN, *pictures: bytes, chat: str = "web:lobby", new: bool = True
    ) -> list[ReplyEvent]:
        incoming = Incoming(
            event_id=f"e{next(self._numbers)}",
            chat=chat,
            author=who,
            text=text,
            pictures=tuple(map(Picture, pictures)),
            new=new,
        )
        return [event async for event in self.bot.respond(incoming)]

    async def words(self, text: str, who: Person = ANN, *pictures: bytes) -> str:
        (notice,) = await self.say(text, who, *pictures)
        assert isinstance(notice, Notice)
        assert notice.private
        return notice.text

    async def link(self, giver: Person, taker: Person) -> None:
        code = (await self.words("/link", giver)).split("**")[1]
        await self.words(f"/link {code} yes", taker)
        await self.words("/link yes", giver)

    async def file(self, text: str, who: Person = ANN) -> Attached:
        (attached,) = await self.say(text, who)
        assert isinstance(attached, Attached)
        assert attached.private
        return attached

    async def tables(self) -> dict[str, str]:
        """Everything that is in the database, by table."""
        return await self.database.read(
            lambda connection: {name: repr(connection.execute(select(table)).all()) for name, table in _TABLES.items()}
        )


_TABLES = {name: table for name, table in metadata.tables.items() if name != "processes"}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def world(stack: AsyncExitStack, tmp_path: Path, address: str = "", **account: object) -> World:
    path = script(tmp_path, {"match": ".", "answer": "An answer."})
    inference = await stack.enter_async_context(scripted_inference(path))
    database = await stack.enter_async_context(open_database(address or str(tmp_path / "partyline.sqlite3")))
    return World(inference, database, **account)


DIRECT = "discord:9:777001"
"""A chat of Ann's alone, whose channel has an id."""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_erasing_leaves_nothing_of_the_person_in_any_table(
    stack: AsyncExitStack, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    address = ""
    if kind == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        address = await asyncio.to_thread(server.new_database)
    here = await world(stack, tmp_path, address)
    markers = (ANN.id, ANN.name, "marker", "4b1d", "777001")
    await here.say("/temperature 0.3")
    assert "An answer" in said(await here.say("A question with a marker"))
    assert "An answer" in said(await here.say("Between us", chat=DIRECT))
    await GuildState(here.storage).saw("discord:9", "777001", "1")
    await here.storage.record_delivery(DIRECT, "refused and never kept", 0, "4b1d2")
    await here.say("/caption marker", ANN, b"1234")
    answer = await here.storage.head("web:lobby", ANN.id)
    assert answer is not None
    await here.storage.record_delivery("web:lobby", answer, 0, "4b1d")
    left = Received(account="web", id="e1", chat=f"web:{ANN.id}", payload="the marker again", person=ANN.id)
    await SqlStorage(here.database, "dead").receive([left])
    of_an_older_program = Received(account="web", id=f"{ANN.id}/c", chat="web:lobby", payload="", person=ANN.id)
    await here.storage.receive([of_an_older_program])
    await here.storage.answered("web", of_an_older_program.id)
    await _posted(here)
    await here.link(ANN, BOB)
    assert "must send" in await here.words("/link data on")
    code = (await here.words("/link", BOB)).split("**")[1]
    await here.words(f"/link {code} yes")
    code = (await here.words("/link")).split("**")[1]
    assert f"cover `{ANN.id}`" in await here.words("/link data on", BOB)
    before = await here.tables()
    assert not any(code in rows or code.replace("-", "") in rows for rows in before.values())
    named = {name for name, rows in before.items() if any(marker in rows for marker in markers)}
    # The quotas' tables are filled by erasing, and must never name anybody; the page's key is nobody's.
    assert named == before.keys() - {"quota_keys", "quota_usage", "page_secrets"}
    await here.say("I stay", replace(BOB, id="telegram:1"))
    await here.storage.record_delivery("web:lobby", "refused, of somebody else", 0, "stays")

    assert f"also those of `{BOB.id}`" in await here.words("/privacy erase")
    (erased,) = await here.say("/privacy erase now", chat=DIRECT)
    assert isinstance(erased, Notice)
    assert "is erased" in erased.text
    await here.storage.record_delivery(DIRECT, erased.id, 0, "the notice")
    await here.storage.record_shown(DIRECT, erased.id)
    after = await here.tables()
    assert [name for name, rows in after.items() if any(marker in rows for marker in (*markers, BOB.id))] == []
    assert all(after[name] != "[]" for name in ("quota_keys", "quota_usage"))
    assert "I stay" in after["turns"]
    assert await here.storage.answer_at("web:lobby", "stays")
    assert await here.storage.preferences(ANN.id) == {}
    await here.storage.expire(Retention(), NOON + 86_400, 500)
    after = await here.tables()
    assert after["quota_keys"] == after["quota_usage"] == "[]"


async def test_what_is_erased_is_not_in_the_file_either(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    await here.say("A long marker4711 " * 1000)

    def found() -> bool:
        return any(b"marker4711" in file.read_bytes() for file in tmp_path.glob("partyline.sqlite3*"))

    assert await asyncio.to_thread(found)
    await here.words("/privacy erase now")
    assert not await asyncio.to_thread(found)


async def test_erasing_resets_no_quota(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path, quotas=Quotas(tokens=2, captions=1))
    assert said(await here.say("hello"))
    await here.say("/caption", ANN, b"1234")
    for _ in range(2):
        assert "is erased" in await here.words("/privacy erase now")
        assert "in 12 h" in await here.words("hello")
        assert "1 caption" in (await here.words("/caption", ANN, b"1234"))
    assert "Nothing yet" in await here.words("/stats")
    assert await here.storage.used_on([ANN.id], "2026-11-26") == Used()


async def test_an_erasure_is_many_short_transactions_that_look_nothing_up_in_whole_tables(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    here = await world(stack, tmp_path)
    assert isinstance(here.database, LocalDatabase)
    for number in range(3 * BATCH):
        await keep_turn(here.storage, Turn(id=f"t{number}", chat="c", person=ANN.id, role="user", text="x"))
    writes: list[tuple[str, object]] = []
    deleted: list[int] = []

    def executed(_: object, cursor: Any, statement: str, parameters: object, *__: object) -> None:
        if statement.startswith(("DELETE", "UPDATE")):
            writes.append((statement, parameters))
            deleted.append(cursor.rowcount)

    event.listen(here.database.engine, "after_cursor_execute", executed)
    await here.storage.erase([ANN.id], "2026-11-25")
    assert max(deleted) == BATCH
    assert sum(deleted) >= 3 * BATCH
    with closing(sqlite3.connect(tmp_path / "partyline.sqlite3")) as connection:
        for statement, parameters in writes:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]  # type: ignore[arg-type]
            large = [step for step in plan if step.startswith("SCAN") and step.split()[1] in _LARGE]
            assert large == [], statement


_LARGE = {"turns", "replies", "heads", "deliveries", "inbox", "usage", "histograms"}


async def test_data_erase_closes_also_what_a_running_process_has_in_hand(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    storage = SqlStorage(here.database, "running")
    async with hold_lease(here.database, "running"):
        await storage.receive([Received(account="a", id="e", chat="c", payload="the marker", person=ANN.id)])
        await erase_from_outside(str(tmp_path / "partyline.sqlite3"), ANN.id, lambda share: None)
        assert "marker" not in (await here.tables())["inbox"]


async def test_what_waits_is_erased_but_not_the_wish_itself(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    events = [
        Received(account="a", id=f"{name} {who.id}", chat="c", payload=f"words of {who.name}", person=who.id)
        for name in ("left", "wish")
        for who in (ANN, BOB)
    ]
    await SqlStorage(here.database, "dead").receive(events[:2])
    await here.storage.receive(events[2:])
    assert "words of Bob" in json.dumps(await here.storage.export([BOB.id]))
    await here.storage.erase([ANN.id], "2026-11-25")
    assert sorted(event.id for event in await here.storage.unanswered("a")) == sorted(
        event.id for event in (events[1], *events[2:])
    )
    assert await here.storage.receive([events[0]]) == []


async def test_messages_of_what_was_refused_go_an_hour_after_they_were_found(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    here = await world(stack, tmp_path)
    await here.say("A question")
    answer = await here.storage.head("web:lobby", ANN.id)
    assert answer is not None
    for name, message in ((answer, "1"), ("never kept", "2")):
        await here.storage.record_delivery("web:lobby", name, 0, message)
    for minutes, gone in ((0, 0), (59, 0), (61, 1), (200, 0)):
        assert await here.storage.expire(Retention(), NOON + 60 * minutes, 500) == gone
    assert await here.storage.answer_at("web:lobby", "1") == answer
    assert await here.storage.answer_at("web:lobby", "2") is None


async def _posted(here: World) -> None:
    picture = StoredFile(id="4b1d", name="marker.png", media_type="image/webp", data=b"x")
    await here.posts.put_file(picture)
    await here.posts.put_name(ANN.id, ANN.name)
    shown = PostFile(id="4b1d", name="marker.png", media_type="image/webp")
    frame = Frame(markdown='They say "author":"telegram:1"')
    asked = Post(id="p1", position=1, kind="person", author=ANN.id, name=ANN.name, frame=frame, attachments=(shown,))
    await here.posts.put(asked)
    await here.posts.put(replace(asked, id="p2", position=2, kind="bot", author="", asker=ANN.id, attachments=()))
    other = Frame(markdown='"author":"web:5eed", she wrote')
    await here.posts.put(replace(asked, id="p3", position=3, author="x", name="x", frame=other, attachments=()))


async def test_a_post_that_only_quotes_is_somebody_elses(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    await _posted(here)
    await here.storage.erase(["telegram:1", "web:5eed", "%", "web:5eed_eed"], "2026-11-25")
    assert [post.id for post in await here.posts.load(9)] == ["p1", "p2", "p3"]
    await here.storage.erase([ANN.id], "2026-11-25")
    assert [post.id for post in await here.posts.load(9)] == ["p3"]


async def test_nothing_is_erased_while_something_is_written(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    events = here.bot.respond(Incoming(event_id="e", chat="c", author=ANN, text="go"))
    await anext(events)
    assert "still writing" in await here.words("/privacy erase now")
    await events.aclose()
    assert "is erased" in await here.words("/privacy erase now")


async def test_the_export_holds_everything(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    await here.say("/temperature 0.3")
    await here.say("What is a \ud800 \0 marker?")
    await _posted(here)
    attached = await here.file("/privacy export")
    assert attached.otherwise
    kept = json.loads(attached.data)
    assert (attached.name, kept["people"]) == ("partyline-data.json", [ANN.id])
    assert kept["settings"] == {"temperature": "0.3"}
    question, answer = kept["conversations"]["web:lobby"]
    assert (question["text"], answer["text"]) == ("What is a \ud800 \0 marker?", "An answer.")
    assert kept["usage"][0]["tokens"] > 0
    assert [post["id"] for post in kept["page"]] == ["p1", "p2"]
    assert kept["names"] == [ANN.name]


async def test_what_is_kept_is_said(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    text = await here.words("/privacy")
    assert "until you erase it" in text
    assert "for 400 days" in text
    assert "Write /privacy" in await here.words("/privacy please")


async def test_stats_are_a_picture_and_words(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path, quotas=Quotas(tokens=1000), owners=(BOB.id,))
    assert "Nothing yet" in await here.words("/stats")
    await here.say("hello")
    attached = await here.file("/stats 7 dark")
    assert (attached.name, attached.data) == ("stats.png", b"What you used in the last 7 days, dark")
    for words in ("1 answer,", "Time to first token: half within", "12:00 to 13:00 UTC", "of 1,000 tokens"):
        assert words in attached.text
    assert "Only the operator" in await here.words("/stats all")
    assert b"everybody" in (await here.file("/stats all", BOB)).data
    assert "Nothing yet" in await here.words("/stats", BOB)


async def test_a_link_gives_nobody_the_operators_rights(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Who talks an operator into a link learns of others no more than before, whichever side gave the code."""
    for giver, taker in ((ANN, BOB), (BOB, ANN)):
        folder = tmp_path / giver.name
        folder.mkdir()
        here = await world(stack, folder, owners=(BOB.id,))
        await here.say("hello", Person("telegram:99", "Cem"))
        await here.link(giver, taker)
        assert "Only the operator" in await here.words("/stats all")
        assert b"everybody" in (await here.file("/stats all", BOB)).data


async def test_a_quota_stops_questions_but_no_commands(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path, quotas=Quotas(tokens=2, captions=1))
    assert said(await here.say("hello"))
    assert "in 12 h" in await here.words("hello")
    await here.say("/caption", ANN, b"1234")
    (refused,) = await here.say("/caption", ANN, b"1234")
    assert isinstance(refused, Notice)
    assert refused.refused
    assert "1 caption" in refused.text
    assert "Temperature is now 0.3" in await here.words("/temperature 0.3")


async def test_linked_people_are_served_as_one(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    await here.link(ANN, BOB)
    assert (await here.bot.profile(BOB.id)).owner == (await here.bot.profile(ANN.id)).owner == ANN.id
    await here.words("/temperature 0.3", BOB)
    assert "0.3" in await here.words("/temperature")
    await here.say("hello", BOB)
    assert await here.storage.head("web:lobby", ANN.id) is None


async def test_linking_says_what_is_shared_and_asks_on_both_sides(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    await here.say("/temperature 0.3")
    code = (await here.words("/link")).split("**")[1]
    asked = await here.words(f"/link {code}", BOB)
    assert ANN.id in asked
    assert "settings, usage, quotas" in asked
    assert list(await here.storage.people(BOB.id)) == [BOB.id]
    assert f"from `{ANN.id}`" in await here.words(f"/link {code} yes", BOB)
    assert list(await here.storage.people(BOB.id)) == [BOB.id], "a code that was talked out of somebody links nothing"
    assert f"`{BOB.id}` has your code" in await here.words("/link")
    assert "Nothing was linked" in await here.words("/link no")
    assert "No account is waiting" in await here.words("/link yes")
    await here.link(ANN, BOB)
    assert "is now linked to this account" in await here.words("/link", BOB), "each side is told"
    await here.words("/link off", BOB)
    (told,) = await here.say("/settings", chat="direct")
    assert isinstance(told, Notice)
    assert "no longer linked" not in told.text, "not where others might see it"
    assert "no longer linked" in await here.words("/link")
    assert "no longer linked" not in await here.words("/link")


async def test_news_of_a_link_come_with_whatever_is_said_in_private(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    await here.link(ANN, BOB)
    direct = Incoming(event_id="d", chat="discord:dm", author=BOB, text="/settings", direct=True, new=True)
    (told,) = [event async for event in here.bot.respond(direct)]
    assert isinstance(told, Notice)
    assert f"`{ANN.id}` is now linked" in told.text


async def test_linked_accounts_keep_what_is_theirs_unless_both_agree(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    await here.say("words of Ann")
    await here.say("words of Bob", BOB)
    await here.link(ANN, BOB)
    await here.words("/temperature 0.3", BOB)
    await here.words("/link data on", BOB)
    exported = (await here.file("/privacy export", BOB)).data.decode()
    assert "words of Bob" in exported
    assert "words of Ann" not in exported
    await here.words("/link data on")
    assert "words of Ann" in (await here.file("/privacy export", BOB)).data.decode()
    await here.words("/link data off")
    await here.say("/privacy erase now", BOB)
    tables = await here.tables()
    assert "words of Ann" in tables["turns"]
    assert "words of Bob" not in tables["turns"]
    assert "0.3" in await here.words("/temperature"), "the settings that were shared stay"
    assert list(await here.storage.people(ANN.id)) == [ANN.id]


async def test_settings_that_two_bots_change_at_once_all_survive(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    async with open_database(str(tmp_path / "partyline.sqlite3")) as database:
        other = here.another_bot(SqlStorage(database))
        changes = [("seed", "7"), ("top_k", "40"), ("stop", "END"), ("thinking", "hide"), ("max_tokens", "50")]
        random.Random(1).shuffle(changes)
        async with asyncio.TaskGroup() as group:
            for number, (name, value) in enumerate(changes):
                group.create_task((here.bot, other)[number % 2].change_setting(ANN.id, name, value))
        profile = await other.profile(ANN.id)
    assert {name: profile[name] for name, _ in changes} == dict(changes)


async def test_the_operators_bounds_win_with_a_sentence(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await world(stack, tmp_path)
    assert "a number from 10 to 500" in await here.words("/max_tokens 501")
    await here.words("/max_tokens 400")
    tighter = Bot(here.bot._inference, here.storage, bounds=SettingBounds(max_tokens=100), now=lambda: 0.0, new_id=str)
    assert (await tighter.profile(ANN.id)).sampling().max_new_tokens == 100
    assert (await here.bot.profile(ANN.id)).sampling().max_new_tokens == 400
