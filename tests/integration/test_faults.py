"""One fault costs one person: every method of every port fails for somebody while others are served, on Telegram.

Each victim has one fault of their own; all are at it at the same time, in one program. Everybody asks again afterwards,
and then the program is started anew without faults.
"""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from telegram import Bot as Api
from telegram.error import TimedOut

from adapters.app import phrases
from adapters.delivery.channel import (
    Channel,
    Forbidden,
    Frame,
    Later,
    MessageGone,
    Rejected,
    RetryAfter,
    UnknownOutcome,
    Unsent,
)
from adapters.delivery.outbox import Outboxes
from adapters.files.charts import draw
from adapters.retention import sweeping
from adapters.storage.database.database import open_database
from adapters.storage.memory.storage import MemoryStorage
from adapters.storage.sql.storage import SqlStorage
from adapters.telegram.outbound.channel import TelegramChannel, limits
from adapters.telegram.platform import serving
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Post
from bots.bot import Bot
from bots.messages import Action
from bots.people.account import Account
from bots.ports import Storage, StorageError
from bots.profile.personal import Quotas
from bots.profile.preferences import SettingBounds
from config.settings import TelegramSettings
from inference.api import BadImage, Busy, Inference, Interrupted, TooLong, Unavailable
from tests.fakes import script, scripted_inference
from tests.faults import Fault, Faults, FaultyInference, methods
from tests.integration.page_parts import page_served
from tests.servers.telegram import TOKEN, TelegramServer, telegram, until
from tests.servers.telegram_people import Person
from tests.servers.telegram_world import Message
from tests.unit.web_parts import Page

pytestmark = pytest.mark.timeout(300)

WORDS = 90
ANSWER = "whole " * WORDS
SENTENCES = ("went wrong", "can't", "cannot", "full", "please", "Please", "Sorry", "again")
UNITS, LONG = 1000, 300
"""Of a message, and words of an answer that takes three of them."""
ACCOUNT = "telegram:4711"
SETTLED_WITHIN_S = 40.0


def unexpected() -> Exception:
    return RuntimeError("nobody has foreseen this")


DOCUMENTED: dict[type, list[Callable[[], Exception]]] = {
    Storage: [lambda: StorageError("The database is away.")],
    Inference: [
        lambda: Busy(1.0),
        lambda: TooLong(10, 20),
        lambda: Unavailable("it is away"),
        lambda: Interrupted("it is being stopped"),
        lambda: BadImage("it is no picture"),
    ],
    Channel: [
        lambda: RetryAfter(0.2),
        lambda: Later(0.2),
        lambda: Unsent("refused"),
        lambda: UnknownOutcome("broken"),
        lambda: MessageGone("deleted"),
        lambda: Forbidden("blocked"),
        lambda: Rejected("never"),
    ],
}

NEVER_RAISE = {"cancel", "loading"}
"""Their protocol knows no error."""
HARMLESS = {"count", "delete", "forget_delivery", "recorded", "supersede", "superseded", "typing"}
"""What fails there is nothing that somebody has to be told of: their answer is whole all the same."""
MANY = {"ask at length", "ask for reasons"}
"""What is answered by several messages, of which the first one alone replies."""

ASK = ("ask",)
DOES: dict[type, dict[str, tuple[str, ...]]] = {
    Storage: {
        "accept": ("/link yes",),
        "answer_at": ("ask", "reply"),
        "answered": ASK,
        "begin": ASK,
        "branch": ("ask", "ask"),
        "claim": ASK,
        "count": ("lose",),
        "decline": ("/link no",),
        "delivered": ("ask", "edit"),
        "end": ASK,
        "erase": ("ask", "/privacy erase now"),
        "export": ("ask", "/privacy export"),
        "forget_delivery": ("ask for reasons",),
        "giver": ("/link ABCDE-FGHJK",),
        "head": ASK,
        "histograms": ("ask", "/stats"),
        "keep_soon": ASK,
        "known": ASK,
        "people": ("/link",),
        "put_code": ("/link",),
        "record_delivery": ASK,
        "record_shown": ASK,
        "request": ("/link ABCDE-FGHJK yes",),
        "requested": ("/link",),
        "recorded": ("ask at length",),
        "reply": ("ask", "edit"),
        "set_head": ("/reset",),
        "set_preferences": ("/temperature 0.4",),
        "share_data": ("/link data on",),
        "sharing": ("/privacy",),
        "supersede": ("ask for reasons",),
        "superseded": ("ask for reasons",),
        "take_news": ("/link",),
        "turn": ("ask", "/regenerate"),
        "unlink": ("/link off",),
        "usage": ("ask", "/stats"),
        "used_on": ASK,
    },
    Inference: {
        "stream": ASK,
        "stream in the middle": ASK,
        "caption": ("picture",),
        "count_tokens": ASK,
        "cancel": ("stop",),
        "forget_captions": ("ask", "/privacy erase now"),
        "loading": ASK,
        "ready": ASK,
    },
    Channel: {
        "sending": ASK,
        "send": ASK,
        "edit": ASK,
        "find": ASK,
        "typing": ("ask slowly",),
        "measure": ASK,
        "upload": ("/privacy export",),
        "delete": ("ask for reasons",),
        "delete for an edit": ("ask at length", "edit"),
    },
}
"""What a person does so that the method is called for them. What comes behind its name says where."""
FOR_EVERYBODY = {
    "expire": "telegram",
    "orphaned": "telegram",
    "pending": "page",
    "preferences": "group",
    "receive": "telegram",
    "unanswered": "telegram",
}
"""Methods of the storage that are called for no single person, and where the program calls them: to find what is left,
for many at once, or for a place. `test_calls_for_everybody_are_made_again` has a case for each."""
ON_DISCORD_ALONE = {"hide"}
"""Telegram and the page hear of no deletions: `test_discord_withdrawn` has the case."""


