"""What the page does behind the gate: of whoever is refused it takes no post, upload, name, setting or press."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from bots.access.gate import Call, Unheard
from bots.access.rights import Thing, Verb
from bots.messages import Permit
from bots.profile.preferences import UserError
from tests.unit.web_parts import FakeBot, Parts, browser_session, visit

_SORRY = "Not you."


class Guarded(FakeBot):
    """A gate that lets `left` calls in."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left
        self.calls: list[tuple[Thing, Verb]] = []

    async def enter(self, call: Call) -> Permit:
        self.calls.append((call.thing, call.verb))
        self.left -= 1
        if self.left < 0:
            raise UserError(_SORRY) if self.left == -1 else Unheard(_SORRY)
        return Permit(call.actor)


@pytest.fixture
def parts() -> Parts:
    return Parts(bot=Guarded(0))


async def test_a_flood_of_posts_is_over_after_the_rate(parts: Parts) -> None:
    """Each further one is refused where it was typed, and shown to nobody."""
    bot = parts.bot = Guarded(3)
    async with parts.server().serving() as address, visit(address) as page, visit(address) as other:
        for number in range(40):
            await page.type(f"post {number}", client_id=f"c{number}")
        for _ in range(37):
            assert (await page.next("rejected"))["sentence"] == _SORRY
        await asyncio.sleep(0)
        shown = {m["post"]["client_id"] for m in other.seen if m["type"] == "post" and m["post"]["kind"] == "person"}
    assert shown <= {"c0", "c1", "c2"}
    assert len(bot.incoming) == 3
    assert len([post for post in await parts.posts.load(100) if post.kind == "person"]) == 3


async def test_an_upload_is_refused_before_it_is_read(parts: Parts) -> None:
    async with parts.server().serving() as address, browser_session() as session:
        form = aiohttp.FormData()
        form.add_field("picture", b"x" * 1000, filename="a.png")
        async with session.post(address + "upload", data=form) as response:
            assert response.status == 403
            assert (await response.json())["sentence"] == _SORRY
    assert isinstance(parts.bot, Guarded)
    assert parts.bot.calls == [(Thing.UPLOAD, Verb.ADD)]


async def test_names_and_settings_stay_as_they_were(parts: Parts) -> None:
    async with parts.server().serving() as address, visit(address) as page:
        await page.say("name", name="Somebody", client_id="n")
        assert (await page.next("error"))["sentence"] == _SORRY
        assert (await page.next("name"))["name"] == "Guest 1"
        await page.say("setting", name="temperature", value="0.2", client_id="s")
        answer = await page.next("settings", lambda message: bool(message["sentence"]))
        assert (answer["sentence"], answer["refused"]) == (_SORRY, True)
    assert parts.panel.values == {}


async def test_a_button_counts_only_where_it_stands() -> None:
    parts = Parts()
    async with parts.server().serving() as address, visit(address) as page:
        await page.type("hello")
        answer = await page.answer()
        mine = next(each for each in await parts.posts.load(10) if each.kind == "person")
        for action, message_id in (("regenerate", mine.id), ("continue", "nowhere"), ("regenerate", "")):
            await page.say("action", action=action, message_id=message_id, client_id=f"{action}{message_id}")
            assert "no longer works" in (await page.next("error"))["sentence"]
        await page.say("action", action="stop", message_id=answer["id"], client_id="late")
        await page.say("action", action="regenerate", message_id=answer["id"], client_id="there")
        await page.answer()
    assert [incoming.text for incoming in parts.bot.incoming] == ["hello", "/regenerate"]
