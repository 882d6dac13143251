"""What stands in the bot's way on Discord: each has its sentence or its silent end, and no slot stays taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bots.ports import Received
from tests.integration.discord_parts import Party, Troubled, is_complete, party
from tests.servers.discord import DiscordServer
from tests.servers.discord_world import Room

LONG = {"match": "pages", "answer": "word " * 3500}


async def growing(p: Party, room: Room) -> dict[str, Any]:
    return dict(await p.discord.until(lambda: next((m for m in p.answers(room) if "word" in m["content"]), None)))


async def lose_the_right_to_edit(p: Party, room: Room) -> None:
    room.forbidden |= {"send", "edit"}


async def delete_the_channel(p: Party, room: Room) -> None:
    del p.discord.rooms[room.id]
    await p.discord.dispatch("CHANNEL_DELETE", p.discord.channel_of(room))


async def delete_the_answer(p: Party, room: Room) -> None:
    await p.discord.delete(room, p.answers(room)[0]["id"])


async def lock_the_thread(p: Party, room: Room) -> None:
    room.archived = room.locked = True


Obstacle = Callable[[Party, Room], Awaitable[None]]


@pytest.mark.parametrize(
    "happens",
    [lose_the_right_to_edit, delete_the_channel, delete_the_answer, lock_the_thread],
    ids=lambda obstacle: obstacle.__name__,
)
async def test_in_mid_answer_it_frees_the_slot_and_others_do_not_notice(tmp_path: Path, happens: Obstacle) -> None:
    async with party(tmp_path, slots=1) as p:
        room = p.discord.room("elsewhere", kind=11, parent=p.room.id)
        await p.discord.dispatch("GUILD_CREATE", p.discord.guild_now())
        await p.ann.says(room, "@bot slow")
        await growing(p, room)
        await happens(p, room)
        await p.discord.person("Bob").says(p.room, "@bot hello")
        assert (await p.answer())["content"].startswith("hello")


async def test_somebody_who_blocks_the_bot_costs_nothing(tmp_path: Path) -> None:
    async with party(tmp_path, slots=1) as p:
        direct = p.discord.direct(p.ann)
        direct.forbidden |= {"send", "edit"}
        await p.ann.says(direct, "slow")
        await p.discord.person("Bob").says(p.room, "@bot hello")
        assert (await p.answer())["content"].startswith("hello")
        assert p.answers(direct) == []


async def test_without_leave_to_attach_files_the_words_come_alone(tmp_path: Path) -> None:
    async with party(tmp_path, LONG, max_tokens=4096) as p:
        p.room.forbidden.add("attach")
        await p.ann.says(p.room, "@bot pages")
        await p.discord.until(lambda: sum(message["content"].count("word") for message in p.answers()) == 3500)
        await p.ann.says(p.room, "@bot hello")
        assert (await p.answer())["content"].startswith("hello")
        assert not any(message["attachments"] for message in p.answers())


async def test_with_leave_a_long_answer_is_a_file_too(tmp_path: Path) -> None:
    async with party(tmp_path, LONG, max_tokens=4096) as p:
        await p.ann.says(p.room, "@bot pages")
        [file] = await p.discord.until(lambda: [file for message in p.answers() for file in message["attachments"]])
        assert file["filename"] == "answer.md"


async def test_slow_mode_delays_an_answer_and_loses_nothing_of_it(tmp_path: Path) -> None:
    line = {"match": "pages", "answer": "word " * 700}
    async with party(tmp_path, line) as p:
        p.room.slow_s = 3.0
        await p.ann.says(p.room, "@bot pages")
        await p.discord.until(lambda: sum(message["content"].count("word") for message in p.answers()) == 500)
        assert any(call.status == 429 for call in p.discord.calls)


async def test_a_question_to_a_channel_that_it_may_not_write_in_is_no_loss_later(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        p.room.forbidden |= {"send"}
        await p.ann.says(p.room, "@bot hello")
        used = await p.ann.calls(p.room, "ask", prompt="by command")
        await p.discord.until(lambda: used.original and used.original["content"].startswith("by command"))
        p.room.forbidden.clear()
        await p.ann.says(p.room, "@bot again")
        assert (await p.answer())["content"].startswith("again")
        assert [message["content"].splitlines()[0] for message in p.answers()] == ["by command", "again"]


async def test_an_acknowledgement_that_was_lost_is_sent_again(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        p.discord.lost_acknowledgements = 2
        used = await p.ann.calls(p.room, "settings temperature", value=0.3)
        await p.discord.until(lambda: used.private)
        assert "0.3" in used.private[0]["content"]


async def test_an_acknowledgement_that_nobody_heard_of_holds_nothing_up(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.set("thinking", "hide")
        await p.ann.says(p.room, "@bot sum")
        answer = await p.answer()
        p.discord.unheard_acknowledgements = 1
        pressed = await p.ann.presses(p.room, answer, "Show thinking")
        await p.discord.until(lambda: pressed.private)
        assert pressed.private[0]["content"] == "two and two"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the database refuses is not tried again."""
    monkeypatch.setattr("adapters.discord.client.retry.PATIENCE_S", 0.0)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again at once."""
    for pause in ("_FIRST_PAUSE_S", "_LAST_PAUSE_S"):
        monkeypatch.setattr(f"adapters.discord.client.retry.{pause}", 0.05)


SORRY = "Sorry, something went wrong"


@pytest.mark.usefixtures("eager")
async def test_a_message_waits_for_the_database_and_keeps_its_place(tmp_path: Path) -> None:
    storage = Troubled()
    async with party(tmp_path, storage=storage) as p:
        storage.fails = lambda call: call.startswith("receive") and p.ann.id in call
        await p.ann.says(p.room, "@bot one")
        await p.ann.says(p.room, "@bot two")
        await p.discord.person("Bob").says(p.room, "@bot meanwhile")
        assert (await p.answer())["content"].startswith("meanwhile")
        # A restart would look for what is newer than the mark.
        assert p.room.id not in await storage.preferences(f"read:discord:{p.discord.bot['id']}")
        storage.fails = lambda call: False
        await p.discord.until(lambda: len(p.answers()) == 3 and all(map(is_complete, p.answers())))
        assert [answer["content"].splitlines()[0] for answer in p.answers()] == ["meanwhile", "one", "two"]
        assert p.room.id in await storage.preferences(f"read:discord:{p.discord.bot['id']}")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("refused", ["receive", "preferences place:"])
@pytest.mark.parametrize("threads", [False, True])
async def test_a_message_that_cannot_be_kept_gets_a_sentence(tmp_path: Path, refused: str, threads: bool) -> None:
    storage = Troubled()
    async with party(tmp_path, storage=storage, threads=threads) as p:
        storage.fails = lambda call: call.startswith(refused)
        question = await p.ann.says(p.room, "@bot hello")
        room = await p.discord.until(lambda: p.discord.rooms.get(question["id"])) if threads else p.room
        assert (await p.answer(room))["content"].startswith(SORRY)


async def test_after_a_sentence_about_a_failure_the_answer_comes_in_the_same_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends before it has marked the event."""
    storage = Troubled()

    def odd(event: object) -> None:
        raise RuntimeError("nobody has foreseen this")

    async with DiscordServer().serving() as discord:
        with monkeypatch.context() as patch:
            patch.setattr("adapters.discord.inbound.event_handler._where_it_was_asked", odd)
            async with party(tmp_path, discord=discord, storage=storage) as up:
                storage.fails = lambda call: call.startswith("answered")
                await up.ann.says(up.room, "@bot hello")
                await discord.until(lambda: any(each["content"].startswith(SORRY) for each in up.answers()))
        storage.fails = lambda call: False
        async with party(tmp_path, discord=discord, storage=storage) as p:
            await discord.until(lambda: any("hello" in each["content"] for each in p.answers()))
            assert (await p.answer())["content"].startswith("hello")
            assert len(p.answers()) == 1


