"""A simulated platform and its virtual clock: limits, bans, lost connections and slow calls, all decided by a seed."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from adapters.delivery.channel import (
    Forbidden,
    Frame,
    Limits,
    MessageGone,
    Rejected,
    RetryAfter,
    UnknownOutcome,
    Unsent,
)
from adapters.delivery.phrases import Phrases
from bots.messages import ReplyEvent
from bots.ports import Delivered

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waiting takes no time: the loop's clock jumps to the next timer instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits and nothing is due: a deadlock")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` jumps over every wait. Threads and sockets have no place in it."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


PHRASES = Phrases(
    waiting=lambda position, eta_s: f"In the queue, {position}, {eta_s} s",
    loading=lambda awaited: f"Loading the {awaited.what}",
    starting=lambda: "Starting",
    thinking=lambda seconds, done: f"{'Thought' if done else 'Thinking'}, {seconds:.0f} s",
    footer=lambda ended: f"{ended.model}, {ended.reason}",
    empty=lambda ended: "Nothing came",
    interrupted=lambda: "To be continued",
    broken=lambda: "Something broke",
    unshown=lambda: "Look into the file",
    superseded=lambda: "Look above",
    rest_in_file=lambda over: "The rest is in the file." if over else "The rest comes as a file.",
)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the platform enforces: a bucket of `burst` calls a chat, refilled every `chat_interval_s`, and windows.

    Args:
        group_calls: at most so many calls a chat in `group_window_s`.
        overall_calls: at most so many calls in any second, over all chats.
        ban_growth: every call during a ban makes what is left of it so many times longer.
    """

    chat_interval_s: float = 0.0
    burst: int = 1
    group_calls: int = 0
    group_window_s: float = 60.0
    overall_calls: int = 0
    ban_growth: float = 1.5


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Probabilities per call. A late call is applied up to `latest_s` after its connection was lost."""

    unsent: float = 0.0
    lost_before: float = 0.0
    lost_after: float = 0.0
    late: float = 0.0
    latest_s: float = 0.2
    penalty: float = 0.0
    penalty_s: float = 3.0
    latency_s: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def drawn(cls, dice: random.Random) -> Faults:
        return cls(
            unsent=dice.choice([0, 0.1, 0.2]),
            lost_before=dice.choice([0, 0.1]),
            lost_after=dice.choice([0, 0.1]),
            late=dice.choice([0, 0.1]),
            penalty=dice.choice([0, 0.05, 0.2]),
            penalty_s=dice.uniform(0.5, 20),
            latency_s=(0.0, dice.choice([0.0, 0.1, 2.0])),
        )


@dataclass
class Message:
    id: str
    nonce: str
    frames: list[Frame]
    reply_to: str | None = None
    file: tuple[str, bytes] | None = None
    deleted: bool = False


@dataclass
class Chat:
    messages: list[Message] = field(default_factory=list)
    calls: int = 0
    penalties: int = 0
    penalty_times: list[float] = field(default_factory=list)
    calls_in_ban: int = 0
    typings: int = 0
    typing_times: list[float] = field(default_factory=list)
    banned_until: float = 0.0
    forbidden: bool = False
    refused: int = 0
    """Frames that were too long or empty."""
    in_flight: int = 0
    most_in_flight: int = 0
    private_files: set[str] = field(default_factory=set)
    tokens: float | None = None
    refilled_at: float = 0.0
    recent: deque[float] = field(default_factory=deque)
    frames: list[tuple[float, str, Frame]] = field(default_factory=list)
    """(time, message id, frame) of everything that was ever visible."""

    def message(self, message_id: str) -> Message | None:
        return next((message for message in self.messages if message.id == message_id), None)

    @property
    def visible(self) -> list[Message]:
        return [message for message in self.messages if not message.deleted and not message.file]

    @property
    def files(self) -> dict[str, bytes]:
        return dict(message.file for message in self.messages if message.file)

    @property
    def all_files(self) -> list[bytes]:
        return [message.file[1] for message in self.messages if message.file]


class Platform:
    """The server's side. `rules` may be changed while it runs."""

    def __init__(self, rules: Rules | None = None, faults: Faults | None = None, seed: int = 0) -> None:
        self.rules, self.faults = rules or Rules(), faults or Faults()
        self.chats: dict[str, Chat] = {}
        self._dice = random.Random(seed)
        self.recent: deque[float] = deque()
        self._count = 0

    def chat(self, name: str) -> Chat:
        return self.chats.setdefault(name, Chat())

    async def call(self, name: str, apply: Callable[[Chat], T]) -> T:
        """A call that shows something."""
        chat, faults = self.chat(name), self.faults
        chat.in_flight += 1
        chat.most_in_flight = max(chat.most_in_flight, chat.in_flight)
        try:
            await asyncio.sleep(self._dice.uniform(*faults.latency_s) / 2)
            self._admit(chat)
            fault = self._dice.random()
            for probability, failing in (
                (faults.unsent, self._unsent),
                (faults.lost_before, self._lost_before),
                (faults.lost_after, self._lost_after),
                (faults.late, self._late),
            ):
                if fault < probability:
                    failing(chat, apply)
                fault -= probability
            result = apply(chat)
            await asyncio.sleep(self._dice.uniform(*faults.latency_s) / 2)
            return result
        finally:
            chat.in_flight -= 1

    async def hint(self, name: str) -> None:
        chat, now = self.chat(name), asyncio.get_running_loop().time()
        chat.typings += 1
        chat.typing_times.append(now)
        if now < chat.banned_until - 1e-6:
            chat.calls_in_ban += 1
            raise self._penalty(chat, chat.banned_until - now)
        await asyncio.sleep(self._dice.uniform(*self.faults.latency_s))

    def _unsent(self, chat: Chat, apply: Callable[[Chat], object]) -> None:
        raise Unsent("503")

    def _lost_before(self, chat: Chat, apply: Callable[[Chat], object]) -> None:
        raise UnknownOutcome("connection lost")

    def _lost_after(self, chat: Chat, apply: Callable[[Chat], object]) -> None:
        apply(chat)
        raise UnknownOutcome("connection lost")

    def _late(self, chat: Chat, apply: Callable[[Chat], object]) -> None:
        delay = self._dice.uniform(0, self.faults.latest_s)
        asyncio.get_running_loop().call_later(delay, self._apply_late, chat, apply)
        raise UnknownOutcome("timed out")

    def _apply_late(self, chat: Chat, apply: Callable[[Chat], object]) -> None:
        with suppress(MessageGone, Rejected):
            apply(chat)

    def _admit(self, chat: Chat) -> None:
        now, rules = asyncio.get_running_loop().time(), self.rules
        chat.calls += 1
        if chat.forbidden:
            raise Forbidden("blocked by the user")
        if now < chat.banned_until - 1e-6:
            chat.calls_in_ban += 1
            chat.banned_until = now + (chat.banned_until - now) * rules.ban_growth
            raise self._penalty(chat, chat.banned_until - now)
        if self._dice.random() < self.faults.penalty:
            raise self._penalty(chat, self._dice.uniform(0.1, self.faults.penalty_s))
        if rules.chat_interval_s:
            refill = (now - chat.refilled_at) / rules.chat_interval_s
            tokens = rules.burst if chat.tokens is None else chat.tokens + refill
            chat.tokens, chat.refilled_at = min(rules.burst, tokens), now
            if chat.tokens < 1 - 1e-6:
                raise self._penalty(chat, (1 - chat.tokens) * rules.chat_interval_s)
            chat.tokens -= 1
        if rules.group_calls:
            while chat.recent and chat.recent[0] <= now - rules.group_window_s:
                chat.recent.popleft()
            if len(chat.recent) >= rules.group_calls:
                raise self._penalty(chat, chat.recent[0] + rules.group_window_s - now)
            chat.recent.append(now)
        if rules.overall_calls:
            while self.recent and self.recent[0] <= now - 1.0:
                self.recent.popleft()
            if len(self.recent) >= rules.overall_calls:
                raise self._penalty(chat, self.recent[0] + 1.0 - now)
            self.recent.append(now)

    def _penalty(self, chat: Chat, seconds: float) -> RetryAfter:
        now = asyncio.get_running_loop().time()
        chat.penalties += 1
        chat.penalty_times.append(now)
        chat.banned_until = max(chat.banned_until, now + seconds)
        return RetryAfter(chat.banned_until - now)

    def next_id(self) -> str:
        self._count += 1
        return f"m{self._count}"


