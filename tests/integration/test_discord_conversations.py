"""What people see on Discord, as conversations with the unmodified library over a real connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.discord.inbound import message_events
from adapters.discord.inbound.events import DiscordEvent
from adapters.storage.memory.storage import MemoryStorage
from bots.access.allow_list import Access
from tests.integration.discord_parts import is_complete, labels, party
from tests.servers.discord import DiscordServer


async def test_a_mention_is_answered_by_one_message_that_grows(tmp_path: Path) -> None:
    line = {"match": "tide", "answer": "The moon pulls. " * 20, "tokens_per_s": 30}
    async with party(tmp_path, line) as p:
        question = await p.ann.says(p.room, "@bot what makes the tide?")
        answer = await p.answer()
        assert len(p.answers()) == 1
        assert answer["content"].startswith("The moon pulls. " * 19)
        assert "scripted" in answer["content"].splitlines()[-1]
        assert len(answer["history"]) >= 3
        assert [len(text) for text in answer["history"][1:]] == sorted(len(text) for text in answer["history"][1:])
        assert answer["message_reference"]["message_id"] == question["id"]
        assert answer["allowed_mentions"]["parse"] == []
        assert answer["flags"] & 4, "links show no previews"
        assert labels(answer) == ["Regenerate"]


async def test_nobody_is_answered_who_did_not_ask(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "I wonder what the bot thinks")
        await p.ann.says(p.room, "@bot hello")
        assert (await p.answer())["content"].startswith("hello")
        assert len(p.answers()) == 1


async def test_a_direct_message_needs_no_mention(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        direct = p.discord.direct(p.ann)
        await p.ann.says(direct, "between us")
        assert (await p.answer(direct))["content"].startswith("between us")


async def test_a_reply_to_an_older_answer_branches_the_conversation_there(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot first")
        first = await p.answer()
        await p.ann.says(p.room, "@bot second")
        await p.answer()
        await p.ann.says(p.room, "third", to=first)
        third = await p.answer()
        answer_id = None
        while answer_id is None:  # it is recorded a moment after it is visible
            await asyncio.sleep(0.01)
            answer_id = await p.storage.answer_at(f"discord:{p.room.id}", third["id"])
        branch = await p.storage.branch(answer_id, 10)
        assert [turn.text for turn in branch] == ["first", "first", "third", "third"]


async def test_a_reply_to_somebody_else_takes_their_words_along(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        bob = p.discord.person("Bob")
        said = await bob.says(p.room, "The earth is flat.")
        await p.ann.says(p.room, "@bot is that so?", to=said)
        answer = await p.answer()
        assert "Written by Bob:\n\n> The earth is flat" in answer["content"]
        assert "is that so?" in answer["content"]


@pytest.mark.parametrize("name", ["/reset", "/settings stop e,", "/stop", "/regenerate", "/help"])
async def test_a_name_is_no_command_of_whoever_replies(tmp_path: Path, name: str) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot first")
        await p.answer()
        eve = p.discord.person("Eve")
        eve.user["global_name"] = name
        before = await p.storage.preferences(f"discord:{p.ann.id}")
        await p.ann.says(p.room, "@bot is that so?", to=await eve.says(p.room, "The earth is flat."))
        await p.discord.until(lambda: len(p.answers()) == 2)
        assert "is that so?" in (await p.answer())["content"]
        assert await p.storage.preferences(f"discord:{p.ann.id}") == before
        await p.ann.says(p.room, "@bot last")
        await p.discord.until(lambda: len(p.answers()) == 3)
        chat, answer = f"discord:{p.room.id}", await p.answer()
        while (answer_id := await p.storage.answer_at(chat, answer["id"])) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await p.storage.branch(answer_id, 10))[0].text == "first"


async def test_what_is_forwarded_to_it_is_read(tmp_path: Path) -> None:
    discord = DiscordServer()
    listened, other = discord.room(), discord.room("other")
    async with discord.serving(), party(tmp_path, discord=discord, listen=[listened.id]) as p:
        direct = discord.direct(p.ann)
        code = await discord.person("Bob").says(other, "print(1)")
        picture = await p.ann.says(other, "", attachments=[discord.attach("cat.png", b"x" * 77)])
        await p.ann.forwards(direct, code, other)
        assert (await p.answer(direct))["content"].startswith("Forwarded message:\n\n> print(1)")
        await p.ann.forwards(direct, picture, other)
        assert "a picture of 77 bytes" in (await p.answer(direct))["content"]
        await p.ann.forwards(listened, code, other)
        assert "print(1)" in (await p.answer(listened))["content"]


async def test_what_cannot_be_fetched_is_left_out_of_the_question(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        first = await p.discord.person("Bob").says(p.room, "a deep thought")
        second = await p.discord.person("Eve").says(p.room, "another one", to=first)
        p.discord.breaks = [f"/messages/{first['id']}"] * 2  # the first one is tried again at once
        await p.ann.says(p.room, "@bot what is that?", to=second)
        assert (await p.answer())["content"].startswith("Written by Eve:")
        assert p.discord.breaks == []


async def test_a_reply_to_what_was_forwarded_takes_it_along(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        bob, other = p.discord.person("Bob"), p.discord.room("other")
        file = p.discord.attach("sort.py", b"sorted([2, 1])", "text/x-python")
        said = await bob.says(other, "print(1)", attachments=[file])
        handed_on = await bob.forwards(p.room, said, other)
        await p.ann.says(p.room, "@bot explain", to=handed_on)
        content = (await p.answer())["content"]
        assert content.startswith("Written by Bob:\n\n> Forwarded message:")
        assert content.index("print(1)") < content.index("explain") < content.index("sorted([2, 1])")
        assert not any(call.status == 404 for call in p.discord.calls), "it is looked for in no other channel"


async def test_code_that_was_forwarded_is_explained(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        other = p.discord.room("other")
        handed_on = await p.ann.forwards(p.room, await p.ann.says(other, "print(1)"), other)
        used = await p.ann.chooses(p.room, "Explain this code", handed_on)
        await p.discord.until(lambda: used.original and "print(1)" in used.original["content"])


async def test_in_a_thread_of_the_bot_nobody_needs_to_mention_it(tmp_path: Path) -> None:
    async with party(tmp_path, threads=True) as p:
        question = await p.ann.says(p.room, "@bot plan my garden")
        thread = await p.discord.until(lambda: p.discord.rooms.get(question["id"]))
        assert (await p.answer(thread))["content"].startswith("plan my garden")
        assert thread.name == "plan my garden"
        await p.ann.says(thread, "and the roses?")
        assert (await p.answer(thread))["content"].startswith("and the roses?")
        assert p.answers(p.room) == []


async def test_without_leave_to_open_threads_it_answers_in_the_channel(tmp_path: Path) -> None:
    async with party(tmp_path, threads=True) as p:
        p.room.forbidden.add("threads")
        await p.ann.says(p.room, "@bot hello")
        assert (await p.answer())["content"].startswith("hello")


async def test_back_to_back_messages_are_one(tmp_path: Path) -> None:
    async with party(tmp_path, together_s=0.3) as p:
        await p.ann.says(p.room, "@bot one moment")
        await p.ann.says(p.room, "here is the rest")
        answer = await p.answer()
        assert answer["content"].startswith("one moment\nhere is the rest")
        assert len(p.answers()) == 1


async def test_a_picture_gets_its_caption(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot", attachments=[p.discord.attach("cat.png", b"x" * 77)])
        assert "a picture of 77 bytes" in (await p.answer())["content"]


async def test_code_in_a_file_goes_into_the_prompt(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        file = p.discord.attach("sort.py", b"print(sorted([2, 1]))", "text/x-python; charset=utf-8")
        await p.ann.says(p.room, "@bot explain", attachments=[file])
        assert "explain\n\nFile sort.py:\n\n```py\nprint(sorted([2, 1]))\n```" in (await p.answer())["content"]


async def test_any_other_file_gets_a_sentence(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot", attachments=[p.discord.attach("a.zip", b"PK", "application/zip")])
        assert (await p.answer())["content"].startswith("I can't read `a.zip`")


async def test_files_of_other_hosts_are_not_fetched(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        file = p.discord.attach("cat.png", b"x") | {"url": f"http://localhost:{p.discord.port}/files/secret"}
        await p.ann.says(p.room, "@bot", attachments=[file])
        assert (await p.answer())["content"].startswith("I couldn't fetch `cat.png`")


async def test_stop_ends_an_answer_at_once(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot slow")
        growing = await p.discord.until(lambda: next((m for m in p.answers() if "word" in m["content"]), None))
        assert labels(growing) == ["Stop"]
        pressed = await p.ann.presses(p.room, growing, "Stop")
        stopped = await p.answer()
        assert "stopped" in stopped["content"]
        assert labels(stopped) == ["Continue", "Regenerate"]
        assert pressed.private == []


async def test_only_the_asker_or_a_moderator_may_stop(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot slow")
        growing = await p.discord.until(lambda: next((m for m in p.answers() if "word" in m["content"]), None))
        stranger = await p.discord.person("Bob").presses(p.room, growing, "Stop")
        await p.discord.until(lambda: stranger.private)
        assert "somebody else" in stranger.private[0]["content"]
        moderator = p.discord.person("Mo", permissions=1 << 13)
        await moderator.presses(p.room, growing, "Stop")
        assert "stopped" in (await p.answer())["content"]


async def test_continue_goes_on_in_the_same_message(tmp_path: Path) -> None:
    line = {"match": "count", "answer": " ".join(map(str, range(60)))}
    async with party(tmp_path, line) as p:
        await p.set("max_tokens", 10)
        await p.ann.says(p.room, "@bot count")
        cut = await p.answer()
        assert labels(cut) == ["Continue", "Regenerate"]
        await p.ann.presses(p.room, cut, "Continue")
        longer = await p.discord.until(lambda: len(p.answers()[0]["content"]) > len(cut["content"]) and p.answers()[0])
        assert longer["id"] == cut["id"]


async def test_a_command_to_continue_leaves_no_waiting_message_behind(tmp_path: Path) -> None:
    line = {"match": "count", "answer": " ".join(map(str, range(60)))}
    async with party(tmp_path, line) as p:
        await p.set("max_tokens", 10)
        await p.ann.says(p.room, "@bot count")
        cut = await p.answer()
        used = await p.ann.calls(p.room, "continue")
        await p.discord.until(lambda: used.kind == 6)  # "is thinking" is gone
        assert len(p.answers()) == 1
        assert len(p.answers()[0]["content"]) > len(cut["content"])


async def test_a_refusal_is_for_the_asker_alone(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        used = await p.ann.calls(p.room, "regenerate")
        await p.discord.until(lambda: used.private)
        assert "You have no answer here" in used.private[0]["content"]
        assert p.answers() == []


async def test_what_is_for_one_person_is_never_shown_to_all(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        late = await p.ann.calls(p.room, "settings show")
        late.expired = True
        await p.ann.says(p.room, "@bot hello")
        await p.answer()
        assert late.private == []
        assert len(p.answers()) == 1


async def test_an_answer_whose_token_is_over_comes_as_a_message(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        late = await p.ann.calls(p.room, "ask", prompt="hello")
        late.expired = True
        assert (await p.answer())["content"].startswith("hello")


async def test_where_only_a_person_brought_it_the_token_does_all(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        elsewhere = p.discord.direct(p.discord.person("Bob"))
        elsewhere.forbidden |= {"send", "edit"}
        used = await p.ann.calls(elsewhere, "ask", prompt="slow")
        await p.discord.until(lambda: used.original and "word" in used.original["content"])
        await p.ann.presses(elsewhere, used.original, "Stop")  # type: ignore[arg-type]
        assert "stopped" in (await p.answer(elsewhere))["content"]


async def test_a_person_takes_it_along_to_a_server_that_does_not_know_it(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        abroad = p.discord.room("abroad", guild=p.discord.new_id())
        abroad.forbidden |= {"send", "edit", "history", "attach"}
        used = await p.ann.calls(abroad, "ask", prompt="hello")
        await p.discord.until(lambda: used.original and used.original["content"].startswith("hello"))
        again = await p.ann.presses(abroad, used.original, "Regenerate")  # type: ignore[arg-type]
        await p.discord.until(lambda: len(p.answers(abroad)) == 2)
        assert again.private == []


async def test_a_long_answer_may_be_followed_by_a_ping_of_the_asker_alone(tmp_path: Path) -> None:
    async with party(tmp_path, ping_after_s=0.001) as p:
        await p.ann.says(p.room, "@bot hello")
        await p.discord.until(lambda: len(p.answers()) == 2)
        ping = p.answers()[1]
        assert ping["content"] == f"<@{p.ann.id}> Your answer is complete."
        assert ping["allowed_mentions"] == {"users": [p.ann.id]}


async def test_an_archived_thread_is_opened_again_and_a_locked_one_left_alone(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        archived, locked = (p.discord.room(n, kind=11, parent=p.room.id, archived=True) for n in ("old", "shut"))
        locked.locked = True
        await p.discord.dispatch("GUILD_CREATE", p.discord.guild_now())
        await p.ann.says(locked, "@bot hello")
        await p.ann.says(archived, "@bot hello")
        assert (await p.answer(archived))["content"].startswith("hello")
        assert p.answers(locked) == []


async def test_without_the_history_an_answer_is_no_reply(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        p.room.forbidden.add("history")
        await p.ann.says(p.room, "@bot hello")
        answer = await p.answer()
        assert answer["content"].startswith("hello")
        assert "message_reference" not in answer


async def test_an_older_menu_still_works(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        used = await p.ann.calls(p.room, "temperature", number=0.4)
        await p.discord.until(lambda: used.private)
        assert used.private[0]["content"].startswith("Temperature is now 0.4")


async def test_its_status_line_shows_that_it_is_there(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        shown = await p.discord.until(lambda: p.discord.presence)
        assert shown["activities"][0]["state"] == "Ready: /help"


async def test_a_deleted_question_frees_the_slot(tmp_path: Path) -> None:
    async with party(tmp_path, slots=1) as p:
        question = await p.ann.says(p.room, "@bot slow")
        await p.discord.until(lambda: next((m for m in p.answers() if "word" in m["content"]), None))
        await p.discord.delete(p.room, question["id"])
        assert "stopped" in (await p.answer())["content"]


async def test_a_question_that_was_purged_with_others_frees_the_slot(tmp_path: Path) -> None:
    async with party(tmp_path, slots=1) as p:
        await p.ann.says(p.room, "@bot slow")
        await p.discord.until(lambda: next((m for m in p.answers() if "word" in m["content"]), None))
        await p.discord.purge(p.room)
        other = p.discord.room("other")
        await p.ann.says(other, "@bot hello")
        assert (await p.answer(other))["content"].startswith("hello")


async def test_thinking_is_shown_folded_or_on_request(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot sum")
        shown = await p.answer()
        assert "||two and two||\nfour" in shown["content"]
        await p.set("thinking", "hide")
        await p.ann.says(p.room, "@bot sum again")
        hidden = await p.answer()
        assert "two and two" not in hidden["content"]
        pressed = await p.ann.presses(p.room, hidden, "Show thinking")
        await p.discord.until(lambda: pressed.private)
        assert pressed.private[0]["content"] == "two and two"


@pytest.mark.parametrize("words", ["@everyone and <@1>", "<@&5> @here", "[x](https://evil.test) https://a.test"])
async def test_what_the_model_says_pings_nobody(tmp_path: Path, words: str) -> None:
    async with party(tmp_path, {"match": "ping", "answer": words}) as p:
        await p.ann.says(p.room, "@bot ping")
        answer = await p.answer()
        assert answer["allowed_mentions"] == {"parse": [], "replied_user": False}
        assert answer["flags"] & 4


async def test_access_is_by_server_channel_and_direct_message(tmp_path: Path) -> None:
    async with party(tmp_path, dms=False) as p:
        direct = p.discord.direct(p.ann)
        await p.ann.says(direct, "hello")
        refused = await p.ann.calls(direct, "ask", prompt="hello")
        await p.discord.until(lambda: refused.private)
        assert refused.private[0]["content"].startswith("I don't answer here")
        await p.ann.says(p.room, "@bot hello")
        await p.answer()
        assert p.answers(direct) == []


async def test_nothing_is_fetched_for_somebody_who_is_not_served(tmp_path: Path) -> None:
    async with party(tmp_path, access=Access(owners=("discord:1",))) as p:
        direct = p.discord.direct(p.ann)
        await p.ann.says(direct, "look", attachments=[p.discord.attach("cat.png", b"x")])
        assert "picture" not in (await p.answer(direct))["content"]
        assert p.discord.fetched == []


async def test_admins_choose_the_channels_and_the_bounds(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        admin = p.discord.person("Ada", permissions=1 << 5)
        other = p.discord.room("other")
        said = await admin.calls(p.room, "partyline channels", change="add")
        await p.discord.until(lambda: said.private)
        assert f"<#{p.room.id}>" in said.private[0]["content"]
        bounded = await admin.calls(p.room, "partyline limits", setting="max_tokens", highest="20")
        await p.discord.until(lambda: bounded.private)
        assert "at most 20" in bounded.private[0]["content"]
        await p.ann.says(other, "@bot hello")
        await p.ann.says(p.room, "@bot long")
        assert "limit of tokens" in (await p.answer())["content"]
        assert p.answers(other) == []


async def test_buttons_of_before_a_restart_still_work(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord) as before:
            await before.ann.says(before.room, "@bot hello")
            old = await before.answer()
        async with party(tmp_path, discord=discord, storage=before.storage) as p:
            await before.ann.presses(p.room, old, "Regenerate")
            await p.discord.until(lambda: len(p.answers()) == 2)
            assert (await p.answer())["content"].startswith("hello")


async def test_what_was_written_while_it_was_down_is_answered_once(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord) as up:
            await up.ann.says(up.room, "@bot before")
            await up.answer()
        await up.ann.says(up.room, "@bot meanwhile")
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            await discord.until(lambda: len(p.answers()) == 2)
            assert (await p.answer())["content"].startswith("meanwhile")
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            await up.ann.says(p.room, "@bot after")
            await discord.until(lambda: len(p.answers()) == 3)
            assert (await p.answer())["content"].startswith("after")


async def test_an_answer_that_was_left_for_too_long_gets_an_end_and_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord) as up:
            await up.ann.says(up.room, "@bot slow")
            await discord.until(lambda: "word" in "".join(answer["content"] for answer in up.answers()))
        [left] = up.answers()
        assert labels(left) == ["Stop"]
        monkeypatch.setattr("adapters.discord.inbound.event_handler._STALE_S", 0.0)
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            await discord.until(lambda: labels(left) == ["Continue", "Regenerate"])
            assert "restarted" in left["content"]
            while await p.storage.unanswered(f"discord:{discord.bot['id']}"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            before = left["content"].count("word")
            await up.ann.presses(p.room, left, "Continue")
            await discord.until(lambda: left["content"].count("word") > before)
            assert len(p.answers()) == 1


async def test_what_was_left_for_too_long_before_a_word_was_shown_is_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.discord.inbound.event_handler._STALE_S", 0.0)
    storage = MemoryStorage()
    async with DiscordServer().serving() as discord:
        ann, room = discord.person("Ann"), discord.room()
        event = DiscordEvent(
            id=discord.new_id(), channel=room.id, guild=room.guild, author=ann.id, name="Ann", text="hello"
        )
        account = f"discord:{discord.bot['id']}"
        await storage.receive([event.received(account, 0.0)])
        async with party(tmp_path, discord=discord, storage=storage) as p:
            while await storage.unanswered(account):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert p.answers(room) == []


async def test_a_message_right_after_the_start_does_not_hide_what_was_missed(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord) as up:
            await up.ann.says(up.room, "@bot before")
            await up.answer()
        await up.ann.says(up.room, "@bot meanwhile")
        discord.clock_s += 600
        sessions = len(discord.identified)

        async def speak_at_once() -> None:
            await discord.until(lambda: len(discord.identified) > sessions)
            await discord.person("Bob").says(up.room, "@bot live")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speak_at_once())
            async with party(tmp_path, discord=discord, storage=up.storage) as p:
                await discord.until(lambda: len(p.answers()) == 3 and all(map(is_complete, p.answers())))
                assert {answer["content"].splitlines()[0] for answer in p.answers()[1:]} == {"live", "meanwhile"}


async def test_what_was_missed_is_found_behind_what_others_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.discord.inbound.catch_up._MESSAGES", 10)
    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord) as up:
            await up.ann.says(up.room, "@bot before")
            await up.answer()
            for _ in range(20):
                await up.ann.says(up.room, "to somebody else")
        await up.ann.says(up.room, "@bot meanwhile")
        async with party(tmp_path, discord=discord, storage=up.storage) as p:
            await discord.until(lambda: len(p.answers()) == 2)
            assert (await p.answer())["content"].startswith("meanwhile")


async def test_what_was_written_long_after_a_missed_question_is_another_matter(tmp_path: Path) -> None:
    async with DiscordServer().serving() as discord:
        async with party(tmp_path, discord=discord) as up:
            await up.ann.says(up.room, "@bot before")
            await up.answer()
        await up.ann.says(up.room, "@bot meanwhile")
        discord.clock_s += 3600
        await up.ann.says(up.room, "never mind")
        await up.ann.says(up.room, "@bot later")
        async with party(tmp_path, discord=discord, storage=up.storage, together_s=0.3) as p:
            await discord.until(lambda: len(p.answers()) == 3 and all(map(is_complete, p.answers())))
            assert [message["content"].splitlines()[0] for message in p.answers()[1:]] == ["meanwhile", "later"]


async def test_what_is_written_while_the_gateway_is_away_comes_once(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot one")
        await p.answer()
        await p.discord.close_connections()
        await p.ann.says(p.room, "@bot two")
        await p.discord.until(lambda: len(p.answers()) == 2)
        assert (await p.answer())["content"].startswith("two")
        assert (p.discord.resumed, p.discord.identified) == ([0], [0])


async def test_it_goes_on_without_the_intent_for_message_contents(tmp_path: Path) -> None:
    discord = DiscordServer()
    discord.refused_intents = 1 << 15
    async with discord.serving(), party(tmp_path, discord=discord) as p:
        await p.ann.says(p.room, "@bot hello")
        assert (await p.answer())["content"].startswith("hello")
        assert [bool(intents & 1 << 15) for intents in discord.intents] == [True, False]


async def test_what_is_written_while_a_session_is_lost_is_found(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot one")
        await p.answer()
        p.discord.forgets = True
        await p.discord.close_connections()
        await p.ann.says(p.room, "@bot two")
        await p.discord.until(lambda: len(p.answers()) == 2)
        assert (await p.answer())["content"].startswith("two")
        assert p.discord.identified == [0, 0]


async def test_a_post_in_a_forum_is_a_conversation(tmp_path: Path) -> None:
    discord = DiscordServer()
    forum = discord.room("help", kind=15)
    async with discord.serving(), party(tmp_path, discord=discord, listen=[forum.id]) as p:
        post = discord.room("How do I sort?", kind=11, parent=forum.id, owner=p.ann.id)
        await discord.dispatch("THREAD_CREATE", discord.channel_of(post) | {"newly_created": True})
        await p.ann.says(post, "sort a list")
        assert (await p.answer(post))["content"].startswith("sort a list")


async def test_in_a_thread_that_it_was_invited_to_nobody_needs_to_mention_it(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        thread = p.discord.room("talk", kind=11, parent=p.room.id, owner=p.ann.id)
        await p.discord.dispatch("THREAD_CREATE", p.discord.channel_of(thread) | {"newly_created": True})
        await p.ann.says(thread, "not for you")
        await p.ann.says(p.room, "@bot hello")
        await p.answer()
        await p.discord.invite(thread)
        await p.ann.says(thread, "for you")
        assert (await p.answer(thread))["content"].startswith("for you")
        assert len(p.answers(thread)) == 1


async def test_a_chain_of_replies_is_read_from_discord_where_the_bot_has_not_seen_it(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        bob, cem = p.discord.person("Bob"), p.discord.person("Cem")
        first = await bob.says(p.room, "The earth is flat.")
        second = await cem.says(p.room, "It is round.", to=first)
        await p.ann.says(p.room, "@bot who is right?", to=second)
        content = (await p.answer())["content"]
        assert content.index("Written by Bob:") < content.index("Written by Cem:") < content.index("who is right?")


async def test_what_messages_reply_to_is_read_within_a_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_events, "_READS", 1)
    async with party(tmp_path) as p:
        bob, cem = p.discord.person("Bob"), p.discord.person("Cem")
        first = await bob.says(p.room, "The earth is flat.")
        second = await bob.says(p.room, "As a pancake.", to=first)
        third = await bob.says(p.room, "And so is the moon.", to=second)
        for _ in range(2):
            await p.ann.says(p.room, "@bot who is right?", to=third)
            await p.answer()
        reads = [call.path for call in p.discord.calls if call.method == "GET" and "/messages/" in call.path]
        assert len(reads) == 1, "it brings what it replies to along"
        assert "flat" in p.answers()[0]["content"]
        assert "flat" not in p.answers()[-1]["content"]
        await cem.says(p.room, "@bot and now?", to=third)
        assert "flat" in (await p.answer())["content"], "others have their own"


async def test_every_picture_of_ten_gets_its_caption(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        pictures = [p.discord.attach(f"{n}.png", b"x" * n) for n in range(1, 11)]
        await p.ann.says(p.room, "@bot", attachments=pictures)
        content = (await p.answer())["content"]
        assert [f"a picture of {n} bytes" in content for n in range(1, 11)] == [True] * 10


async def test_a_file_beyond_the_models_context_gets_a_sentence(tmp_path: Path) -> None:
    async with party(tmp_path, context_tokens=2048) as p:
        await p.ann.says(
            p.room, "@bot explain", attachments=[p.discord.attach("a.py", b"x = 1\n" * 20_000, "text/plain")]
        )
        assert "the model reads at most" in (await p.answer())["content"]


@pytest.mark.parametrize(("permissions", "may"), [(1 << 3, True), (1 << 5, True), (1 << 13, False), (0, False)])
async def test_limits_of_a_server_are_for_those_who_may_manage_it(tmp_path: Path, permissions: int, may: bool) -> None:
    """Administrator alone is enough, whether Discord spells out what that includes or not."""
    async with party(tmp_path) as p:
        someone = p.discord.person("Mo", permissions=permissions)
        used = await someone.calls(p.room, "partyline limits", setting="max_tokens", highest="50")
        await p.discord.until(lambda: used.private)
        bounds = await p.storage.preferences(f"place:discord:{p.room.guild}")
        assert bounds == ({"max_tokens": "50"} if may else {})


async def test_an_administrator_stops_other_peoples_answers(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot slow")
        answer = await p.discord.until(lambda: next((m for m in p.answers() if "word" in m["content"]), None))
        await p.discord.person("Mo", permissions=1 << 3).presses(p.room, answer, "Stop")
        assert "stopped" in (await p.answer())["content"]


async def test_a_moderator_has_nothing_generated_on_somebody_elses_account(tmp_path: Path) -> None:
    """Who may manage messages borrows the answer to stop it, and never the person whose it is."""
    async with party(tmp_path) as p:
        await p.ann.says(p.room, "@bot hello")
        answer = await p.answer()
        moderator = p.discord.person("Mo", permissions=1 << 13)
        pressed = await moderator.presses(p.room, answer, "Regenerate")
        await p.discord.until(lambda: pressed.private or pressed.original)
        await p.ann.says(p.room, "@bot and now?")
        await p.answer()
        assert len(p.answers()) == 2
