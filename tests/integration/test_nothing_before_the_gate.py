"""For whoever is refused nothing is fetched, opened, taken back, posted or changed, and no form opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bots.access.allow_list import Access
from tests.integration.discord_parts import labels
from tests.integration.discord_parts import party as discord_party
from tests.integration.telegram_parts import answer_to
from tests.integration.telegram_parts import party as telegram_party
from tests.servers.discord import DiscordServer
from tests.servers.discord_people import Person
from tests.servers.discord_world import Room
from tests.servers.telegram import telegram, until

pytestmark = pytest.mark.timeout(60)
_FORM = 9
_NOT_HERE = "I don't answer here"


def only(allowed: set[str]) -> Access:
    return Access(allowed_users=allowed, strangers="refuse")


async def test_an_edit_by_somebody_who_is_not_let_in_any_more_takes_no_answer_back(tmp_path: Path) -> None:
    allowed = {"telegram:1"}
    async with telegram() as server:
        ann = server.person("Ann", 1)
        essay = {"match": "essay", "answer": "word " * 1800}
        async with telegram_party(server, tmp_path, essay, access=only(allowed)):
            question = ann.says("an essay")
            await until(lambda: any("Regenerate" in each.buttons for each in ann.private.answers))
            shown = len(ann.private.answers)
            assert shown > 1
            allowed.clear()
            ann.edits(question, "another essay")
            await until(lambda: any("whom my operator" in each.text for each in ann.private.answers))
            assert len(ann.private.answers) == shown + 1


async def test_no_file_is_fetched_beyond_the_rate_on_telegram(tmp_path: Path) -> None:
    async with telegram() as server:
        ann = server.person("Ann", 1)
        async with telegram_party(server, tmp_path, access=Access(requests_per_minute=2)):
            for _ in range(2):
                await answer_to(ann.shows(b"12345"), ann.private)
            fetched = server.methods.count("getFile")
            ann.shows(b"12345")
            await until(lambda: any("in a minute" in each.text for each in ann.private.answers))
            assert server.methods.count("getFile") == fetched


async def test_a_group_is_sent_no_more_for_one_person_than_it_takes(tmp_path: Path) -> None:
    """One call a reply: what was refused beyond that costs nobody in the chat anything."""
    async with telegram() as server:
        ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
        # Ten calls in a minute, as the limit of the group; three quarters are for her, and the panel has taken one.
        async with telegram_party(server, tmp_path, access=Access(requests_per_minute=60), group_interval_s=6):
            panel = await answer_to(ann.says("/settings@party_bot", group), group)
            queries = [ann.presses(panel, "precise" if n % 2 else "creative", group) for n in range(30)]
            await until(lambda: not server.world.queries.intersection(queries))
            said = dict(server.world.toasts)
            done = [query for query in queries if "You're now on" in said[query]]
            assert len(done) == 6
            told = [query for query in queries if "in a minute" in said[query]]
            assert len(told) == 1
            bob.presses(panel, "creative", group)


async def test_on_discord_no_form_opens_and_none_that_is_open_counts(tmp_path: Path) -> None:
    allowed: set[str] = set()
    async with discord_party(tmp_path, access=only(allowed)) as p:
        allowed.add(f"discord:{p.ann.id}")
        form = await p.ann.calls(p.room, "settings advanced")
        await p.discord.until(lambda: form.kind == _FORM)
        allowed.clear()
        sent = await p.ann.submits(form, {form.data["components"][0]["label"]: "5"})
        await p.discord.until(lambda: sent.private)
        assert "whom my operator" in sent.private[0]["content"]
        assert await p.storage.preferences(f"discord:{p.ann.id}") == {}
        for command in ("settings advanced", "ask", "code"):
            refused = await p.ann.calls(p.room, command)
            await p.discord.until(lambda refused=refused: refused.kind)  # type: ignore[misc]
            assert refused.kind != _FORM
            assert "whom my operator" in refused.private[0]["content"]


async def test_on_discord_no_thread_is_opened_and_no_file_fetched(tmp_path: Path) -> None:
    async with discord_party(tmp_path, access=only({"discord:1"}), threads=True) as p:
        await p.ann.says(p.room, "@bot hello", attachments=[p.discord.attach("a.png", b"x" * 9)])
        await p.discord.until(lambda: p.answers())
        assert "whom my operator" in p.answers()[0]["content"]
        assert not any(call.path.endswith("/threads") or "attachments" in call.path for call in p.discord.calls)


async def _presses(discord: DiscordServer, person: Person, room: Room, message: dict[str, Any], name: str) -> Any:
    """As a modified client can: a button that the message does not show."""
    data = {"custom_id": f"partyline:{name}", "component_type": 2}
    return await discord.interact(person, room, 3, data, message=dict(message))


async def test_on_discord_a_button_counts_only_where_it_stands(tmp_path: Path) -> None:
    """The library looks for it in the message of the interaction, and drops the press."""
    async with discord_party(tmp_path) as p:
        await p.ann.says(p.room, "@bot sum")
        answer = await p.answer()
        assert labels(answer) == ["Regenerate"]
        pressed = [await _presses(p.discord, p.ann, p.room, answer, name) for name in ("continue", "stop", "thinking")]
        await p.ann.presses(p.room, answer, "Regenerate")
        await p.discord.until(lambda: len(p.answers()) == 2)
        assert [each.kind for each in pressed] == [0, 0, 0]


async def test_reasoning_that_is_folded_opens_for_the_asker_alone(tmp_path: Path) -> None:
    async with discord_party(tmp_path) as p:
        await p.set("thinking", "hide")
        await p.ann.says(p.room, "@bot sum")
        answer = await p.answer()
        other = await p.discord.person("Bob", permissions=1 << 13).presses(p.room, answer, "Show thinking")
        await p.discord.until(lambda: other.private)
        assert "two and two" not in other.private[0]["content"]
        own = await p.ann.presses(p.room, answer, "Show thinking")
        await p.discord.until(lambda: own.private)
        assert "two and two" in own.private[0]["content"]


@pytest.mark.parametrize("only_there", [{"guilds": ["1"]}, {"roles": ["1"]}])
async def test_where_the_operator_wants_no_answers_on_discord_nothing_works(
    tmp_path: Path, only_there: dict[str, Any]
) -> None:
    """Buttons and menus of before are no way around the servers and roles that the operator has chosen."""
    async with discord_party(tmp_path) as p:
        await p.set("thinking", "hide")
        await p.ann.says(p.room, "@bot sum")
        answer = await p.answer()
        begun = await p.ann.calls(p.room, "reset")
        await p.discord.until(lambda: begun.private)
        admin = p.discord.person("Admin", 1 << 5)
        async with discord_party(tmp_path, discord=p.discord, storage=p.storage, **only_there):
            used = [
                await p.ann.presses(p.room, answer, "Show thinking"),
                await p.ann.chooses(p.room, "Continue from here", answer),
                await p.ann.chooses(p.room, "Caption image", answer),
                await admin.calls(p.room, "partyline limits", setting="max_tokens", highest="50"),
            ]
            await p.discord.until(lambda: all(each.private for each in used))
            assert [_NOT_HERE in each.private[0]["content"] for each in used] == [True] * len(used)
            assert await p.storage.head(f"discord:{p.room.id}", f"discord:{p.ann.id}") is None


async def test_where_a_servers_admins_want_no_answers_only_they_can_change_that(tmp_path: Path) -> None:
    async with discord_party(tmp_path) as p:
        await p.set("thinking", "hide")
        await p.ann.says(p.room, "@bot sum")
        answer = await p.answer()
        form = await p.ann.calls(p.room, "settings advanced")
        await p.discord.until(lambda: form.kind == _FORM)
        admin, other = p.discord.person("Admin", 1 << 5), p.discord.room("elsewhere")
        added = await admin.calls(other, "partyline channels", change="add")
        await p.discord.until(lambda: added.private)
        used = [
            await p.ann.presses(p.room, answer, "Show thinking"),
            await p.ann.submits(form, {form.data["components"][0]["label"]: "5"}),
        ]
        await p.discord.until(lambda: all(each.private for each in used))
        assert [_NOT_HERE in each.private[0]["content"] for each in used] == [True, True]
        assert set(await p.storage.preferences(f"discord:{p.ann.id}")) == {"thinking"}
        everywhere = await admin.calls(p.room, "partyline channels", change="everywhere")
        await p.discord.until(lambda: everywhere.private)
        assert _NOT_HERE not in everywhere.private[0]["content"]
