"""The pages of two processes over one database: each shows the other's posts, and leaves its answers alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from adapters.delivery.channel import Frame
from adapters.storage.database.database import Database, open_database
from adapters.storage.leases import hold_lease
from adapters.storage.sql.storage import SqlStorage
from adapters.storage.sql.web_posts import SqlPosts
from adapters.web.channel import channel_log
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.subscribers import Subscribers
from adapters.web.posts.posts import Post, StoredFile, decode, encode
from bots.ports import Received
from tests.servers.postgresql import Server
from tests.servers.telegram import until
from tests.unit.web_parts import Parts, visit

MANY = 40


@pytest.fixture(params=["sqlite", "postgresql"])
async def databases(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Database]]:
    address = str(tmp_path / "p.sqlite3")
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        address = await asyncio.to_thread(server.new_database)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_database(address)) for _ in range(2)]


def kept_in(database: Database) -> SqlPosts[Post, StoredFile]:
    return SqlPosts(database, encode=encode, decode=decode, make_file=StoredFile)


def shown(each: ChannelLog) -> list[str]:
    return [view.fields["html"] for post in each.posts() if (view := each.view(post.id))]


async def test_posts_of_both_get_places_of_their_own(databases: list[Database]) -> None:
    boards = [ChannelLog(kept_in(database), Subscribers(), str) for database in databases]
    async with asyncio.TaskGroup() as group:
        for number in range(MANY):
            frame = Frame(markdown=str(number))
            group.create_task(boards[number % 2].add(kind="bot", author="", name="P", frame=frame))
    posts = await kept_in(databases[0]).load(2 * MANY)
    assert [post.position for post in posts] == list(range(1, MANY + 1))
    for each in boards:
        await each.catch_up()
        assert shown(each) == [post.frame.markdown for post in posts]


async def test_what_one_writes_the_other_shows(databases: list[Database]) -> None:
    one, two = (ChannelLog(kept_in(database), Subscribers(), str) for database in databases)
    post = await one.add(kind="bot", author="", name="P", frame=Frame(markdown="begun", growing=True))
    await two.open()
    for words, growing in (("more", True), ("whole", False)):
        await one.change(post.id, Frame(markdown=words, growing=growing))
        await one.flush()
        await two.catch_up()
        assert (shown(two), [each.id for each in two.growing()]) == ([words], [post.id] if growing else [])
    await one.remove(post.id)
    await two.catch_up()
    assert shown(two) == []


async def test_a_change_is_shown_whatever_colours_have_done_to_the_count(databases: list[Database]) -> None:
    async def coloured(markdown: str) -> str:
        return f"<b>{markdown}</b>"

    one = ChannelLog(kept_in(databases[0]), Subscribers(), str)
    two = ChannelLog(kept_in(databases[1]), Subscribers(), str, colour=coloured)
    post = await one.add(kind="bot", author="", name="P", frame=Frame(markdown="first"))
    await two.open()
    async with asyncio.TaskGroup() as group:
        colouring = group.create_task(two.add_colours())
        await until(lambda: shown(two) == ["<b>first</b>"])
        await one.change(post.id, Frame(markdown="second"))
        await two.catch_up()
        await until(lambda: shown(two) == ["<b>second</b>"])
        colouring.cancel()


async def test_what_could_not_be_looked_at_is_looked_at_again(databases: list[Database]) -> None:
    one, two = (ChannelLog(kept_in(database), Subscribers(), str) for database in databases)
    post = await one.add(kind="bot", author="", name="P", frame=Frame(markdown="begun", growing=True))
    await two.open()
    await one.change(post.id, Frame(markdown="whole"))
    await two.change(post.id, Frame(markdown="begun", growing=True, footer="not written yet"))
    await two.catch_up()
    await one.change(post.id, Frame(markdown="whole, later"))
    await two.flush()  # its older state comes last
    await one.change(post.id, Frame(markdown="the end"))
    await two.catch_up()
    assert shown(two) == ["the end"]


async def test_the_start_of_one_leaves_alone_what_the_other_is_writing(
    databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_log, "LOOK_EVERY_S", 0.02)
    names = "one", "two"
    storages = [SqlStorage(database, name) for database, name in zip(databases, names, strict=True)]
    first, second = (
        Parts(posts=kept_in(database), inbox=storage) for database, storage in zip(databases, storages, strict=True)
    )
    async with (
        hold_lease(databases[0], "one"),
        hold_lease(databases[1], "two"),
        first.server().serving() as address,
        visit(address) as page,
    ):
        await page.type("hold")
        growing = await page.post(lambda post: "Holding" in post["html"])
        async with second.server().serving() as other, visit(other) as visitor:
            hello = next(message for message in visitor.seen if message["type"] == "hello")
            assert [(post["growing"], post["failure"]) for post in hello["posts"]] == [(False, ""), (True, "")]
            first.bot.release.set()
            whole = await page.answer()
            seen = await visitor.post(lambda post: post["id"] == growing["id"] and not post["growing"])
            assert (seen["html"], seen["failure"]) == (whole["html"], "")
    assert second.bot.incoming == []


async def test_another_account_never_goes_on_with_what_one_left(databases: list[Database]) -> None:
    left = Received(account="telegram:1", id="e", chat="c", payload="")
    async with hold_lease(databases[0], "one"):
        await SqlStorage(databases[0], "one").receive([left])
    heir = SqlStorage(databases[1], "two")
    async with hold_lease(databases[1], "two"):
        assert await heir.unanswered("telegram:2") == []
        assert await heir.orphaned("telegram:1") == [left]
