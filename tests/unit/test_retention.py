"""What is too old goes in the background, batch by batch, whatever fails."""

from __future__ import annotations

import asyncio

import pytest

from adapters.delivery.channel import Frame
from adapters.retention import BATCH, sweep, sweeping
from adapters.storage.memory.storage import MemoryStorage
from adapters.web.files.previews import Thumbnails
from adapters.web.files.uploads import Uploads
from adapters.web.sessions.guest_data import GuestData
from bots.people.account import Account
from bots.ports import Turn
from bots.profile.personal import Retention
from tests.fakes import keep_turn
from tests.unit.test_web_channel import Desk
from tests.unit.web_parts import reading

DAY_S = 86_400.0


class Old:
    """So many old things; the first calls fail."""

    def __init__(self, things: int, failures: int = 0) -> None:
        self.things, self.failures = things, failures
        self.batches: list[int] = []
        self.gone = asyncio.Event()

    async def expire(self, limit: int) -> int:
        if self.failures:
            self.failures -= 1
            raise OSError("the disk is full")
        count = min(limit, self.things)
        self.things -= count
        self.batches.append(count)
        if not count:
            self.gone.set()
        return count


async def test_a_sweep_goes_on_until_nothing_is_left() -> None:
    old = Old(2 * BATCH + 1)
    assert await sweep(old.expire, 0.0) == 2 * BATCH + 1
    assert old.batches == [BATCH, BATCH, 1, 0]


async def test_a_sweeper_that_fails_tries_again_and_ends_with_its_context(caplog: pytest.LogCaptureFixture) -> None:
    old = Old(3, failures=2)
    async with sweeping(old.expire, every_s=0.0, pause_s=0.0):
        await old.gone.wait()
    assert caplog.text.count("tried again later") == 2
    swept = len(old.batches)
    await asyncio.sleep(0)
    assert len(old.batches) == swept


async def test_every_place_expires_by_the_operators_days() -> None:
    storage, now = MemoryStorage(), 100 * DAY_S
    account = Account(storage, now=lambda: now, retention=Retention(days=10))
    desk = Desk()
    account.privacy.keeps(GuestData(desk.board, desk.audience, Uploads(Thumbnails()), desk.posts))
    for number, age in enumerate((1, 20)):
        created = now - age * DAY_S
        turn = Turn(id=str(number), chat="c", person="p", role="user", text="", created_at=created)
        await keep_turn(storage, turn)
        desk.board._clock = lambda created=created: created  # type: ignore[misc]
        await desk.channel.send(Frame(markdown=str(age)), reply_to=None, nonce=str(number))
    assert await account.privacy.expire(BATCH) == 2
    assert [post.frame.markdown for post in desk.board.posts()] == ["1"]
    assert desk.bob.told[-1]["type"] == "remove"
    assert await storage.turn("1") is None


async def test_what_is_erased_leaves_the_page_at_once() -> None:
    desk = Desk()
    thumbnails = Thumbnails()
    uploads = Uploads(thumbnails)
    upload = await uploads.add("web:ada", "a.png", reading(b"no picture"))
    await thumbnails.close()
    data = GuestData(desk.board, desk.audience, uploads, desk.posts)
    await desk.channel.send(Frame(markdown="to Ada"), reply_to=None, nonce="1")
    await desk.board.add(kind="person", author="web:ada", name="Ada", frame=Frame(markdown="by Ada"))
    await desk.board.add(kind="person", author="web:bob", name="Bob", frame=Frame(markdown="by Bob"))
    await desk.channel.upload("data.json", b"{}", reply_to=None, nonce="2", private=True)
    (handed_out,) = [message["post"] for message in desk.ada.told if message["type"] == "notice"]
    await data.erase(["telegram:1", "web:ada"], "2026-11-25")
    assert [post.frame.markdown for post in desk.board.posts()] == ["by Bob"]
    assert await desk.posts.load(9) == desk.board.posts()
    assert desk.audience.handouts.get("web:ada", handed_out["attachments"][0]["id"]) is None
    assert upload.id not in uploads._waiting
    assert await data.export(["web:ada"]) == {}
