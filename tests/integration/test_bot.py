"""The bot as people meet it: conversations over the scripted engine and a store in memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from bots import wording
from bots.bot import Bot
from bots.conversation.prompt import UNSEEN
from bots.messages import (
    Action,
    CaptionReady,
    Ended,
    Failed,
    Notice,
    QueueUpdate,
    Relabelled,
    ReplyEvent,
    Started,
    TextDelta,
    ThinkingDelta,
)
from inference.api import ChatRequest, Interrupted, Message, Unavailable
from inference.engines.port import Output, Piece
from inference.engines.scripted import ScriptedEngine
from inference.serving.service import LocalInference
from tests.fakes import Chat, FakeCaptioner, said, script, scripted_inference

SLOW = {"match": "slow", "answer": "word " * 1000, "tokens_per_s": 500}
THINK = {"match": "think", "answer": "<think>let me see</think>\n\nforty two"}
ORPHAN = {"match": "orphan", "answer": "let me see</think>\n\nforty two"}
FILLER = {"match": "filler", "answer": "filler " * 20}
PATIENT = {"match": "patient", "answer": "at last", "first_token_s": 0.6}
PONDER = {"match": "ponder", "answer": "<think>" + "hm " * 500 + "</think>\n\nforty two"}
LONG = {"match": "long", "answer": "one two three four five six seven eight nine ten eleven twelve"}


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    async with scripted_inference(
        script(tmp_path, SLOW, THINK, ORPHAN, PONDER, LONG, PATIENT, FILLER), context_tokens=400
    ) as inference:
        yield Chat(inference)


class Spy:
    """Keeps the requests that reach the model."""

    def __init__(self, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[ChatRequest] = []
        inference = bot._inference
        assert isinstance(inference, LocalInference)
        stream = inference.stream

        def spying(request: ChatRequest) -> object:
            self.requests.append(request)
            return stream(request)

        monkeypatch.setattr(inference, "stream", spying)

    @property
    def contents(self) -> list[str]:
        return [message.content for message in self.requests[-1].messages]

    async def ask(self, chat: Chat, text: str, person: str, **more: object) -> str:
        """The id of the answer."""
        asked = replace(chat.incoming(text, person), **more)  # type: ignore[arg-type]
        events = [each async for each in chat.events(asked)]
        assert isinstance(events[0], Started)
        return events[0].answer_id


def notice(events: list[ReplyEvent]) -> str:
    assert len(events) == 1
    assert isinstance(events[0], Notice)
    return events[0].text


def ended(events: list[ReplyEvent]) -> Ended:
    assert isinstance(events[-1], Ended), events
    return events[-1]


def failed(events: list[ReplyEvent]) -> str:
    assert isinstance(events[-1], Failed), events
    return events[-1].sentence


async def test_a_plain_message_is_answered(chat: Chat) -> None:
    events = await chat.say("hello there")
    assert isinstance(events[0], Started)
    assert said(events) == "hello there"
    assert ended(events).reason == "stop"
    assert ended(events).actions == (Action.REGENERATE,)


async def test_a_code_request_asks_for_a_fenced_block(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    await chat.say("/code reverse a string")
    assert spy.contents[0].startswith("reverse a string\n\n")
    assert "fenced" in spy.contents[0]


async def test_the_conversation_is_remembered_without_thinking(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    events = await chat.say("think")
    assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)) == "let me see"
    await chat.say("and then?")
    assert spy.contents == ["think", "forty two", "and then?"]


async def test_an_answer_that_turns_out_to_be_reasoning_is_kept_as_that(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(chat.bot, monkeypatch)
    events = await chat.say("orphan")
    at = events.index(Relabelled())
    assert said(events[:at]) == "let me see"
    assert said(events[at:]) == "forty two"
    assert ended(events).usage.thinking_tokens >= 3
    started = events[0]
    assert isinstance(started, Started)
    turn = await chat.storage.turn(started.answer_id)
    assert turn is not None
    assert (turn.thinking, turn.text) == ("let me see", "forty two")
    await chat.say("and then?")
    assert spy.contents == ["orphan", "forty two", "and then?"]


async def test_people_and_chats_are_apart(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    await chat.say("I am Ann", "ann")
    await chat.say("I am Bob", "bob")
    assert spy.contents == ["I am Bob"]
    await chat.say("elsewhere", "ann", chat="test:other")
    assert spy.contents == ["elsewhere"]


async def test_reset_begins_anew(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    await chat.say("first")
    assert "New conversation" in notice(await chat.say("/reset"))
    await chat.say("second")
    assert spy.contents == ["second"]


async def test_old_turns_give_way_in_pairs(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    for number in range(12):
        await chat.say(f"{number} " + "filler " * 20)
    contents = spy.contents
    assert contents[-1].startswith("11 ")
    assert len(contents) % 2 == 1
    assert contents[0][0].isdigit(), "begins with a question"
    assert len(contents) < 23


async def test_a_long_conversation_leaves_room_to_reason(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(chat.inference, LocalInference)
    engine = chat.inference._engine
    assert isinstance(engine, ScriptedEngine)
    engine._info = replace(engine.info, reasoning=True)
    for _ in range(12):
        await chat.say("filler")
    spy = Spy(chat.bot, monkeypatch)
    events = await chat.say("ponder")
    assert await chat.inference.count_tokens(spy.requests[-1].messages) <= 200
    assert (said(events), ended(events).reason) == ("forty two", "stop")
    events = await chat.say("ponder " * 250)
    assert said(events), "a question of its own may be longer than what is remembered"


async def test_an_answer_that_filled_the_context_is_continued(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(12):
        await chat.say("filler")
    events = await chat.say("slow")
    assert ended(events).reason == "length"
    spy, count = Spy(chat.bot, monkeypatch), chat.inference.count_tokens

    async def strict(parts: Sequence[Message]) -> int:
        if parts[0].role != "user":
            raise Unavailable("the template wants a question first")
        return await count(parts)

    monkeypatch.setattr(chat.inference, "count_tokens", strict)
    more = await chat.say("/continue")
    assert ended(more).reason == "length"
    assert len(said(more).split()) >= 50
    assert spy.contents[-1] == "slow"


async def test_a_prompt_over_the_context_gets_both_numbers_and_is_not_kept(chat: Chat) -> None:
    sentence = failed(await chat.say("word " * 1000))
    assert "1,004" in sentence
    assert "300" in sentence
    assert await chat.storage.head("test:room", "test:ann") is None
    assert said(await chat.say("short")) == "short"


async def test_words_that_nobody_else_could_see_reach_nobody_elses_prompt(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(chat.bot, monkeypatch)
    answer = await spy.ask(chat, "/ask think of a secret", "ann", hidden=True)
    await chat.storage.record_delivery("test:room", answer, 0, "m1")
    await spy.ask(chat, "go on from there", "bob", reply_to="m1")
    assert spy.contents[0] == UNSEEN
    assert spy.contents[-1] == "go on from there"
    assert "think of a secret" not in spy.contents
    await chat.storage.put_code("code", "test:ann", 9.0)
    await chat.storage.request("code", "test:bob", 0.0, 9.0)
    assert await chat.storage.accept("test:ann", 0.0) == "test:bob"
    await spy.ask(chat, "go on from there once more", "bob", reply_to="m1")
    assert spy.contents[0] == UNSEEN, "linked accounts have no data in common"
    await spy.ask(chat, "go on from mine", "ann", reply_to="m1")
    assert spy.contents[0] == "think of a secret"


async def test_who_goes_on_from_somebody_elses_answer_gets_that_and_its_question(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said before may have been deleted since, or was said before they came to the chat."""
    spy = Spy(chat.bot, monkeypatch)
    await spy.ask(chat, "my address", "ann")
    answer = await spy.ask(chat, "the weather", "ann")
    await chat.storage.record_delivery("test:room", answer, 0, "m1")
    await spy.ask(chat, "and tomorrow?", "bob", reply_to="m1")
    assert spy.contents == ["the weather", "the weather", "and tomorrow?"]
    answer = await spy.ask(chat, "and then?", "bob")
    assert spy.contents[:4] == ["the weather", "the weather", "and tomorrow?", "and tomorrow?"]
    await chat.storage.record_delivery("test:room", answer, 0, "m2")
    await spy.ask(chat, "thanks to both", "ann", reply_to="m2")
    own = ["my address", "my address", "the weather", "the weather"]
    assert spy.contents == [*own, "and then?", "and then?", "thanks to both"]