def test_the_tables_have_every_method() -> None:
    """So a new method of a port needs a case, whoever it is called for."""
    assert all(does for port in DOES.values() for does in port.values())
    for port, does in DOES.items():
        for_everybody = FOR_EVERYBODY.keys() | ON_DISCORD_ALONE if port is Storage else set()
        assert {_method(name) for name in does}.isdisjoint(for_everybody)
        assert {_method(name) for name in does} | for_everybody == methods(port)
    assert set(FOR_EVERYBODY.values()) == CALLED_IN.keys()


def _method(name: str) -> str:
    return name.split(" ")[0]


@dataclass
class Somebody:
    """A person, and what they asked, each with the id of their message."""

    person: Person
    fault: Fault | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)

    @property
    def number(self) -> str:
        return str(self.person.user["id"])

    async def do(self, what: str) -> None:
        chat = self.person.private
        match what:
            case "lose" | "stop":
                message = self.person.says(f"{self.number} asks patiently")
                with suppress(TimeoutError):
                    async with asyncio.timeout(10):
                        await until(lambda: any("whole" in each.text for each in self._replies_to(message.id)))
                for each in self._replies_to(message.id):
                    if what == "stop" and "Stop" in each.buttons:
                        self.person.presses(each, "Stop")
                    each.deleted = what == "lose"
            case "picture":
                message = self.person.shows(b"a picture")
            case "reply" if chat.answers:
                message = self.person.says(f"{self.number} replies", reply_to=chat.answers[-1])
            case "edit":
                message = next(each for each in reversed(chat.messages) if not each.is_own)
                self.person.edits(message, f"{self.number} asks otherwise")
                self.asked.pop()  # what was said to it is said to this now
            case _ if what.startswith("/"):
                message = self.person.says(what)
            case _:
                verb, _, how = what.partition(" ")
                message = self.person.says(f"{self.number} {verb}s {how}".rstrip())
        self.asked.append((what, message.id))

    @property
    def _own(self) -> list[Message]:
        return [each for each in self.person.private.messages if each.is_own and not each.deleted]

    def _replies_to(self, asked: int) -> list[Message]:
        return [each for each in self._own if each.content.get("reply_to_message", {}).get("message_id") == asked]

    def shown(self, index: int) -> list[Message]:
        """What the bot said to the thing number `index`; nobody asks twice what is answered by several messages."""
        what, asked = self.asked[index]
        behind = [each for each in self._own if "reply_to_message" not in each.content]
        return self._replies_to(asked) + (behind if self._takes_many(what) else [])

    def _takes_many(self, what: str) -> bool:
        """Whether it is answered by several messages, or in place of them."""
        return what in MANY or (what == "edit" and self.fault is not None and self.fault.method == "delete")

    @property
    def is_content(self) -> bool:
        """Whether the last thing that they did had an effect."""
        return self.asked[-1][0] == "lose" or bool(self.shown(len(self.asked) - 1))

    @property
    def may_be_lost(self) -> bool:
        """Whether the platform said that nobody will read it."""
        fault = self.fault
        if fault is None or fault.method in HARMLESS:
            return False
        return isinstance(fault.error(), Forbidden | MessageGone)

    @property
    def may_stay(self) -> bool:
        """Whether the platform said that a message that was to be deleted is gone already."""
        fault = self.fault
        return fault is not None and fault.method == "delete" and isinstance(fault.error(), MessageGone)

    def is_over(self, index: int) -> bool:
        """Whether something was said to it that does not grow, or nobody wants it any more."""
        what, shown = self.asked[index][0], self.shown(index)
        if what == "lose":
            return not shown
        ends = [label for each in shown for label in each.buttons if "Regenerate" in label or "Continue" in label]
        is_there = bool(ends) or any(_is_told(each.text) for each in shown) if what in MANY else bool(shown)
        if what == "edit" and self._takes_many(what):  # it is there in place of the old answer, which was over, too
            is_there = is_there and "long" not in shown[0].text
        of_answer = [each for each in shown if not (self.may_stay and each.text.startswith("pondered"))]
        return is_there and not any("Stop" in label for each in of_answer for label in each.buttons)

    def faults(self, index: int) -> Iterator[str]:
        """In words, what is not as it should be with what was said to it."""
        what, shown = self.asked[index][0], [each for each in self.shown(index) if not each.file]
        texts = [each.text for each in shown]
        about = f"{self.number} ({self.fault.method if self.fault else 'nothing'}) {what}: {texts}"
        if not self.is_over(index):
            yield f"never ended: {about}"
        if self._takes_many(what):
            yield from self._faults_of_many(what, texts, about)
        elif len(shown) > 1 + (what in ("edit", "stop") and self.fault is not None):
            yield f"said twice: {about}"
        is_told = self.fault is not None and self.fault.method not in HARMLESS and any(map(_is_told, texts))
        if what in ("ask", "ask slowly") and not is_told and not any(text.count("whole") == WORDS for text in texts):
            yield f"neither whole nor a sentence: {about}"

    def _faults_of_many(self, what: str, texts: Sequence[str], about: str) -> Iterator[str]:
        """All of these are of methods without which the answer is whole all the same."""
        together = texts[0] if what == "edit" and texts else " ".join(texts)
        if together.count("whole") != WORDS or (what == "ask at length" and together.count("long") != LONG):
            yield f"not whole, or doubled: {about}"
        is_over = "pondered" if what == "ask for reasons" else "long"
        if what != "ask at length" and any(is_over in text for text in texts[1:]) and not self.may_stay:
            yield f"what was to be deleted stays: {about}"


