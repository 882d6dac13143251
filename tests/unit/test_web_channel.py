"""The channel over its board: posts, edits, private words, files, and what is on disk when."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from adapters.delivery.channel import Frame, MessageGone, Rejected, Unsent
from adapters.web.channel.channel import LIMITS, WebChannel
from adapters.web.channel.channel_log import SHOWN_POSTS, ChannelLog
from adapters.web.channel.deltas import View
from adapters.web.channel.subscribers import Subscriber, Subscribers
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Post, StoredFile
from adapters.web.posts.private_files import LIFETIME_S, PrivateFiles
from bots.ports import StorageError


class Recorder(Subscriber):
    """Keeps what it is told."""

    def __init__(self, person: str) -> None:
        super().__init__(person)
        self.told: list[dict[str, Any]] = []
        self.news = asyncio.Event()

    def tell(self, key: str, message: str | View) -> None:
        self.told.append(json.loads(message if isinstance(message, str) else message.whole()))
        self.news.set()

    def posts(self) -> list[dict[str, Any]]:
        return [message["post"] for message in self.told if message["type"] == "post"]


class Desk:
    """A board with two people before it."""

    def __init__(self) -> None:
        self.posts = MemoryPosts()
        self.audience = Subscribers()
        self.board = ChannelLog(self.posts, self.audience, lambda markdown: f"<p>{markdown}</p>")
        self.ada, self.bob = Recorder("web:ada"), Recorder("web:bob")
        for listener in (self.ada, self.bob):
            self.audience.join(listener, listener.person)
        self.channel = WebChannel(self.board, self.posts, self.audience, asker="web:ada")


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_post_is_shown_to_all_and_kept(desk: Desk) -> None:
    post_id = await desk.channel.send(Frame(markdown="Hi", growing=True), reply_to="p0", nonce="n")
    shown = desk.bob.posts()[-1]
    assert (shown["id"], shown["html"], shown["asker"], shown["reply_to"]) == (post_id, "<p>Hi</p>", "web:ada", "p0")
    assert await desk.posts.post(post_id) is not None


async def test_a_nonce_makes_one_post(desk: Desk) -> None:
    first = await desk.channel.send(Frame(markdown="Hi"), reply_to=None, nonce="n")
    assert await desk.channel.find("n") == first
    assert await desk.channel.send(Frame(markdown="Hi"), reply_to=None, nonce="n") == first
    assert await desk.channel.find("other") is None
    assert len(desk.bob.posts()) == 1


async def test_edits_carry_rising_revisions_and_the_final_one_is_kept(desk: Desk) -> None:
    post_id = await desk.channel.send(Frame(growing=True), reply_to=None, nonce="n")
    await desk.channel.edit(post_id, Frame(markdown="grow", growing=True))
    kept = await desk.posts.post(post_id)
    assert kept is not None
    assert kept.frame.markdown == ""
    await desk.channel.edit(post_id, Frame(markdown="grown"))
    kept = await desk.posts.post(post_id)
    assert kept is not None
    assert kept.frame == Frame(markdown="grown")
    assert [post["revision"] for post in desk.bob.posts()] == [0, 1, 2]


async def test_what_grows_is_kept_behind(desk: Desk) -> None:
    kept = asyncio.Event()
    put = desk.posts.put

    async def noticed(post: Post) -> None:
        await put(post)
        if post.frame.markdown == "newest":
            kept.set()

    desk.posts.put = noticed  # type: ignore[method-assign]
    post_id = await desk.channel.send(Frame(growing=True), reply_to=None, nonce="n")
    async with asyncio.TaskGroup() as tasks:
        writer = tasks.create_task(desk.board.write_behind())
        await desk.channel.edit(post_id, Frame(markdown="newer", growing=True))
        await desk.channel.edit(post_id, Frame(markdown="newest", growing=True))
        await kept.wait()
        writer.cancel()


async def test_a_disk_that_fails_is_tried_again(desk: Desk) -> None:
    put = desk.posts.put

    async def full(post: Post) -> None:
        raise StorageError("no space left")

    desk.posts.put = full  # type: ignore[method-assign]
    with pytest.raises(Unsent):
        await desk.channel.send(Frame(markdown="Hi"), reply_to=None, nonce="n")
    assert desk.bob.posts() == []
    desk.posts.put = put  # type: ignore[method-assign]
    post_id = await desk.channel.send(Frame(growing=True), reply_to=None, nonce="n")
    desk.posts.put = full  # type: ignore[method-assign]
    await desk.channel.edit(post_id, Frame(markdown="Hi"))
    assert desk.bob.posts()[-1]["html"] == "<p>Hi</p>"
    desk.posts.put = put  # type: ignore[method-assign]
    await desk.board.flush()
    kept = await desk.posts.post(post_id)
    assert kept is not None
    assert kept.frame.markdown == "Hi"


async def test_a_post_that_is_gone_says_so(desk: Desk) -> None:
    post_id = await desk.channel.send(Frame(markdown="Hi"), reply_to=None, nonce="n")
    await desk.channel.delete(post_id)
    assert desk.bob.told[-1] == {"type": "remove", "id": post_id}
    with pytest.raises(MessageGone):
        await desk.channel.edit(post_id, Frame(markdown="Ho"))
    assert await desk.channel.find("n") is None


async def test_private_words_reach_the_asker_only_and_are_not_kept(desk: Desk) -> None:
    frame = Frame(markdown="psst", notice=True, private=True)
    post_id = await desk.channel.send(frame, reply_to=None, nonce="n")
    assert await desk.channel.find("n") == post_id
    await desk.channel.edit(post_id, Frame(markdown="psst!", notice=True, private=True))
    notices = [message["post"]["html"] for message in desk.ada.told if message["type"] == "notice"]
    assert notices == ["<p>psst</p>", "<p>psst!</p>"]
    assert not [message for message in desk.bob.told if message["type"] == "notice"]
    assert await desk.posts.load(9) == []
    await desk.channel.delete(post_id)
    assert desk.ada.told[-1]["type"] == "remove"


async def test_private_words_wait_for_somebody_who_reconnects(desk: Desk) -> None:
    desk.audience.leave(desk.ada)
    await desk.channel.send(Frame(markdown="psst", private=True), reply_to=None, nonce="n")
    back = Recorder("web:ada")
    desk.audience.join(back, "Ada")
    desk.audience.hand_over(back)
    desk.audience.hand_over(back)
    assert [message["type"] for message in back.told] == ["notice"]


async def test_a_file_is_posted_and_served(desk: Desk) -> None:
    post_id = await desk.channel.upload("answer.md", b"# long", reply_to="p0", nonce="f")
    assert await desk.channel.upload("answer.md", b"# long", reply_to="p0", nonce="f") == post_id
    (attachment,) = desk.bob.posts()[-1]["attachments"]
    stored = await desk.posts.file(attachment["id"])
    assert stored is not None
    assert stored.data == b"# long"


async def test_a_private_file_is_the_askers_alone_and_is_not_kept(desk: Desk) -> None:
    await desk.channel.upload("data.json", b"{}", reply_to="p0", nonce="f", private=True)
    await desk.channel.upload("stats.png", b"PNG", reply_to="p0", nonce="g", private=True)
    told = [message["post"] for message in desk.ada.told if message["type"] == "notice"]
    export, picture = (post["attachments"][0] for post in told)
    assert [post["kind"] for post in told] == ["file", "file"]
    assert (export["media_type"], picture["media_type"]) == ("application/octet-stream", "image/png")
    assert not [message for message in desk.bob.told if message["type"] in ("notice", "post")]
    assert await desk.posts.load(9) == []
    assert await desk.posts.file(export["id"]) is None
    assert desk.audience.handouts.get("web:bob", export["id"]) is None
    mine = desk.audience.handouts.get("web:ada", export["id"])
    assert mine is not None
    assert mine.data == b"{}"


def test_what_was_handed_out_is_forgotten() -> None:
    now = 0.0
    handouts = PrivateFiles(lambda: now)
    files = [StoredFile(id=f"f{n}", name="a", media_type="b", data=b"") for n in range(100)]
    for file in files:
        handouts.add("web:ada", file)
    assert handouts.get("web:ada", "f0") is None
    assert handouts.get("web:ada", "f99") is files[99]
    now = LIFETIME_S
    assert handouts.get("web:ada", "f99") is None


async def test_what_is_over_the_limits_is_rejected(desk: Desk) -> None:
    with pytest.raises(Rejected):
        await desk.channel.send(Frame(markdown="x" * (LIMITS.message_units + 1)), reply_to=None, nonce="n")
    with pytest.raises(Rejected):
        await desk.channel.upload("a", b"x" * (LIMITS.upload_bytes + 1), reply_to=None, nonce="n")


async def test_a_new_board_begins_with_the_newest_posts(desk: Desk) -> None:
    for number in range(SHOWN_POSTS + 5):
        await desk.channel.send(Frame(markdown=str(number)), reply_to=None, nonce=str(number))
    again = ChannelLog(desk.posts, Subscribers(), str)
    await again.open()
    shown = [view.fields["html"] for post in again.posts() if (view := again.view(post.id))]
    assert shown == [str(n) for n in range(5, SHOWN_POSTS + 5)]
    assert len(desk.board.posts()) == SHOWN_POSTS
    older = await desk.posts.with_nonce("0")
    assert older is not None
    assert await again.change(older.id, Frame(markdown="edited"))


async def test_a_slow_socket_gets_the_newest_state_only() -> None:
    class Socket:
        closed = False
        sent: list[str]

        def __init__(self) -> None:
            self.sent = []

        async def send_str(self, message: str) -> None:
            self.sent.append(message)
            self.closed = len(self.sent) == 3

        async def close(self, **_: object) -> None:
            self.closed = True

    listener, socket = Subscriber("web:ada"), Socket()
    for key, message in (("a", "a1"), ("b", "b1"), ("a", "a2"), ("", "n")):
        listener.tell(key, message)
    await listener.pump(socket)  # type: ignore[arg-type]
    assert socket.sent == ["a2", "b1", "n"]


async def test_a_socket_that_falls_behind_is_closed() -> None:
    class Socket:
        closed = False
        code = 0

        async def close(self, *, code: int, message: bytes) -> None:
            self.code = code

    listener, socket = Subscriber("web:ada"), Socket()
    for number in range(2000):
        listener.tell("", str(number))
    await listener.pump(socket)  # type: ignore[arg-type]
    assert socket.code == 1013