async def test_replying_to_an_older_answer_branches_there(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    first = (await chat.say("first"))[0]
    assert isinstance(first, Started)
    await chat.storage.record_delivery("test:room", first.answer_id, 0, "message-1")
    await chat.say("second")
    await chat.say("third", reply_to="message-1")
    assert spy.contents == ["first", "first", "third"]


async def test_regenerate_asks_the_same_question_once_more(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    await chat.say("/seed 5")
    await chat.say("/settings seed 5")
    await chat.say("hello")
    events = await chat.say("/regenerate")
    assert said(events) == "hello"
    assert [message.content for message in spy.requests[1].messages] == ["hello"]
    first, again = (request.sampling.seed for request in spy.requests)
    assert first == 5
    assert again not in (None, 5)
    await chat.say("next")
    assert spy.contents == ["hello", "hello", "next"]


async def test_continue_goes_on_in_the_same_answer(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    await chat.say("/max_tokens 10")
    events = await chat.say("long")
    assert ended(events).reason == "length"
    assert ended(events).actions == (Action.CONTINUE, Action.REGENERATE)
    first = said(events)
    started = events[0]
    assert isinstance(started, Started)
    await chat.storage.record_delivery("test:room", started.answer_id, 0, "m1")
    more = await chat.say("/continue", reply_to="m1")
    assert more[0] == Started(answer_id=started.answer_id, text=first, message_ids=("m1",))
    assert first + said(more) == LONG["answer"]
    assert spy.requests[-1].prefix == first
    assert "complete" in notice(await chat.say("/continue"))
    turn = await chat.storage.turn(started.answer_id)
    assert turn is not None
    assert turn.text == LONG["answer"]


async def test_an_answer_that_is_being_written_cannot_be_continued(chat: Chat) -> None:
    await chat.say("/max_tokens 10")
    events = await chat.say("long")
    started = events[0]
    assert isinstance(started, Started)
    more: list[ReplyEvent] = []
    async for event in chat.events(chat.incoming("/continue")):
        more.append(event)
        if isinstance(event, TextDelta) and len(more) < 4:
            assert "still being written" in notice(await chat.say("/continue"))
    turn = await chat.storage.turn(started.answer_id)
    assert turn is not None
    assert turn.text == said(events) + said(more)


async def test_only_the_asker_may_regenerate_continue_or_stop(chat: Chat) -> None:
    started = (await chat.say("hello"))[0]
    assert isinstance(started, Started)
    await chat.storage.record_delivery("test:room", started.answer_id, 0, "m1")
    for command in ("/regenerate", "/continue"):
        assert "somebody else" in notice(await chat.say(command, "bob", reply_to="m1"))


async def test_stop_ends_the_answer_and_keeps_what_was_said(chat: Chat) -> None:
    events: list[ReplyEvent] = []
    async for event in chat.events(chat.incoming("slow")):
        events.append(event)
        if len(events) == 5:
            assert notice(await chat.say("/stop")) == "Stopped."
    assert ended(events).reason == "cancelled"
    assert 0 < len(said(events)) < 4000
    head = await chat.storage.head("test:room", "test:ann")
    assert head is not None
    turn = await chat.storage.turn(head)
    assert turn is not None
    assert (turn.text, turn.state) == (said(events), "stopped")
    assert "Nothing" in notice(await chat.say("/stop"))


async def test_an_answer_stopped_before_its_first_word_can_be_asked_for_again(chat: Chat) -> None:
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(chat.say("patient"))
        await asyncio.sleep(0.1)
        assert notice(await chat.say("/stop")) == "Stopped."
    stopped = ended(answer.result())
    assert (said(answer.result()), stopped.actions) == ("", (Action.REGENERATE,))
    assert "Regenerate" not in wording.empty(stopped)
    again = await chat.say("/regenerate")
    assert said(again) == PATIENT["answer"]


async def test_somebody_elses_stop_stops_nothing(chat: Chat) -> None:
    seen = 0
    async for event in chat.events(chat.incoming("slow")):
        seen += isinstance(event, TextDelta)
        if seen == 3:
            assert "Nothing" in notice(await chat.say("/stop", "bob"))
        if seen == 20:
            break
    assert seen == 20


async def test_two_messages_at_once_are_answered_in_order(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(chat.say("long"))
        await asyncio.sleep(0)
        second = tasks.create_task(chat.say("and more"))
    assert QueueUpdate(1, None) in second.result()
    assert said(second.result()) == "and more"
    assert spy.contents == ["long", said(first.result()), "and more"]


async def test_stop_also_stops_what_waits(chat: Chat) -> None:
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(chat.say("slow")) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert notice(await chat.say("/stop")) == "Stopped 3 answers."
    assert [ended(task.result()).reason for task in answers] == ["cancelled"] * 3


async def test_the_line_of_one_person_is_bounded(chat: Chat) -> None:
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(chat.say("slow")) for _ in range(6)]
        await asyncio.sleep(0.05)
        await chat.say("/stop")
    refused = [task.result() for task in answers if isinstance(task.result()[0], Notice)]
    assert len(refused) == 1
    assert "5 messages" in notice(refused[0])


async def test_fifty_people_at_once(chat: Chat) -> None:
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(chat.say(f"person {number}", f"p{number}")) for number in range(50)]
    assert [said(task.result()) for task in answers] == [f"person {number}" for number in range(50)]


async def test_an_event_that_comes_twice_is_answered_once(chat: Chat) -> None:
    incoming = chat.incoming("hello")
    assert said([event async for event in chat.events(incoming)]) == "hello"
    with pytest.raises(Interrupted):
        await anext(chat.events(incoming))


async def test_a_reply_to_the_bots_own_words_goes_on_with_the_conversation(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    await chat.say("hello")
    own = await chat.say("/help")
    assert isinstance(own[0], Notice)
    await chat.storage.record_delivery(chat.incoming("").chat, own[0].id, 0, "m1")
    spy = Spy(chat.bot, monkeypatch)
    await chat.say("and now", reply_to="m1")
    assert [message.content for message in spy.requests[0].messages][-3:] == ["hello", "hello", "and now"]


async def test_settings_are_one_persons_own(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    assert notice(await chat.say("/temperature 0,3")) == "Temperature is now 0.3."
    assert "usually enough" in notice(await chat.say("/top_p 0.5"))
    ann = await chat.say("hello")
    await chat.say("hello", "bob")
    assert [request.sampling.temperature for request in spy.requests] == [0.3, 0.7]
    assert ended(ann).settings == (("temperature", "0.3"), ("top-p", "0.5"))
    assert "**0.3**" in notice(await chat.say("/settings"))
    assert "precise" in notice(await chat.say("/preset precise"))
    assert "back at" in notice(await chat.say("/settings reset"))
    assert "is 0.7 for you" in notice(await chat.say("/temperature"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing in that message"),
        ("  \n ", "nothing in that message"),
        ("/temperature 0", "0.1 to 1"),
        ("/temperature nan", "0.1 to 1"),
        ("/temperature abc", "abc"),
        ("/temprature 0.5", "Did you mean /temperature"),
        ("/nonsense", "Send /help for the list"),
        ("/wibble", "/help"),
        ("/code", "/code what"),
        ("/caption", "Add a picture"),
        ("/settings sed 3", "Did you mean seed"),
        ("/settings zzz 3", "There is no setting"),
        ("/regenerate", "Ask something first"),
        ("/continue", "Ask something first"),
        ("x" * 1_000_001, "1,000,001"),
    ],
)
async def test_each_bad_input_gets_one_sentence(chat: Chat, text: str, words: str) -> None:
    (event,) = await chat.say(text)
    assert isinstance(event, Notice)
    assert words in event.text
    assert event.refused


async def test_help_and_examples(chat: Chat) -> None:
    assert "/code" in notice(await chat.say("/help"))
    assert "palindromes" in notice(await chat.say("/examples"))


async def test_a_picture_is_captioned(chat: Chat) -> None:
    events = await chat.say("", pictures=[b"1234"])
    assert [event for event in events if isinstance(event, CaptionReady)] == [CaptionReady("a picture of 4 bytes")]
    assert ended(events).model == "fake captioner"


@pytest.mark.parametrize(
    "words",
    [
        "Describe this picture.",
        "Please describe what you see",
        "what am I looking at?",
        "这张图片里有什么？",
        "¿qué ves aquí?",
    ],
)
@pytest.mark.parametrize("command", ["", "/caption ", "/ask "])
async def test_a_request_to_describe_a_picture_is_no_part_of_its_caption(chat: Chat, command: str, words: str) -> None:
    events = await chat.say(command + words, pictures=[b"1234"])
    assert [event for event in events if isinstance(event, CaptionReady)] == [CaptionReady("a picture of 4 bytes")]
    assert ended(events).model == "fake captioner"


async def test_other_words_beside_a_picture_are_answered_from_its_caption(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(chat.bot, monkeypatch)
    events = await chat.say("Write a poem about this", pictures=[b"1234"])
    assert CaptionReady("a picture of 4 bytes") in events
    assert spy.contents == ["A picture shows this: a picture of 4 bytes.\n\nWrite a poem about this"]


@pytest.mark.parametrize("words", ["write a poem", "is this a dog", "in German", "dogs playing"])
async def test_a_request_after_the_command_is_no_beginning(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    spy = Spy(chat.bot, monkeypatch)
    events = await chat.say(f"/caption {words}", pictures=[b"1234"])
    assert CaptionReady("a picture of 4 bytes") in events
    assert spy.contents == [f"A picture shows this: a picture of 4 bytes.\n\n{words}"]


@pytest.mark.parametrize("words", ["please", "this", "the picture"])
async def test_the_command_says_enough(chat: Chat, words: str) -> None:
    events = await chat.say(f"/caption {words}", pictures=[b"1234"])
    assert [event for event in events if isinstance(event, CaptionReady)] == [CaptionReady("a picture of 4 bytes")]
    assert not said(events)


async def test_a_captioner_for_questions_gets_the_question(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCaptioner, "answers", True)
    spy = Spy(chat.bot, monkeypatch)
    for words in ("what colour is it?", "/caption what colour is it?"):
        assert CaptionReady("what colour is it? 4 bytes") in await chat.say(words, pictures=[b"1234"])
        asked = "Asked this, somebody who sees my picture says: what colour is it? 4 bytes.\n\nwhat colour is it?"
        assert spy.contents[-1] == asked
    for words in ("describe it", "/caption a photo of"):
        assert CaptionReady("a picture of 4 bytes") in await chat.say(words, pictures=[b"1234"])


async def test_words_after_the_command_begin_the_caption(chat: Chat) -> None:
    events = await chat.say("/caption a drawing of", pictures=[b"1234", b"12"])
    captions = [event for event in events if isinstance(event, CaptionReady)]
    assert captions == [CaptionReady("a drawing of 4 bytes", 0, 2), CaptionReady("a drawing of 2 bytes", 1, 2)]
    assert not said(events)


async def test_a_question_about_a_picture_goes_to_the_model(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    events = await chat.say("What colour is it?", pictures=[b"1234"])
    assert CaptionReady("a picture of 4 bytes") in events
    assert spy.contents == ["A picture shows this: a picture of 4 bytes.\n\nWhat colour is it?"]
    assert ended(events).model.startswith("scripted")


async def test_a_caption_is_part_of_the_conversation(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    await chat.say("", pictures=[b"1234"])
    await chat.say("tell me more")
    assert spy.contents[1:] == ["a picture of 4 bytes", "tell me more"]
    assert spy.requests[-1].messages[0] == Message("user", "Describe the picture. (I sent a picture.)")


async def test_a_bad_picture_says_why(chat: Chat) -> None:
    assert "damaged or incomplete" in failed(await chat.say("", pictures=[b"bad"]))
    assert "11 pictures" in notice(await chat.say("", pictures=[b"x"] * 11))


async def test_without_a_captioner_pictures_get_a_sentence(tmp_path: Path) -> None:
    async with scripted_inference(script(tmp_path), captioner=False) as inference:
        assert "can't look at pictures" in notice(await Chat(inference).say("", pictures=[b"1"]))


async def test_a_defect_becomes_a_sentence_without_details(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    async def explode(*_: object) -> None:
        raise RuntimeError("secret path /etc/x")

    monkeypatch.setattr(chat.storage, "head", explode)
    sentence = failed(await chat.say("hello"))
    assert "secret" not in sentence


async def test_a_closed_answer_is_kept_as_far_as_it_was_said(chat: Chat) -> None:
    events = chat.bot.respond(chat.incoming("slow"))
    async for event in events:
        if isinstance(event, TextDelta):
            break
    await events.aclose()
    head = await chat.storage.head("test:room", "test:ann")
    assert head is not None
    turn = await chat.storage.turn(head)
    assert turn is not None
    assert (turn.role, turn.state) == ("assistant", "failed")
    assert turn.text.startswith("word")


async def test_a_failure_in_the_middle_keeps_the_text_and_offers_to_go_on(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference = chat.bot._inference
    assert isinstance(inference, LocalInference)
    generate = inference._engine.generate

    async def breaking(request: ChatRequest) -> AsyncGenerator[Output, None]:
        async with aclosing(generate(request)) as outputs:
            async for output in outputs:
                yield output
                if isinstance(output, Piece):
                    raise Unavailable("the engine died")

    monkeypatch.setattr(inference._engine, "generate", breaking)
    events = await chat.say("long")
    assert said(events)
    assert "died" not in failed(events)
    assert events[-1] == Failed(failed(events), (Action.CONTINUE, Action.REGENERATE))
    monkeypatch.undo()
    more = await chat.say("/continue")
    assert said(events) + said(more) == LONG["answer"]


async def test_a_question_that_was_never_answered_is_left_out(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(chat.bot, monkeypatch)
    async for event in chat.events(chat.incoming("slow")):
        if isinstance(event, Started):
            await chat.say("/stop")
    await chat.say("another")
    assert spy.contents == ["another"]


async def test_an_answer_that_a_crash_cut_off_can_be_asked_for_again(chat: Chat) -> None:
    events = chat.bot.respond(chat.incoming("long"))
    started = await anext(events)
    assert isinstance(started, Started)
    await anext(events)
    turn = await chat.storage.turn(started.answer_id)
    assert turn is not None
    assert turn.state == "streaming"
    survivor = Chat(chat.inference, storage=chat.storage)
    assert said(await survivor.say("/regenerate")) == LONG["answer"]
    await events.aclose()
