"""One fault costs one person: every method of every port fails for somebody while others are served, on Telegram.

Each victim has one fault of their own; all are at it at the same time, in one program. Everybody asks again afterwards,
and then the program is started anew without faults.
"""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from telegram import Bot as Api
from telegram.error import TimedOut

from adapters.app import phrases
from adapters.charts import draw
from adapters.delivery.channel import (
    Channel,
    Forbidden,
    Later,
    MessageGone,
    Rejected,
    RetryAfter,
    UnknownOutcome,
    Unsent,
)
from adapters.delivery.outbox import Outboxes
from adapters.storage.database import open_database
from adapters.storage.sql import SqlStorage
from adapters.telegram.channel import TelegramChannel
from adapters.telegram.platform import serving
from bots.account import Account
from bots.bot import Bot
from bots.personal import Quotas
from bots.ports import Storage, StorageError
from bots.preferences import Bounds
from config.settings import TelegramSettings
from inference.api import BadImage, Busy, Inference, Interrupted, TooLong, Unavailable
from tests.fakes import script, scripted_inference
from tests.faults import Fault, Faults, FaultyInference, methods
from tests.servers.telegram import TOKEN, TelegramServer, telegram
from tests.servers.telegram_people import Person
from tests.servers.telegram_world import Message

pytestmark = pytest.mark.timeout(300)

WORDS = 90
ANSWER = "whole " * WORDS
SENTENCES = ("went wrong", "can't", "cannot", "full", "please", "Please", "Sorry", "again")
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

ASK = ("ask",)
DOES: dict[type, dict[str, tuple[str, ...]]] = {
    Storage: {
        "accept": ("/link yes",),
        "answer_at": ("ask", "reply"),
        "answered": ASK,
        "begin": ASK,
        "branch": ("ask", "ask"),
        "claim": ASK,
        "count": (),
        "decline": ("/link no",),
        "delivered": ("ask", "edit"),
        "end": ASK,
        "erase": ("ask", "/privacy erase now"),
        "expire": (),
        "export": ("ask", "/privacy export"),
        "forget_delivery": (),
        "giver": ("/link ABCDE-FGHJK",),
        "head": ASK,
        "histograms": ("ask", "/stats"),
        "keep_soon": ASK,
        "known": ASK,
        "orphaned": (),
        "pending": (),
        "people": ("/link",),
        "preferences": (),
        "put_code": ("/link",),
        "receive": (),
        "record_delivery": ASK,
        "record_shown": ASK,
        "request": ("/link ABCDE-FGHJK yes",),
        "requested": ("/link",),
        "recorded": (),
        "reply": ("ask", "edit"),
        "set_head": ("/reset",),
        "set_preferences": ("/temperature 0.4",),
        "share_data": ("/link data on",),
        "sharing": ("/privacy",),
        "supersede": (),
        "superseded": (),
        "take_news": ("/link",),
        "turn": ("ask", "/regenerate"),
        "unanswered": (),
        "unlink": ("/link off",),
        "usage": ("ask", "/stats"),
        "used_on": ASK,
    },
    Inference: {
        "stream": ASK,
        "stream in the middle": ASK,
        "caption": ("picture",),
        "count_tokens": ASK,
        "cancel": (),
        "forget_captions": (),
        "loading": (),
        "ready": (),
    },
    Channel: {
        "sending": ASK,
        "send": ASK,
        "edit": ASK,
        "find": ASK,
        "typing": (),
        "measure": ASK,
        "upload": ("/privacy export",),
        "delete": (),
    },
}
"""What a person does so that the method is called for them.

Nothing for what is no single person's: `expire`, `orphaned`, `pending`, `receive` and `unanswered` are called for many
at once (`test_calls_for_everybody_are_made_again`), `preferences` for places, `ready` and `loading` at a start
(test_loading.py); `count` is for what was given up without an ending (`test_usage`); `cancel` cannot fail; a
`forget_captions` that fails is a line in the log (test_privacy_of_captions.py); `supersede`, `superseded` and
`forget_delivery` are called where an answer turns out to be reasoning (test_relabelled.py); `delete` is called there
and where an edited question takes its answer back (test_telegram_edits.py), `typing` where an answer is late
(test_outbox.py).
"""


