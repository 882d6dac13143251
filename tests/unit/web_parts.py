"""What the page's tests put in the places of the bot, the delivery and the settings."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from adapters.delivery.channel import Channel, Frame, ThinkingView
from adapters.delivery.outcome import DELIVERED, Outcome
from adapters.delivery.phrases import Phrases
from adapters.delivery.ports import DeliveryPort
from adapters.storage.memory.storage import MemoryStorage
from adapters.web.channel.setting_views import SettingView
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Posts
from adapters.web.server import WebServer
from bots.access.gate import Call
from bots.conversation.coming import Coming
from bots.messages import Action, Ended, Failed, Incoming, Notice, Permit, ReplyEvent, Started, TextDelta, ThinkingDelta
from bots.ports import Delivered, Deliveries, Inbox
from inference.api import ModelInfo, Timings, Usage

ENDED = Ended(
    reason="stop",
    usage=Usage(),
    timings=Timings(),
    model="A fake model",
    actions=(Action.REGENERATE, Action.CONTINUE),
)

PHRASES = Phrases(
    waiting=lambda position, eta_s: f"Waiting as number {position}.",
    loading=lambda awaited: f"The {awaited.what} loads.",
    starting=lambda: "Starting…",
    thinking=lambda seconds, done: f"Thinking, {seconds:.0f} s",
    footer=lambda ended: ended.model,
    empty=lambda ended: "(nothing)",
    interrupted=lambda: "The bot was restarted while it wrote this.",
    unshown=lambda: "This part cannot be shown.",
    superseded=lambda: "This message is out of date.",
    broken=lambda: "Something went wrong; please try again.",
    rest_in_file=lambda over: "The rest is in the file." if over else "The rest comes as a file.",
)


class FakeBot:
    """Answers what `script` makes of the incoming event; notes every event.

    A "long" text gets 50,000 characters; a "hold" text waits until `release` is set, so that a test decides how long
    an answer grows.
    """

    def __init__(self) -> None:
        self.incoming: list[Incoming] = []
        self.coming = Coming()
        self.release = asyncio.Event()
        self.pause: Callable[[], float] = lambda: 0.0
        self.closed = 0
        self.known: Collection[str] = ()

    async def is_known(self, person: str) -> bool:
        return person in self.known

    async def enter(self, call: Call) -> Permit:
        """A gate that is open."""
        return Permit(call.actor)

    async def respond(self, incoming: Incoming) -> AsyncGenerator[ReplyEvent, None]:
        self.incoming.append(incoming)
        try:
            async for event in self._script(incoming):
                yield event
        finally:
            self.closed += 1

    async def _script(self, incoming: Incoming) -> AsyncIterator[ReplyEvent]:
        match incoming.text:
            case "/stop":
                self.release.set()
                yield Notice("Stopped.", private=True)
            case "/secret":
                yield Notice("For your eyes *only*.", private=True)
            case "fail":
                yield Failed("The queue is full; try again in 5 s.")
            case "crash":
                raise RuntimeError("a secret path")
            case text:
                yield Started(answer_id=incoming.event_id)
                if text.startswith("long"):
                    yield TextDelta("word " * 10_000)
                if text.startswith("think"):
                    yield ThinkingDelta("Let me see.")
                async for event in self._words(text):
                    yield event
                yield ENDED

    async def _words(self, text: str) -> AsyncIterator[ReplyEvent]:
        if "hold" in text:
            yield TextDelta("Holding ")
            await self.release.wait()
        for word in f"You said: {text[:400]}".split(" "):
            await asyncio.sleep(self.pause())
            yield TextDelta(word + " ")


class PlainOutboxes:
    """One post for one answer, edited with every event; as simple as a delivery can be."""

    async def deliver(
        self,
        channel: Channel,
        chat: str,
        events: AsyncGenerator[ReplyEvent, None],
        *,
        reply_to: str | None,
        record: Deliveries,
        asker: str = "",
        party: str = "",
        state_of: str = "",
    ) -> Outcome:
        post_id, frame = None, Frame(status="Starting…", growing=True, actions=(Action.STOP,))
        async for event in events:
            frame = _next(frame, event)
            if post_id is None:
                post_id = await channel.send(frame, reply_to=reply_to, nonce=uuid.uuid4().hex)
            else:
                await channel.edit(post_id, frame)
        return DELIVERED


def _next(frame: Frame, event: ReplyEvent) -> Frame:
    match event:
        case TextDelta(text):
            return replace(frame, markdown=frame.markdown + text, status="")
        case ThinkingDelta(text):
            return replace(frame, thinking=ThinkingView(text, 1.0, False))
        case Ended(actions=actions):
            thinking = frame.thinking and replace(frame.thinking, done=True)
            return replace(frame, growing=False, status="", footer="A fake model", actions=actions, thinking=thinking)
        case Failed(sentence):
            return Frame(failure=sentence)
        case Notice(text, private):
            return Frame(markdown=text, notice=True, private=private)
        case _:
            return frame


class NoRecord:
    """Remembers no deliveries."""

    async def delivered(self, chat: str, answer_id: str) -> Delivered:
        return Delivered(answer_id)

    async def answer_at(self, chat: str, message_id: str) -> str | None:
        return None

    async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
        pass

    async def recorded(self) -> None:
        pass

    async def supersede(self, chat: str, answer_id: str) -> None:
        pass

    async def superseded(self, chat: str, answer_id: str) -> Sequence[str]:
        return ()

    async def forget_delivery(self, chat: str, message_id: str) -> None:
        pass

    async def record_shown(self, chat: str, answer_id: str) -> None:
        pass


TEMPERATURE = SettingView(
    name="temperature",
    label="Temperature",
    kind="range",
    value="0.7",
    default="0.7",
    low=0.1,
    high=1.0,
    step=0.05,
    help="Low for facts and summaries, high for stories and ideas.",
)


class FakePanel:
    """Two settings in memory; refuses a temperature above 1."""

    def __init__(self, views: Sequence[SettingView] = (TEMPERATURE,)) -> None:
        self.views = views
        self.values: dict[tuple[str, str], str] = {}
        self.pause_s = 0.0

    async def describe(self, person_id: str) -> Sequence[SettingView]:
        return [replace(view, value=self.values.get((person_id, view.name), view.value)) for view in self.views]

    async def change(self, person_id: str, name: str, value: str) -> str | None:
        if name == "temperature" and float(value) > 1:
            raise ValueError("temperature must be between 0.1 and 1.0.")
        await asyncio.sleep(self.pause_s)
        self.values[person_id, name] = value
        return f"{name} is {value} now."


@dataclass(frozen=True)
class Prompt:
    kind: str
    text: str


@dataclass(kw_only=True)
class Parts:
    """A server and what is behind it."""

    bot: FakeBot = field(default_factory=FakeBot)
    panel: FakePanel = field(default_factory=FakePanel)
    posts: Posts = field(default_factory=MemoryPosts)
    inbox: Inbox = field(default_factory=MemoryStorage)
    outboxes: DeliveryPort = field(default_factory=PlainOutboxes)
    info: ModelInfo = field(default_factory=lambda: ModelInfo(name="A fake model", context_tokens=2048))
    examples: Sequence[Prompt] = (Prompt("plain", "Write a poem."), Prompt("one word", "Rain"))
    loaded: Callable[[], Awaitable[None]] | None = None
    commands: Sequence[tuple[str, str]] = (("code", "Write code"), ("caption", "Describe a picture"))

    def server(self, port: int = 0, grace_s: float = 60.0, **options: Any) -> WebServer:
        return WebServer(
            bot=self.bot,
            outboxes=self.outboxes,
            record=NoRecord(),
            inbox=self.inbox,
            phrases=PHRASES,
            posts=self.posts,
            panel=self.panel,
            info=lambda: self.info,
            examples=self.examples,
            commands=self.commands,
            port=port,
            grace_s=grace_s,
            loaded=self.loaded,
            **options,
        )


def reading(data: bytes) -> Callable[[], Awaitable[bytes]]:
    """A picture as it comes in: all of it, then its end."""
    chunks = [data]

    async def read() -> bytes:
        return chunks.pop() if chunks else b""

    return read


@asynccontextmanager
async def browser_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client with cookies of its own, also for addresses without a name."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


class Page:
    """The page's end of a socket: sends messages and waits for what the server says."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []
        self._read = 0

    async def say(self, kind: str, **fields: object) -> None:
        await self.socket.send_json({"type": kind, **fields})

    async def type(self, text: str, client_id: str = "a", pictures: Sequence[str] = ()) -> None:
        await self.say("message", client_id=client_id, text=text, pictures=list(pictures))

    def forget(self) -> None:
        """What was read is not kept."""
        del self.seen[: self._read]
        self._read = 0

    async def next(self, kind: str, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The next message of this kind that is wanted; what was read before is not looked at again."""
        while True:
            while self._read < len(self.seen):
                message = self.seen[self._read]
                self._read += 1
                if message["type"] == kind and wanted(message):
                    return message
            self.seen.append(await self.socket.receive_json())

    async def post(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next state of a post that is wanted."""
        message = await self.next("post", lambda message: wanted(message["post"]))
        post: dict[str, Any] = message["post"]
        return post

    async def answer(self) -> dict[str, Any]:
        """The next finished post of the bot."""
        return await self.post(lambda post: post["kind"] == "bot" and not post["growing"])


@asynccontextmanager
async def visit(address: str) -> AsyncIterator[Page]:
    """Somebody new with the page open, after the hello was read into `seen`."""
    async with browser_session() as session, session.ws_connect(address + "ws") as socket:
        page = Page(socket)
        await page.next("settings")
        yield page
