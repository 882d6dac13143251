"""A first load is bounded, the rest comes when somebody scrolls, and a crowd that joins costs what it must."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from adapters.delivery.channel import Frame
from adapters.web.background_tasks import BackgroundTasks
from adapters.web.channel import protocol
from adapters.web.channel import subscribers as audiences
from adapters.web.channel.channel_log import SHOWN_POSTS, ChannelLog
from adapters.web.channel.deltas import View
from adapters.web.channel.history import HELD_BYTES, PAGE_BYTES, PAGE_POSTS, History
from adapters.web.channel.subscribers import Subscriber, Subscribers
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Post, PostFile
from adapters.web.security import token_buckets
from tests.unit.web_parts import Page, Parts, browser_session, visit


async def channel(texts: Sequence[str], pictures: int = 0) -> tuple[ChannelLog, MemoryPosts]:
    posts = MemoryPosts()
    attachments = tuple(PostFile(id=f"f{n}", name="a.png", media_type="image/webp") for n in range(pictures))
    for number, text in enumerate(texts):
        await posts.put(
            Post(
                id=f"p{number}",
                position=number,
                kind="person",
                author="web:a",
                name="A",
                frame=Frame(markdown=text),
                event_id=f"web:a/{number}",
                attachments=attachments,
            )
        )
    board = ChannelLog(posts, Subscribers(), str)
    await board.open()
    return board, posts


def ids(views: Sequence[str]) -> list[str]:
    return [json.loads(view)["id"] for view in views]


async def everything(history: History) -> list[str]:
    """All ids that somebody sees who scrolls up to the beginning."""
    section = history.newest()
    seen = ids(section.views)
    while section.earlier:
        section = await history.before(json.loads(section.views[0])["position"] if section.views else 0)
        seen = ids(section.views) + seen
        assert sum(map(len, section.views)) <= PAGE_BYTES
    return seen


@pytest.mark.parametrize("text", ["short", "x" * 20_000, "x" * 200_000, "\U0001f600" * 20_000])
async def test_a_first_load_is_small_whatever_was_posted(text: str) -> None:
    board, posts = await channel([text] * 220)
    history = History(board, posts)
    newest = history.newest()
    assert 0 < len(newest.views) <= PAGE_POSTS
    assert sum(map(len, newest.views)) <= PAGE_BYTES
    assert newest.earlier
    assert ids(newest.views)[-1] == "p219"
    assert await everything(history) == [f"p{number}" for number in range(220)]


async def test_a_channel_of_few_posts_has_no_earlier_ones() -> None:
    history = History(*await channel(["a", "b"]))
    assert (ids(history.newest().views), history.newest().earlier) == (["p0", "p1"], False)
    assert History(*await channel([])).newest().views == []


async def test_pictures_count_in_a_first_load() -> None:
    history = History(*await channel(["look"] * 50, pictures=10))
    assert len(history.newest().views) < 5


async def test_a_channel_of_as_many_posts_as_are_in_memory_ends() -> None:
    history = History(*await channel(["x"] * SHOWN_POSTS))
    assert len(await everything(history)) == SHOWN_POSTS


async def test_a_long_post_comes_as_its_head_until_somebody_asks() -> None:
    board, posts = await channel(["x" * (HELD_BYTES + 1)])
    history = History(board, posts)
    (head,) = map(json.loads, history.newest().views)
    assert (head["text"], head["html"], head["name"]) == ("", "", "A")
    whole = await history.whole("p0")
    assert whole is not None
    assert (whole.fields["text"], len(whole.json)) == ("x" * (HELD_BYTES + 1), head["held"])
    assert await history.whole("nothing") is None


async def test_somebody_who_scrolls_up_and_opens_a_long_post() -> None:
    parts = Parts()
    for number in range(PAGE_POSTS + 3):
        frame = Frame(markdown="long " * 20_000 if number == PAGE_POSTS else "x")
        await parts.posts.put(
            Post(id=f"p{number}", position=number, kind="bot", author="", name="P", frame=frame, nonce=str(number))
        )
    async with parts.server().serving() as address, visit(address) as page:
        hello = next(message for message in page.seen if message["type"] == "hello")
        assert (len(hello["posts"]), hello["earlier"]) == (PAGE_POSTS, True)
        await page.say("earlier", before=hello["posts"][0]["position"])
        earlier = await page.next("earlier")
        assert ([post["id"] for post in earlier["posts"]], earlier["earlier"]) == (["p0", "p1", "p2"], False)
        await page.say("whole", post=f"p{PAGE_POSTS}")
        assert "long long" in (await page.post(lambda post: post["id"] == f"p{PAGE_POSTS}"))["html"]
        await page.say("whole", post="nothing")
        assert (await page.next("remove"))["id"] == "nothing"
        for before in (-1, 2**63, "1", True, None):
            await page.say("earlier", before=before, client_id="odd")
            assert (await page.next("rejected"))["client_id"] == "odd"


class CountedListener(Subscriber):
    """Counts what its page is told."""

    told: Counter[str]

    def __init__(self, person: str) -> None:
        super().__init__(person)
        self.told = Counter()
        self.newest: dict[str, str] = {}

    async def has_news(self) -> None:
        await self._news.wait()

    def tell(self, key: str, message: str | View) -> None:
        assert isinstance(message, str)
        self.told[json.loads(message)["type"]] += 1
        self.newest[key] = message
        super().tell(key, message)


async def test_whoever_joins_costs_those_who_are_here_nothing_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audiences, "_PACE_S", 0.0)
    audience = Subscribers()
    listeners = [CountedListener(f"web:{number}") for number in range(400)]
    telling = [asyncio.create_task(audience.tell_presence()), asyncio.create_task(audience.tell_crowd())]
    for number, listener in enumerate(listeners):
        audience.join(listener, f"Guest {number}")
    async with asyncio.timeout(10):
        await asyncio.gather(*(listener.has_news() for listener in listeners))
    for task in telling:
        task.cancel()
    assert {tuple(listener.told.items()) for listener in listeners} == {(("presence", 1),)}
    assert audience.count == 400


@pytest.mark.parametrize(("people", "sockets"), [(60, 1), (1, 60), (6, 10)])
async def test_a_crowd_is_of_sockets_whosever_they_are(people: int, sockets: int) -> None:
    """Telling costs by socket."""
    audience = Subscribers()
    listeners = [CountedListener(f"web:{number % people}") for number in range(people * sockets)]
    for listener in listeners:
        audience.join(listener, "Guest")
    audience.broadcast("p", protocol.error("state"))
    assert not any(listener.told for listener in listeners), "a crowd hears it later"
    for listener in listeners[10:]:
        audience.leave(listener)
        audience.leave(listener)
    audience._held.clear()
    audience.broadcast("p", protocol.error("state"))
    assert all(listener.told for listener in listeners[:10])


@pytest.mark.parametrize("size", [50, 200])
async def test_a_crowd_hears_the_newest_of_what_others_write_and_who_asked_hears_all(size: int) -> None:
    """A post has a hundred states; whatever the crowd misses of them, it has the last one."""
    audience = Subscribers()
    listeners = [CountedListener(f"web:{number}") for number in range(size)]
    for listener in listeners:
        audience.join(listener, "Guest")
    telling = asyncio.create_task(audience.tell_crowd())
    for number in range(100):
        audience.broadcast("p", protocol.error(f"state {number}"), {"web:0"})
        audience.broadcast("q", protocol.error(f"other {number}"))
        await asyncio.sleep(0)

    def newest() -> set[tuple[str, ...]]:
        return {tuple(listener.newest.values()) for listener in listeners}

    async with asyncio.timeout(10):
        while len(newest()) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert newest() == {(protocol.error("state 99"), protocol.error("other 99"))}
    told = sorted(listener.told.total() for listener in listeners)
    if size == 50:
        assert told == [200] * 50
    else:
        assert told[-1] > 100, "who asked"
        assert told[-2] < 10, "the others"
    telling.cancel()


class DeafListener(Subscriber):
    """One that cannot be told of some things."""

    def tell(self, key: str, message: str | View) -> None:
        if key == "odd":
            raise RuntimeError("nobody has foreseen this")
        super().tell(key, message)


@pytest.mark.parametrize("size", [3, 60])
async def test_a_page_that_cannot_be_told_something_silences_no_other(size: int) -> None:
    """Neither now nor later, and it hears the next thing itself."""
    audience = Subscribers()
    deaf = DeafListener("web:deaf")
    audience.join(deaf, "Guest")
    listeners = [CountedListener(f"web:{number}") for number in range(size)]
    for listener in listeners:
        audience.join(listener, "Guest")
    async with BackgroundTasks() as tasks:
        tasks.begin(audience.tell_crowd())
        await asyncio.sleep(0)  # it has begun
        for state in ("odd", "next"):
            audience.broadcast(state, protocol.error(state))
            async with asyncio.timeout(10):
                while not all(state in listener.newest for listener in listeners):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        assert list(deaf._backlog) == ["next"]


async def test_what_serves_every_page_goes_on_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.web.background_tasks._AGAIN_S", 0.0)
    runs, goes_on = 0, asyncio.Event()

    async def serve() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("nobody has foreseen this")
        goes_on.set()
        await asyncio.Event().wait()

    async with BackgroundTasks() as tasks, asyncio.timeout(10):
        tasks.keep(serve)
        await goes_on.wait()


@pytest.mark.parametrize("task", ["tell_presence", "tell_crowd"])
async def test_the_page_keeps_what_serves_everybody(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.web.background_tasks._AGAIN_S", 0.0)
    whole, failures = getattr(Subscribers, task), iter([RuntimeError("nobody has foreseen this")])
    again = asyncio.Event()

    async def fails_once(self: Subscribers) -> None:
        for error in failures:
            raise error
        again.set()
        await whole(self)

    monkeypatch.setattr(Subscribers, task, fails_once)
    async with Parts().server().serving(), asyncio.timeout(10):
        await again.wait()


async def test_a_crowd_is_told_a_constant_number_of_messages_each() -> None:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(Parts().server().serving())
        pages = []
        for _ in range(30):
            session = await stack.enter_async_context(browser_session())
            pages.append(Page(await stack.enter_async_context(session.ws_connect(address + "ws"))))
        last = await pages[-1].next("presence", lambda message: message["count"] == 30)
        assert last
        first = pages[0]
        await first.next("presence", lambda message: message["count"] == 30)
    told = Counter(message["type"] for message in first.seen)
    assert told["hello"] == told["settings"] == 1
    assert "people" not in told


async def test_many_connections_at_once_are_all_served() -> None:
    """More than a port without browsers takes: 64 that have sent nothing yet."""
    async with Parts().server().serving() as address:
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        opened = await asyncio.gather(*(asyncio.open_connection(host, int(port)) for _ in range(300)))
        for _, writer in opened:
            writer.write(f"GET /static/icon.svg HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answers = await asyncio.gather(*(reader.read(15) for reader, _ in opened), return_exceptions=True)
        for _, writer in opened:
            writer.close()
    assert set(answers) == {b"HTTP/1.1 200 OK"}


async def test_whoever_looks_without_end_waits_and_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_buckets, "READS", 3)
    monkeypatch.setattr(token_buckets, "READS_S", 36_000.0)
    async with Parts().server().serving() as address, visit(address) as eve, visit(address) as ann:
        for number in range(20):
            await eve.say("whole", post=f"gone{number}")
        for _ in range(3):
            await eve.next("remove")
        await ann.say("earlier", before=1)
        await ann.next("earlier")
        await ann.say("people")
        await ann.next("people")
        assert sum(message["type"] == "remove" for message in eve.seen) == 3


async def test_drawing_what_is_not_in_memory_leaves_threads_for_answers() -> None:
    board, posts = await channel(["long"] * (SHOWN_POSTS + 20))
    drawn, most, lock, enough = 0, 0, threading.Lock(), threading.Event()

    def draw(post: Post) -> View:
        nonlocal drawn, most
        with lock:
            drawn += 1
            most = max(most, drawn)
            if drawn > 2:
                enough.set()
        enough.wait(0.05)
        with lock:
            drawn -= 1
        return View({"id": post.id})

    board.draw = draw  # type: ignore[method-assign]
    history = History(board, posts)
    await asyncio.gather(*(history.whole(f"p{number}") for number in range(6)))
    assert most == 2