@asynccontextmanager
async def program(server: TelegramServer, folder: Path, faults: Faults) -> AsyncIterator[SqlStorage]:
    """The bot on Telegram over SQLite, with these faults."""
    path = script(
        folder,
        {"match": "slowly", "answer": ANSWER, "tokens_per_s": 120, "first_token_s": 1.5},
        {"match": "patiently", "answer": ANSWER, "tokens_per_s": 20},
        {"match": "at length", "answer": "long " * LONG + ANSWER, "tokens_per_s": 2000},
        {"match": "reasons", "answer": "pondered " * 250 + "so</think>\n\n" + ANSWER, "tokens_per_s": 60},
        {"match": "asks|replies", "answer": ANSWER, "tokens_per_s": 50},
    )
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(str(folder / "partyline.sqlite3")))
        kept = SqlStorage(database)
        await stack.enter_async_context(kept.behind.running())
        whole = await stack.enter_async_context(scripted_inference(path, slots=64, max_waiting=200))
        outboxes = await stack.enter_async_context(Outboxes(phrases=phrases()))
        storage = faults.storage(kept)
        bot = Bot(
            FaultyInference(faults, whole),
            storage,
            bounds=SettingBounds(),
            now=time.time,
            new_id=lambda: uuid.uuid4().hex,
            own=Account(storage, now=time.time, draw=draw, quotas=Quotas(tokens=10**9)),
        )
        await stack.enter_async_context(sweeping(bot.account.privacy.expire, every_s=0.5))
        settings = {"token": TOKEN, "api_base": server.address, "private_interval_s": 0.05}
        await stack.enter_async_context(serving(TelegramSettings.model_validate(settings), bot, storage, outboxes))
        yield kept