def plain(frame: Frame) -> str:
    """How the simulated platform shows a frame: everything in it, a line each."""
    thinking = [frame.thinking.label, frame.thinking.text] if frame.thinking else []
    parts = [*thinking, frame.status, frame.markdown, frame.failure, frame.footer, "▌" if frame.growing else ""]
    return "\n".join(part for part in parts if part)


class SimulatedChannel:
    """A `Channel` to one chat of the simulated platform; counts UTF-16 units of everything in a frame."""

    def __init__(self, platform: Platform, chat: str, limits: Limits | None = None) -> None:
        self._platform, self._chat = platform, chat
        self._limits = limits or Limits(message_units=400, upload_bytes=10_000_000)

    @property
    def limits(self) -> Limits:
        return self._limits

    def measure(self, frame: Frame) -> int:
        text = plain(frame)
        return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        return await self._platform.call(self._chat, lambda chat: self._post(chat, nonce, frame, reply_to, None))

    def sending(self, reply_to: str | None, nonce: str) -> str | None:
        return None

    async def find(self, nonce: str) -> str | None:
        chat = self._platform.chat(self._chat)
        return next((each.id for each in chat.messages if each.nonce == nonce and not each.deleted), None)

    async def edit(self, message_id: str, frame: Frame) -> str | None:
        def apply(chat: Chat) -> None:
            message = chat.message(message_id)
            if message is None or message.deleted:
                raise MessageGone(message_id)
            self._show(chat, message, frame)

        await self._platform.call(self._chat, apply)
        return None

    async def delete(self, message_id: str) -> None:
        def apply(chat: Chat) -> None:
            message = chat.message(message_id)
            if message is None or message.deleted:
                raise MessageGone(message_id)
            message.deleted = True

        await self._platform.call(self._chat, apply)

    async def typing(self) -> None:
        """Counted by no limit, but refused in a ban."""
        await self._platform.hint(self._chat)

    async def upload(self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False) -> str:
        if len(data) > self._limits.upload_bytes:
            raise Rejected("the file is too large")

        def apply(chat: Chat) -> str:
            if private:
                chat.private_files.add(name)
            return self._post(chat, nonce, None, reply_to, (name, data))

        return await self._platform.call(self._chat, apply)

    def _post(
        self, chat: Chat, nonce: str, frame: Frame | None, reply_to: str | None, file: tuple[str, bytes] | None
    ) -> str:
        for message in chat.messages:
            if message.nonce == nonce:  # the platform knows nonces
                return message.id
        message = Message(self._platform.next_id(), nonce, [], reply_to, file)
        if frame:
            self._show(chat, message, frame)
        chat.messages.append(message)
        return message.id

    def _show(self, chat: Chat, message: Message, frame: Frame) -> None:
        if self.measure(frame) > self._limits.message_units or not plain(frame).strip():
            chat.refused += 1
            raise Rejected("the message is too long or empty")
        message.frames.append(frame)
        chat.frames.append((asyncio.get_running_loop().time(), message.id, frame))