@pytest.mark.usefixtures("impatient")
async def test_what_cannot_be_kept_because_it_stops_is_heard_by_the_next_start(tmp_path: Path) -> None:
    storage, stopping, tried = Troubled(), asyncio.Event(), asyncio.Event()

    def refuses(call: str) -> bool:
        if call.startswith("receive"):
            stopping.set()
            tried.set()
            return True
        return False

    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord, storage=storage, stopping=stopping) as up:
            await up.ann.says(up.room, "@bot hello")
            await up.answer()
            storage.fails = refuses
            await up.ann.says(up.room, "@bot whole")
            await tried.wait()
        storage.fails = lambda call: False
        async with party(tmp_path, discord=discord, storage=storage) as p:
            assert (await p.answer())["content"].startswith("whole")
            assert not any(each["content"].startswith(SORRY) for each in p.answers())


@pytest.mark.usefixtures("impatient")
async def test_a_command_that_cannot_be_kept_gets_a_sentence(tmp_path: Path) -> None:
    storage = Troubled()
    async with party(tmp_path, storage=storage) as p:
        storage.fails = lambda call: call.startswith("receive")
        p.discord.latency_s = 0.1  # it fails while the acknowledgement is on its way
        used = [await p.ann.calls(p.room, "ask", prompt="hello"), await p.ann.calls(p.room, "temperature", number=0.4)]
        found = await p.discord.until(lambda: (found := [each.original for each in used]) and all(found) and found)
        assert all(message["content"].startswith(SORRY) for message in found)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("label", "refused"), [("Regenerate", "receive"), ("Show thinking", "answer_at")])