def break_channels(patch: pytest.MonkeyPatch, faults: Faults) -> None:
    for name in methods(Channel):
        found = getattr(TelegramChannel, name)
        if not inspect.iscoroutinefunction(found):

            def called_at_once(self: Any, *args: Any, _name: str = name, _found: Any = found, **kwargs: Any) -> Any:
                faults.trip(_name, self._here.chat_id)
                return _found(self, *args, **kwargs)

            patch.setattr(TelegramChannel, name, called_at_once)
        else:

            async def called(self: Any, *args: Any, _name: str = name, _found: Any = found, **kwargs: Any) -> Any:
                faults.trip(_name, self._here.chat_id)
                return await _found(self, *args, **kwargs)

            patch.setattr(TelegramChannel, name, called)
    sent = Api.send_message

    async def lost(self: Any, *args: Any, **kwargs: Any) -> Any:
        message = await sent(self, *args, **kwargs)
        fault = faults.of.get(str(kwargs["chat_id"]))
        if fault and fault.method == "find" and not fault.hits:
            raise TimedOut  # only what nobody knows is looked for
        return message

    patch.setattr(Api, "send_message", lost)


def _is_told(text: str) -> bool:
    return any(sentence in text for sentence in SENTENCES)


@dataclass(frozen=True)
class Case:
    method: str
    does: tuple[str, ...]
    error: Callable[[], Exception]


def cases(port: type, kind: str) -> list[Case]:
    errors = [unexpected] if kind == "unexpected" else DOCUMENTED[port]
    tripped = {"stream in the middle"}  # a call of its own to the faults
    return [
        Case(name if name in tripped else _method(name), does, error)
        for name, does in DOES[port].items()
        if does and not (kind == "documented" and name in NEVER_RAISE)
        for error in errors
    ]