class Records:
    """`Deliveries` in memory."""

    def __init__(self) -> None:
        self.positions: dict[tuple[str, str], dict[int, str]] = {}

    async def delivered(self, chat: str, answer_id: str) -> Delivered:
        return Delivered.read(answer_id, self.positions.get((chat, answer_id), {}))

    async def answer_at(self, chat: str, message_id: str) -> str | None:
        found = (answer for (at, answer), ids in self.positions.items() if at == chat and message_id in ids.values())
        return next(found, None)

    async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
        self.positions.setdefault((chat, answer_id), {})[position] = message_id

    async def recorded(self) -> None:
        pass

    async def supersede(self, chat: str, answer_id: str) -> None:
        positions = self.positions.get((chat, answer_id), {})
        last = min(0, *positions) if positions else 0
        for position in [position for position in positions if position > 0]:
            positions[last - position] = positions.pop(position)

    async def superseded(self, chat: str, answer_id: str) -> Sequence[str]:
        positions = self.positions.get((chat, answer_id), {})
        return [positions[position] for position in sorted(positions) if position < 0]

    async def forget_delivery(self, chat: str, message_id: str) -> None:
        for (at, _), positions in self.positions.items():
            for position in [each for each, known in positions.items() if at == chat and known == message_id]:
                del positions[position]

    async def record_shown(self, chat: str, answer_id: str) -> None:
        pass


async def told(events: Iterable[ReplyEvent | float]) -> AsyncGenerator[ReplyEvent, None]:
    """A bot that says these things; a number is a pause in seconds."""
    for event in events:
        if isinstance(event, int | float):
            await asyncio.sleep(event)
        else:
            yield event