async def test_a_button_that_cannot_do_its_work_says_so(tmp_path: Path, label: str, refused: str) -> None:
    storage = Troubled()
    async with party(tmp_path, storage=storage) as p:
        await p.set("thinking", "hide")
        await p.ann.says(p.room, "@bot sum")
        answer = await p.answer()
        storage.fails = lambda call: call.startswith(refused)
        pressed = await p.ann.presses(p.room, answer, label)
        await p.discord.until(lambda: pressed.private)
        assert pressed.private[0]["content"].startswith(SORRY)


@pytest.mark.usefixtures("impatient")
async def test_a_form_that_cannot_be_kept_gets_a_sentence(tmp_path: Path) -> None:
    storage = Troubled()
    async with party(tmp_path, storage=storage) as p:
        form = await p.ann.calls(p.room, "code")
        await p.discord.until(lambda: form.kind)
        storage.fails = lambda call: call.startswith("receive")
        sent = await p.ann.submits(form, {"What should I do?": "sort a list"})
        await p.discord.until(lambda: sent.original)
        assert sent.original is not None
        assert sent.original["content"].startswith(SORRY)


@pytest.mark.usefixtures("eager")
async def test_what_was_typed_into_a_form_waits_for_the_database(tmp_path: Path) -> None:
    storage = Troubled()
    async with party(tmp_path, storage=storage) as p:
        form = await p.ann.calls(p.room, "code")
        await p.discord.until(lambda: form.kind)
        refusals = iter([True])
        storage.fails = lambda call: call.startswith("receive") and next(refusals, False)
        sent = await p.ann.submits(form, {"What should I do?": "sort a list"})
        await p.discord.until(lambda: sent.original and "sort a list" in sent.original["content"])


async def test_what_takes_the_database_long_is_acknowledged_first(tmp_path: Path) -> None:
    storage = Troubled()
    async with party(tmp_path, storage=storage) as p:
        form = await p.ann.calls(p.room, "settings advanced")
        await p.discord.until(lambda: form.kind)
        said = await p.ann.says(p.room, "to somebody else")
        storage.works.clear()
        admin = p.discord.person("Ada", permissions=1 << 5)
        used = [
            await p.ann.submits(form, {"Top-k": "40"}),
            await p.ann.chooses(p.room, "Continue from here", said),
            await admin.calls(p.room, "partyline channels", change="show"),
            await admin.calls(p.room, "partyline limits", setting="max_tokens"),
        ]
        await p.discord.until(lambda: [each.kind for each in used] == [5] * 4)
        storage.works.set()
        await p.discord.until(lambda: all(each.private for each in used))
        words = ("Top-k is now 40", "none of my answers", "every channel", "no bound of this server")
        assert all(word in each.private[0]["content"] for word, each in zip(words, used, strict=True))