async def settled(people: Sequence[Somebody], within_s: float = SETTLED_WITHIN_S) -> None:
    """Returns when something was said to everything, or time is up; what is missing then is told by `faults`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if all(somebody.is_over(index) for somebody in people for index in range(len(somebody.asked))):
            return
        await asyncio.sleep(0.05)


async def until_nothing_is_left(kept: SqlStorage) -> None:
    """What is shown is marked a moment later."""
    for _ in range(200):
        if not await kept.unanswered(ACCOUNT):
            return
        await asyncio.sleep(0.05)


async def live(somebody: Somebody, does: Sequence[str]) -> None:
    for what in does:
        await somebody.do(what)
        await settled([somebody], within_s=12.0 if what in MANY else 6.0)


def in_turns(victims: Sequence[tuple[Somebody, Case]]) -> Iterable[Sequence[tuple[Somebody, Case]]]:
    """Those who live at the same time.

    Those who are to be shown typing are first: for a second after many calls there is none to spare for it. Nor is
    there, among many, for all messages of an answer that grows. And Telegram's way to look for a message is to try the
    next few numbers, which all private chats share.
    """
    turns: dict[str, list[tuple[Somebody, Case]]] = {}
    for somebody, case in sorted(victims, key=lambda victim: victim[1].method != "typing"):
        turn = str(case.does) if MANY & {*case.does} or case.method == "typing" else "others"
        turns.setdefault(somebody.number if case.method == "find" else turn, []).append((somebody, case))
    return turns.values()


async def typed(victims: Sequence[tuple[Somebody, Case]]) -> None:
    """Returns when those have been shown typing who are to be: answers that grow leave no call to spare for it."""
    faults = [somebody.fault for somebody, case in victims if case.method == "typing" and somebody.fault]
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            await until(lambda: all(fault.hits for fault in faults))


@pytest.mark.parametrize("kind", ["documented", "unexpected"])
@pytest.mark.parametrize("port", DOES, ids=lambda port: port.__name__)
async def test_one_fault_costs_one_person(
    port: type, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = cases(port, kind)
    wrong: list[str] = []
    monkeypatch.setattr(
        "adapters.telegram.outbound.reply_sender.limits", lambda *args: replace(limits(*args), message_units=UNITS)
    )
    async with telegram() as server:
        victims = [
            Somebody(server.person(f"Victim {n}", 700_001 + n), Fault(case.method, case.error))
            for n, case in enumerate(todo)
        ]
        others = [Somebody(server.person(f"Other {n}", 800_001 + n)) for n in range(3)]
        everybody = [*others, *victims]
        faults = Faults({each.number: each.fault for each in victims if each.fault})
        break_channels(monkeypatch, faults)
        async with program(server, tmp_path, faults) as kept:
            for together in in_turns(list(zip(victims, todo, strict=True))):
                async with asyncio.TaskGroup() as group:
                    for victim, case in together:
                        group.create_task(live(victim, case.does))
                    await typed(together)
                    for somebody in others:
                        group.create_task(live(somebody, ASK * min(2, len(together))))
            wrong += [f"never called: {each.fault}" for each in victims if each.fault and not each.fault.hits]
            wrong += [fault for each in others for index in range(len(each.asked)) for fault in each.faults(index)]
            left = {event.person.removeprefix("telegram:") for event in await kept.unanswered(ACCOUNT)}
            wrong += [
                f"marked, and nothing was said: {each.fault}"
                for each in victims
                if not each.may_be_lost and not each.is_content and each.number not in left
            ]
            faults.on = False
            async with asyncio.TaskGroup() as group:
                for somebody in everybody:
                    group.create_task(live(somebody, ("ask",)))
        async with program(server, tmp_path, Faults({})) as kept:
            await settled([each for each in everybody if not each.may_be_lost])
            for somebody in everybody:
                first = len(somebody.asked) - 1 if somebody.may_be_lost else 0
                wrong += [fault for index in range(first, len(somebody.asked)) for fault in somebody.faults(index)]
            await until_nothing_is_left(kept)
            wrong += [f"left: {event.payload}" for event in await kept.unanswered(ACCOUNT)]
    assert not wrong, "\n".join(wrong)


async def for_all_on_telegram(faults: Faults, tmp_path: Path) -> None:
    """Tasks of the program look for what was left, and batches of updates are recorded."""
    async with telegram() as server:
        somebody = Somebody(server.person("Ann", 700_001))
        async with program(server, tmp_path, Faults({})):
            await live(somebody, ("ask",))
        await somebody.do("ask")
        async with program(server, tmp_path, faults), asyncio.timeout(60):
            await settled([somebody])
            await until(lambda: not any(faults.everybody.values()))
        assert [fault for index in range(2) for fault in somebody.faults(index)] == []


async def for_a_group(faults: Faults, tmp_path: Path) -> None:
    """The message in whose group it fails gets a sentence, and the next one its answer."""
    async with telegram() as server:
        groups = [server.group(f"Group {n}") for n in range(3)]
        people = [server.person(f"Person {n}", 700_001 + n) for n in range(3)]

        def said(number: int) -> list[str]:
            return [message.text for message in groups[number].answers if "Stop" not in message.buttons]

        async def ask(number: int) -> None:
            count = len(said(number))
            people[number].says(f"@party_bot {700_001 + number} asks", groups[number])
            await until(lambda: len(said(number)) > count)

        async with program(server, tmp_path, faults), asyncio.timeout(60):
            for number in (0, 0, 1, 2, 0):
                await ask(number)
        async with program(server, tmp_path, Faults({})) as kept:
            await until_nothing_is_left(kept)
        assert not any(faults.everybody.values())
        first, second, third = said(0)
        assert all(map(_is_told, (first, second)))
        assert [text.count("whole") for text in (third, *said(1), *said(2))] == [WORDS] * 3


async def for_the_page(faults: Faults, tmp_path: Path) -> None:
    """The page is there for everybody; what an earlier process has left growing gets its end a moment later."""
    posts, storage = MemoryPosts(), MemoryStorage()
    growing = Frame(markdown="half", growing=True, actions=(Action.STOP,))
    fields = {"position": 1, "kind": "bot", "author": "", "name": "Partyline", "created_at": 0.0, "reply_to": "gone"}
    await posts.append(Post(id="left", frame=growing, **fields))  # type: ignore[arg-type]
    line = {"match": "asks", "answer": ANSWER}
    async with (
        page_served(tmp_path, faults.storage(storage), posts, line) as address,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
        session.ws_connect(address + "ws") as socket,
    ):
        page = Page(socket)
        await page.type("somebody asks")
        await until(lambda: any(each.frame.markdown.count("whole") == WORDS for each in posts._all()))
        await until(lambda: not any(each.frame.growing for each in posts._all()))
    assert not any(faults.everybody.values())
    assert next(each for each in posts._all() if each.id == "left").frame.failure == phrases().interrupted()


CALLED_IN = {"telegram": for_all_on_telegram, "group": for_a_group, "page": for_the_page}


@pytest.mark.parametrize("kind", ["documented", "unexpected"])
@pytest.mark.parametrize("method", FOR_EVERYBODY)
async def test_calls_for_everybody_are_made_again(
    method: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked for many, or for a place, fails for a while, and then goes on as if nothing had been."""
    monkeypatch.setattr("bots.conversation.ledger.LOOK_EVERY_S", 0.1)
    monkeypatch.setattr("adapters.web.sessions.event_handler.LOOK_EVERY_S", 0.1)
    (documented,) = DOCUMENTED[Storage]
    faults = Faults({}, everybody={method: 2}, error=documented if kind == "documented" else unexpected)
    await CALLED_IN[FOR_EVERYBODY[method]](faults, tmp_path)