def test_the_table_has_every_method() -> None:
    for port, does in DOES.items():
        assert set(does) - {"stream in the middle"} == methods(port)


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
            case "picture":
                message = self.person.shows(b"a picture")
            case "reply" if chat.answers:
                message = self.person.says(f"{self.number} replies", reply_to=chat.answers[-1])
            case "edit":
                message = next(each for each in reversed(chat.messages) if not each.is_own)
                self.person.edits(message, f"{self.number} asks otherwise")
                self.asked.pop()  # what was said to it is said to this now
            case _:
                message = self.person.says(what if what.startswith("/") else f"{self.number} {what}s")
        self.asked.append((what, message.id))

    def shown(self, index: int) -> list[Message]:
        """What the bot said to the thing number `index`."""
        messages = [each for each in self.person.private.messages if each.is_own and not each.deleted]
        asked = self.asked[index][1]
        return [each for each in messages if each.content.get("reply_to_message", {}).get("message_id") == asked]

    @property
    def may_be_lost(self) -> bool:
        """Whether the platform said that nobody will read it."""
        return self.fault is not None and isinstance(self.fault.error(), Forbidden | MessageGone)

    def is_over(self, index: int) -> bool:
        """Whether something was said to it that does not grow."""
        shown = self.shown(index)
        return bool(shown) and not any("Stop" in label for each in shown for label in each.buttons)

    def faults(self, index: int) -> Iterator[str]:
        """In words, what is not as it should be with what was said to it."""
        what, shown = self.asked[index][0], [each for each in self.shown(index) if not each.file]
        texts = [each.text for each in shown]
        about = f"{self.number} ({self.fault.method if self.fault else 'nothing'}) {what}: {texts}"
        if not self.is_over(index):
            yield f"never ended: {about}"
        if len(shown) > 1 + (what == "edit" and self.fault is not None):
            yield f"said twice: {about}"
        is_told = self.fault is not None and any(sentence in text for text in texts for sentence in SENTENCES)
        if what == "ask" and not is_told and not any(text.count("whole") == WORDS for text in texts):
            yield f"neither whole nor a sentence: {about}"


@asynccontextmanager
async def program(server: TelegramServer, folder: Path, faults: Faults) -> AsyncIterator[SqlStorage]:
    """The bot on Telegram over SQLite, with these faults."""
    path = script(
        folder,
        {"match": "slowly", "answer": ANSWER, "tokens_per_s": 120, "first_token_s": 1.5},
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
            bounds=Bounds(),
            now=time.time,
            new_id=lambda: uuid.uuid4().hex,
            own=Account(storage, now=time.time, draw=draw, quotas=Quotas(tokens=10**9)),
        )
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


def cases(port: type, kind: str) -> list[tuple[str, Callable[[], Exception]]]:
    errors = [unexpected] if kind == "unexpected" else DOCUMENTED[port]
    return [(method, error) for method, does in DOES[port].items() if does for error in errors]


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
        await settled([somebody], within_s=6.0)


@pytest.mark.parametrize("kind", ["documented", "unexpected"])
@pytest.mark.parametrize("port", DOES, ids=lambda port: port.__name__)
async def test_one_fault_costs_one_person(
    port: type, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = cases(port, kind)
    wrong: list[str] = []
    async with telegram() as server:
        victims = [
            Somebody(server.person(f"Victim {n}", 700_001 + n), Fault(method, error))
            for n, (method, error) in enumerate(todo)
        ]
        others = [Somebody(server.person(f"Other {n}", 800_001 + n)) for n in range(3)]
        everybody = [*others, *victims]
        faults = Faults({each.number: each.fault for each in victims if each.fault})
        break_channels(monkeypatch, faults)
        async with program(server, tmp_path, faults) as kept:
            # Telegram looks for a message among the next few numbers, which it gives out over all private chats.
            for victim in victims:
                if victim.fault and victim.fault.method == "find":
                    await live(victim, DOES[port]["find"])
            async with asyncio.TaskGroup() as group:
                for somebody in others:
                    group.create_task(live(somebody, ("ask", "ask", "ask")))
                for victim, (method, _) in zip(victims, todo, strict=True):
                    if method != "find":
                        group.create_task(live(victim, DOES[port][method]))
            wrong += [f"never called: {each.fault}" for each in victims if each.fault and not each.fault.hits]
            wrong += [fault for each in others for index in range(3) for fault in each.faults(index)]
            left = {event.person.removeprefix("telegram:") for event in await kept.unanswered(ACCOUNT)}
            wrong += [
                f"marked, and nothing was said: {each.fault}"
                for each in victims
                if not each.may_be_lost and not each.shown(len(each.asked) - 1) and each.number not in left
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


async def test_calls_for_everybody_are_made_again(tmp_path: Path) -> None:
    """What tasks of the program ask fails for a while, and then goes on as if nothing had been."""
    async with telegram() as server:
        somebody = Somebody(server.person("Ann", 700_001))
        async with program(server, tmp_path, Faults({})):
            await live(somebody, ("ask",))
        await somebody.do("ask")
        everything = dict.fromkeys(("unanswered", "orphaned", "pending", "expire", "receive"), 2)
        faults = Faults({}, everybody=everything, error=lambda: StorageError("The database is away."))
        async with program(server, tmp_path, faults):
            await settled([somebody])
        assert [fault for index in range(2) for fault in somebody.faults(index)] == []