async def test_what_must_be_known_before_an_acknowledgement_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("inbound.interaction_intake", "commands.settings_group"):
        monkeypatch.setattr(f"adapters.discord.{part}.IN_TIME_S", 0.05)
    storage = Troubled()
    async with party(tmp_path, storage=storage) as p:
        storage.works.clear()
        strange = await p.ann.calls(p.room, "ask", prompt="hello")
        await p.discord.until(lambda: strange.private)
        storage.works.set()
        await p.set("temperature", 0.3)  # what this server's admins want is known from here on
        storage.works.clear()
        form = await p.ann.calls(p.room, "settings advanced")
        await p.discord.until(lambda: form.private)
        assert all(used.private[0]["content"].startswith(SORRY) for used in (strange, form))
        storage.works.set()


@pytest.mark.usefixtures("eager")
async def test_what_was_missed_is_found_once_the_database_says_where_to_look(tmp_path: Path) -> None:
    storage = Troubled()
    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord, storage=storage) as up:
            await up.ann.says(up.room, "@bot before")
            await up.answer()
        await up.ann.says(up.room, "@bot meanwhile")
        discord.clock_s += 600
        storage.fails = lambda call: call.startswith("preferences read:")
        async with party(tmp_path, discord=discord, storage=storage) as p:
            await discord.person("Bob").says(p.room, "@bot live")
            assert (await p.answer())["content"].startswith("live")
            storage.fails = lambda call: False
            await discord.until(lambda: len(p.answers()) == 3)
            assert (await p.answer())["content"].startswith("meanwhile")


@pytest.mark.usefixtures("eager")
async def test_what_was_left_is_taken_up_once_the_database_is_back(tmp_path: Path) -> None:
    storage, refusals = Troubled(), iter([True, True])
    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord, storage=storage) as up:
            await up.ann.says(up.room, "@bot slow")
            await discord.until(lambda: "word" in "".join(answer["content"] for answer in up.answers()))
        left = up.answers()[0]["content"].count("word")
        storage.fails = lambda call: call.startswith("unanswered") and next(refusals, False)
        async with party(tmp_path, discord=discord, storage=storage) as p:
            await discord.until(lambda: p.answers()[0]["content"].count("word") > left)
        assert list(refusals) == []


async def test_one_that_cannot_be_marked_holds_up_no_other_that_was_left(tmp_path: Path) -> None:
    storage = Troubled()
    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord, storage=storage) as up:
            await up.ann.says(up.room, "@bot slow")
            await discord.until(lambda: "word" in "".join(answer["content"] for answer in up.answers()))
        left = up.answers()[0]["content"].count("word")
        old = Received(account=f"discord:{discord.bot['id']}", id="old", chat="c", payload="of another version")
        await storage.receive([old])
        storage.fails = lambda call: call == "answered old"
        async with party(tmp_path, discord=discord, storage=storage) as p:
            await discord.until(lambda: p.answers()[0]["content"].count("word") > left)


@pytest.mark.usefixtures("eager", "impatient")
async def test_nobody_is_told_that_a_message_is_lost_which_may_have_been_answered(tmp_path: Path) -> None:
    storage, refusals = Troubled(), iter([True] * 5)
    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord, storage=storage) as up:
            await up.ann.says(up.room, "@bot before")
            await up.answer()
        await up.ann.says(up.room, "@bot meanwhile")
        storage.fails = lambda call: call.startswith("receive") and next(refusals, False)
        async with party(tmp_path, discord=discord, storage=storage) as p:
            await discord.until(lambda: len(p.answers()) == 2 and all(map(is_complete, p.answers())))
    assert list(refusals) == []
    assert [answer["content"].splitlines()[0] for answer in p.answers()] == ["before", "meanwhile"]
