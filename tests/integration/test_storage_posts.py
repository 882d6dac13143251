"""One contract for the page's posts in memory and in SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from adapters.delivery.channel import Frame, ThinkingView
from adapters.storage.database.database import open_database
from adapters.storage.sql.web_posts import SqlPosts
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.subscribers import Subscribers
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Post, PostFile, Posts, StoredFile, decode, encode
from bots.messages import Action

PICTURE = StoredFile(id="f1", name="cat.png", media_type="image/png", data=bytes(range(256)))
POST = Post(
    id="p1",
    position=1,
    kind="bot",
    author="",
    name="Partyline",
    frame=Frame(
        markdown="a\0\udfff\x10", thinking=ThinkingView("hm", 1.5, done=True), actions=(Action.REGENERATE,), footer="x"
    ),
    asker="web:ann",
    reply_to="p0",
    attachments=(PostFile(id="f1", name="cat.png", media_type="image/png"),),
    nonce="n1",
    created_at=1_700_000_000.25,
)
PLAIN = Post(id="p2", position=2, kind="person", author="web:ann", name="Ann", frame=Frame(markdown="hi"))


class Now:
    """A clock that tests set."""

    at = 100.0

    def __call__(self) -> float:
        return self.at


NOW = Now()


@pytest.fixture(params=["memory", "sqlite"])
async def posts(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Posts]:
    if cast(str, request.param) == "memory":
        yield MemoryPosts(clock=NOW)
        return
    async with open_database(str(tmp_path / "partyline.sqlite3")) as database:
        yield SqlPosts(database, encode=encode, decode=decode, make_file=StoredFile, clock=NOW)


async def test_a_post_comes_back_whole(posts: Posts) -> None:
    await posts.put(POST)
    assert await posts.post("p1") == POST
    assert await posts.post("p2") is None


async def test_a_post_replaces_the_one_with_its_id(posts: Posts) -> None:
    await posts.put(POST)
    edited = replace(POST, frame=Frame(markdown="more"), revision=1)
    await posts.put(edited)
    assert await posts.load(10) == [edited]


@pytest.mark.parametrize(("limit", "positions"), [(10, [1, 2, 3]), (3, [1, 2, 3]), (2, [2, 3]), (1, [3])])
async def test_the_newest_posts_are_loaded_oldest_first(posts: Posts, limit: int, positions: list[int]) -> None:
    for position in (2, 3, 1):
        await posts.put(replace(PLAIN, id=f"p{position}", position=position))
    assert [post.position for post in await posts.load(limit)] == positions


async def test_a_post_is_found_by_its_nonce_and_by_its_event(posts: Posts) -> None:
    await posts.put(POST)
    await posts.put(replace(PLAIN, event_id="e1"))
    await posts.put(replace(PLAIN, id="p3", position=3))
    assert await posts.with_nonce("n1") == POST
    assert await posts.with_event("e1") == replace(PLAIN, event_id="e1")
    assert await posts.with_nonce("") is None
    assert await posts.with_event("") is None
    assert await posts.with_nonce("e1") is None


async def test_a_post_goes_with_its_files(posts: Posts) -> None:
    await posts.put_file(PICTURE)
    await posts.put_file(replace(PICTURE, id="f2"))
    await posts.put(POST)
    assert await posts.file("f1") == PICTURE
    await posts.delete("p1")
    await posts.delete("p1")
    assert await posts.post("p1") is None
    assert await posts.file("f1") is None
    assert await posts.file("f2") == replace(PICTURE, id="f2")


async def test_a_name_is_given_changed_and_counted(posts: Posts) -> None:
    assert await posts.name_of("web:ann") is None
    assert await posts.put_name("web:ann", "Ann")
    assert await posts.put_name("web:ann", "ANN")
    assert await posts.put_name("web:bob", "Bob")
    assert await posts.name_of("web:ann") == "ANN"
    assert await posts.count_names() == 2


async def test_a_name_is_one_person_s_whatever_its_case(posts: Posts) -> None:
    assert await posts.put_name("web:ann", "Straße")
    assert await posts.put_name("web:bob", "Bob")
    assert not await posts.put_name("web:bob", "STRASSE")
    assert await posts.name_of("web:bob") == "Bob"


async def test_a_name_is_no_other_persons_who_looks_like_it(posts: Posts) -> None:
    assert await posts.put_name("web:ann", "Guest 10")
    for lookalike in ("Guest lO", "guest\u200b10", "Gue\u0455t 10"):
        assert not await posts.put_name("web:eve", lookalike)
        assert not await posts.is_free(lookalike)
    assert await posts.is_free("Guest 11")
    assert await posts.put_name("web:eve", "Guest 11")


async def test_names_of_those_who_stay_away_are_forgotten(posts: Posts, monkeypatch: pytest.MonkeyPatch) -> None:
    for person in ("web:ann", "web:bob", "web:eve"):
        await posts.put_name(person, person)
    monkeypatch.setattr(Now, "at", 200.0)
    await posts.saw("web:bob")
    await posts.saw("web:nobody")
    assert await posts.forget_names(100.0, 10) == 0
    assert await posts.forget_names(150.0, 1) == 1
    assert await posts.forget_names(150.0, 10) == 1
    assert await posts.name_of("web:bob") == "web:bob"
    assert await posts.count_names() == 1
    assert await posts.put_name("web:new", "web:ann")


async def test_all_who_ask_for_the_key_get_the_same(posts: Posts) -> None:
    keys = await asyncio.gather(*(posts.key(f"key {number}") for number in range(8)))
    assert len(set(keys)) == 1
    assert keys[0].startswith("key ")


async def test_posts_before_a_position_are_loaded(posts: Posts) -> None:
    for position in range(1, 6):
        await posts.put(replace(PLAIN, id=f"p{position}", position=position))
    assert [post.position for post in await posts.load(2, before=4)] == [2, 3]
    assert [post.position for post in await posts.load(9, before=1)] == []


async def test_of_two_who_want_a_name_at_once_one_gets_it(posts: Posts) -> None:
    given = await asyncio.gather(*(posts.put_name(f"web:{number}", "Ann") for number in range(8)))
    assert sorted(given) == [False] * 7 + [True]
    assert await posts.count_names() == 1


async def test_the_pages_of_two_processes_put_their_posts_one_after_the_other(tmp_path: Path) -> None:
    async with open_database(str(tmp_path / "partyline.sqlite3")) as database:
        kept: SqlPosts[Post, StoredFile] = SqlPosts(database, encode=encode, decode=decode, make_file=StoredFile)
        boards = [ChannelLog(kept, Subscribers(), str) for _ in range(2)]
        for number in range(6):
            await boards[number % 2].add(kind="person", author="a", name="A", frame=Frame(markdown=str(number)))
        assert [post.frame.markdown for post in await kept.load(10)] == list("012345")
