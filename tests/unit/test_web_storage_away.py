"""The storage is away, or one thing in it is odd: what people send waits, and one fault costs one post."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from adapters.delivery.channel import Frame
from adapters.storage.errors import WriteRefused
from adapters.storage.memory.storage import MemoryStorage
from adapters.web import repeated_faults
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.subscribers import Subscribers
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Post
from adapters.web.repeated_faults import RepeatedFaults
from adapters.web.sessions import inbound
from bots.ports import Received, StorageError
from tests.unit.web_parts import Page, Parts, browser_session, visit

METHODS = ("load", "revisions", "post", "append", "put", "delete", "with_nonce", "with_event", "put_file", "file")


class FragilePosts(MemoryPosts):
    """Every call raises `trouble`, while there is one; `calls` counts those."""

    trouble: Exception | None = None
    calls = 0

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name not in METHODS:
            return found

        async def fragile(*args: object) -> Any:
            if self.trouble is not None:
                self.calls += 1
                raise self.trouble
            return await found(*args)

        return fragile


class FragileInbox(MemoryStorage):
    trouble: Exception | None = None

    async def receive(self, events: Sequence[Received]) -> Sequence[Received]:
        if self.trouble is not None:
            raise self.trouble
        return await super().receive(events)

    async def answered(self, account: str, event_id: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        await super().answered(account, event_id)


@pytest.fixture
def posts() -> FragilePosts:
    return FragilePosts()


@pytest.fixture
def kept() -> FragileInbox:
    return FragileInbox()


@pytest.fixture
def parts(posts: FragilePosts, kept: FragileInbox, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setattr(repeated_faults, "_LAST_PAUSE_S", 0.02)
    return Parts(posts=posts, inbox=kept)


@pytest.fixture
async def address(parts: Parts) -> AsyncIterator[str]:
    async with parts.server().serving() as address:
        yield address


async def until_tried(posts: FragilePosts, times: int = 3) -> None:
    before = posts.calls
    async with asyncio.timeout(10):
        while posts.calls < before + times:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def refusals(page: Page) -> list[dict[str, Any]]:
    return [message for message in page.seen if message["type"] in ("rejected", "error")]


@pytest.mark.parametrize("where", ["posts", "inbox"])
async def test_what_is_sent_while_the_storage_is_away_waits_in_its_order(
    address: str, parts: Parts, posts: FragilePosts, kept: FragileInbox, where: str
) -> None:
    away = posts if where == "posts" else kept
    async with visit(address) as page:
        away.trouble = StorageError("The server is away.")
        for name in "abc":
            await page.type(f"question {name}", client_id=name)
        await page.say("drop", picture="nothing")  # the socket is read on
        if where == "posts":
            await until_tried(posts)
        else:
            await page.post(lambda post: post["client_id"] == "a")
        away.trouble = None
        accepted = [await page.next("accepted") for _ in "abc"]
        assert [each["client_id"] for each in accepted] == ["a", "b", "c"]
        assert refusals(page) == []
        asked = [post for post in await posts.load(9) if post.kind == "person"]
        assert [post.frame.markdown for post in asked] == ["question a", "question b", "question c"]
        assert [post.id for post in asked] == [each["id"] for each in accepted]
        async with asyncio.timeout(10):
            while len(parts.bot.incoming) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert sorted(incoming.text for incoming in parts.bot.incoming) == ["question a", "question b", "question c"]


async def test_a_setting_and_a_name_wait_for_the_storage(
    address: str, parts: Parts, posts: FragilePosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, trouble = posts.put_name, [StorageError("away"), StorageError("away")]

    async def fragile(*args: Any) -> Any:
        if trouble:
            raise trouble.pop()
        return await kept(*args)

    monkeypatch.setattr(posts, "put_name", fragile)
    async with visit(address) as page:
        await page.say("setting", name="temperature", value="0.4")
        said = await page.next("settings")
        assert "0.4" in said["sentence"]
        trouble.extend([StorageError("away")])
        await page.say("name", name="Ann")
        assert (await page.next("name"))["name"] == "Ann"
    assert not trouble


async def test_whatever_a_second_socket_does_a_message_is_accepted_when_it_is_kept(
    address: str, parts: Parts, posts: FragilePosts
) -> None:
    async with (
        browser_session() as session,
        session.ws_connect(address + "ws") as one,
        session.ws_connect(address + "ws") as two,
    ):
        first, second = Page(one), Page(two)
        await first.next("settings")
        await second.next("settings")
        posts.trouble = StorageError("The disk is full.")
        await first.type("hello", client_id="same")
        await until_tried(posts)
        await second.type("hello", client_id="same")
        await until_tried(posts)
        posts.trouble = None
        ids = {(await page.next("accepted"))["id"] for page in (first, second)}
        await second.type("hello", client_id="same")
        ids.add((await second.next("accepted"))["id"])
        assert ids == {post.id for post in await posts.load(9) if post.kind == "person"}
        await first.answer()
        assert refusals(first) == refusals(second) == []
    assert [incoming.text for incoming in parts.bot.incoming] == ["hello"]


async def test_a_stop_does_not_wait_for_the_storage(address: str, parts: Parts, posts: FragilePosts) -> None:
    async with visit(address) as page:
        await page.type("hold")
        growing = await page.post(lambda post: "Holding" in post["html"])
        posts.trouble = StorageError("The server is away.")
        await page.type("next", client_id="b")
        await page.say("action", client_id="x", action="stop", message_id=growing["id"])
        assert (await page.next("said"))["sentence"] == "Stopped."
        posts.trouble = None
        assert (await page.next("accepted", lambda message: message["client_id"] == "b"))["id"]


async def test_few_presses_of_stop_wait_for_the_storage(
    address: str, posts: FragilePosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_faults, "_FIRST_PAUSE_S", 3600.0)
    async with visit(address) as page:
        posts.trouble = StorageError("away")
        for number in range(50):
            await page.say("action", client_id=f"s{number}", action="stop", message_id="older")
        await page.say("people")
        await page.next("people")
        assert 0 < posts.calls <= 10
        posts.trouble = None


@pytest.mark.parametrize(
    "trouble", [RuntimeError("an odd post"), WriteRefused("It never takes an odd post.")], ids=repr
)
async def test_a_message_that_cannot_be_kept_costs_its_author_a_sentence(
    address: str, posts: FragilePosts, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    async with visit(address) as page, visit(address) as other:
        posts.trouble = trouble
        await page.type("odd", client_id="odd")
        refused = await page.next("rejected")
        assert refused["client_id"] == "odd"
        assert "odd post" not in refused["sentence"]
        posts.trouble = None
        await other.type("hello", client_id="b")
        await other.answer()
        await page.type("once more", client_id="c")
        await page.next("accepted")
    assert "an odd post" in caplog.text


@pytest.mark.parametrize("trouble", [StorageError("The disk is full."), RuntimeError("odd")])
async def test_an_event_whose_mark_fails_ends_nothing(address: str, kept: FragileInbox, trouble: Exception) -> None:
    async with visit(address) as page, visit(address) as other:
        await page.type("hold")
        growing = await page.post(lambda post: "Holding" in post["html"])
        await other.type("hello")
        kept.trouble = trouble
        await page.say("action", client_id="x", action="stop", message_id=growing["id"])
        await page.answer()
        kept.trouble = None
        await other.type("still there", client_id="b")
        await other.post(lambda post: "still there" in post["html"] and not post["growing"])
    if isinstance(trouble, StorageError):
        async with asyncio.timeout(30):  # an event is marked behind the last frame of its answer, and is tried again
            while await kept.pending("web"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_post_that_cannot_be_rendered_is_shown_as_it_was_written(caplog: pytest.LogCaptureFixture) -> None:
    def render(markdown: str) -> str:
        raise RecursionError(markdown)

    board = ChannelLog(MemoryPosts(), Subscribers(), render)
    post = await board.add(kind="bot", author="", name="P", frame=Frame(markdown="a < b"))
    view = board.view(post.id)
    assert view is not None
    assert ">a &lt; b</p>" in view.json


async def test_a_post_that_cannot_be_written_keeps_no_other_waiting() -> None:
    class Odd(MemoryPosts):
        async def put(self, post: Post) -> None:
            if post.frame.markdown == "odd":
                raise RuntimeError("cannot be written")
            if post.frame.markdown == "never":
                raise WriteRefused("never")
            if post.frame.markdown == "refused":
                raise StorageError("refused")
            await super().put(post)

    posts = Odd()
    board = ChannelLog(posts, Subscribers(), str)
    made = [await board.add(kind="bot", author="", name="P", asker=each, frame=Frame(growing=True)) for each in "abcd"]
    for post, words in zip(made, ("odd", "refused", "good", "never"), strict=True):
        await board.change(post.id, Frame(markdown=words, growing=True))
    await board.flush("a")
    await board.flush("c")
    await board.flush("d")
    for _ in range(2):
        with pytest.raises(StorageError):
            await board.flush()
    assert [post.frame.markdown for post in await posts.load(9)] == ["", "", "good", ""]


async def test_a_post_that_is_removed_while_it_cannot_be_written_keeps_no_other_waiting() -> None:
    """It is looked for what other processes have removed while the storage goes away."""

    class Removing(MemoryPosts):
        async def put(self, post: Post) -> None:
            if post.frame.markdown == "words a":
                await posts.delete(post.id)
                await board.catch_up()
                raise StorageError("away")
            await super().put(post)

    posts = Removing()
    board = ChannelLog(posts, Subscribers(), str)
    made = [await board.add(kind="bot", author="", name="P", asker=each, frame=Frame(growing=True)) for each in "ab"]
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(board.write_behind())
        for post in made:
            await board.change(post.id, Frame(markdown=f"words {post.asker}", growing=True))
        async with asyncio.timeout(10):
            while [post.frame.markdown for post in await posts.load(9)] != ["words b"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        writing.cancel()


async def test_who_sends_without_end_is_refused_with_a_sentence(
    address: str, posts: FragilePosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbound, "MAX_WAITING", 3)
    async with visit(address) as page, visit(address) as other:
        posts.trouble = StorageError("The server is away.")
        for number in range(4):
            await page.type(f"question {number}", client_id=str(number))
        refused = await page.next("rejected")
        assert refused["client_id"] == "3"
        await other.type("hello", client_id="b")
        posts.trouble = None
        assert [(await page.next("accepted"))["client_id"] for _ in range(3)] == ["0", "1", "2"]
        await other.next("accepted")


def test_a_fault_that_repeats_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    said = RepeatedFaults(logging.getLogger("page"), lambda: now)
    for number in range(1000):
        said.say("posts are stored later", StorageError(f"away {number}"))
        said.say("posts are stored later", RuntimeError("odd"))
    assert len(caplog.records) == 2
    now = 61.0
    said.say("posts are stored later", StorageError("away"))
    assert [record.exc_info is None for record in caplog.records] == [True, False, True]
