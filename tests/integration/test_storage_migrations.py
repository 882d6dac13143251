"""A database of every earlier version, with data in it, is brought up to date and nothing of it is lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, text

from adapters.storage.database.database import Database, open_database
from adapters.storage.database.schema import HEAD, VERSION_TABLE
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.web_posts import SqlPosts
from adapters.web.posts.posts import Post, StoredFile, decode, encode
from bots.ports import Delivered, Received, Turn
from bots.profile.personal import Used
from tests.servers.postgresql import Server

VERSIONS = [f"{number:04}" for number in range(1, int(HEAD))]
DATA = {
    "0001": (
        "INSERT INTO preferences VALUES ('web:ann', 'seed', '5')",
        "INSERT INTO turns (id, chat, person, role, text, parent_id, prompt, thinking, state, reason, created_at) "
        "VALUES ('q', 'c', 'web:ann', 'user', 'Why? \x100000', NULL, '', '', 'done', NULL, 1.5), "
        "('d', 'discord:1', 'discord:2', 'user', 'typed or said', NULL, '', '', 'done', NULL, 1.5), "
        "('a', 'c', 'web:ann', 'assistant', 'Bec', 'q', '', 'hm', 'streaming', NULL, 2.5)",
        "INSERT INTO heads VALUES ('c', 'web:ann', 'a')",
        "INSERT INTO deliveries VALUES ('c', '18446744073709551615', 'a', 0)",
        "INSERT INTO posts (id, position, nonce, event_id, document) VALUES ('p', 1, NULL, 'web:ann/1', '{}')",
        "INSERT INTO names (person, name, folded) VALUES ('web:ann', 'Ann', 'ann')",
        "INSERT INTO names (person, name, folded) VALUES ('web:eve', '\u0410nn', '\u0430nn')",  # hers is Cyrillic
        "INSERT INTO names (person, name, folded) VALUES ('web:lia', 'Lia', 'lia')",
    ),
    "0002": (
        "INSERT INTO inbox (account, id, position, chat, payload, received_at, answered) "
        "VALUES ('telegram:1', 'e', 1, 'c', '{}', 3.5, false), ('telegram:1', 'old', 2, 'c', 'words', 3.5, true)",
    ),
    "0003": (
        "INSERT INTO replies VALUES "
        "('c', 'e', 'a', 'web:ann', 'streaming', 'q', '{\"x\": 1}', '', false, 3.5, 'dead'), "
        "('c', 'old', 'b', 'web:ann', 'done', NULL, 'words', 'words', true, 3.5, 'dead')",
    ),
    "0004": ("INSERT INTO usage VALUES ('web:ann', '2026-11-25', 1, 2, 3, 4.5)",),
    "0006": (
        "INSERT INTO links (person, profile) VALUES ('web:ann', 'web:ann'), ('discord:2', 'web:ann')",
        "INSERT INTO link_codes VALUES ('digest', 'web:ann', 5.5)",
    ),
    "0005": (
        "INSERT INTO inbox (account, id, position, chat, payload, received_at, answered, person) "
        "VALUES ('telegram:2', 'e', 1, 'c', '{}', 3.5, false, 'web:ann')",
    ),
}
"""What a version's tables hold, beside what those before it hold."""


async def scalars(database: Database, query: str) -> Sequence[object]:
    return await database.read(lambda connection: connection.scalars(text(query)).all())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_an_older_database_keeps_everything(
    version: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "partyline.sqlite3")
    if kind == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        address = server.new_database()

    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: upgrade(config, version))
    async with open_database(address) as database:
        for made_in, statements in DATA.items():
            for statement in statements if made_in <= version else ():
                await database.write(partial(Connection.execute, statement=text(statement)))
    monkeypatch.undo()
    async with open_database(address) as database:
        storage = SqlStorage(database)
        assert await storage.preferences("web:ann") == {"seed": "5"}
        question, answer = await storage.branch("a", 10)
        assert question.text == "Why? \0"
        assert answer == Turn(
            id="a", chat="c", person="web:ann", role="assistant", text="Bec", parent_id="q", thinking="hm",
            state="streaming", created_at=2.5,
        )  # fmt: skip
        assert await storage.head("c", "web:ann") == "a"
        assert await storage.delivered("c", "a") == Delivered("a", ("18446744073709551615",))
        if version >= "0002":
            left = Received(account="telegram:1", id="e", chat="c", payload="{}", received_at=3.5)
            assert await storage.unanswered("telegram:1") == [left]
        hidden = await storage.turn("d")
        assert hidden is not None
        assert hidden.hidden == (version < "0008"), "of earlier ones nobody knows whether others could see it"
        if version >= "0006":
            assert list(await storage.people("discord:2")) == ["web:ann", "discord:2"], "who was linked stays so"
            assert list(await storage.sharing("discord:2")) == ["discord:2"], "and never agreed to more"
        if version < "0004":  # later programs keep no such words
            for column in ("payload FROM inbox WHERE answered", "request FROM replies WHERE shown"):
                assert set(await scalars(database, f"SELECT {column}")) <= {""}
        else:
            used = Used(answers=1, tokens=2, captions=3, seconds=4.5)
            assert await storage.usage(["web:ann"], "2026-11-25") == {"2026-11-25": used}
        assert await scalars(database, "SELECT revision FROM posts") == [0]
        if version >= "0005":
            assert (await storage.export(["web:ann"]))["waiting"] == ["{}"]
        page = SqlPosts[Post, StoredFile](database, encode=encode, decode=decode, make_file=StoredFile)
        assert [await page.name_of(person) for person in ("web:ann", "web:eve")] == ["Ann", "\u0410nn"]
        assert not await page.put_name("web:new", "ANN")
        assert not await page.put_name("web:new", "LIA")
        assert await page.put_name("web:new", "Neil")
        assert not await page.put_name("web:newer", "NEIL")
        assert await page.put_name("web:newer", "Nell"), "which it looked like to earlier versions"
        assert await page.forget_names(time.time() - 3600, 10) == 0
        assert await page.key("new") == await page.key("another") == "new"
        assert await scalars(database, f"SELECT version_num FROM {VERSION_TABLE}") == [HEAD]
