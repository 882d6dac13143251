"""Delivers replies: one outbox for each chat of each bot account, with one call in flight and the newest frame first.

An outbox sleeps until its chat may be written to again and looks only then at what there is to show, so a frame that
was overtaken is never sent and the last one always is.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from itertools import count
from types import TracebackType
from typing import Self

from adapters.delivery.channel import (
    Channel,
    Forbidden,
    MessageGone,
    Rejected,
    RetryAfter,
    UnknownOutcome,
    Unsent,
)
from adapters.delivery.frames import Assembler
from adapters.delivery.gate import Gate
from adapters.delivery.pacing import Pace
from adapters.delivery.phrases import Phrases
from adapters.delivery.reply import Job, Priority, Reply
from bots.messages import Failed, ReplyEvent
from bots.ports import Deliveries

log = logging.getLogger(__name__)

_CALL_TIMEOUT_S = 60.0
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0
_PATIENCE_S = 1_800.0
"""A chat that has failed for so long is given up."""
_TICK_S = 0.02
"""No clock is exact: something that is due may need a moment more."""
_LEAVE_WITHIN_S = 1.5
"""How long a cancelled delivery tries to leave its last text visible."""
_REMEMBERED_CHATS = 2_000


Observer = Callable[[Job, float], None]


class Outbox:
    """All that goes out to one chat: its replies take turns, the most urgent call first."""

    def __init__(self, interval_s: float, gates: list[Gate], dice: random.Random, observe: Observer) -> None:
        self.pace = Pace(interval_s)
        self.running = False
        self._replies: list[Reply] = []
        self._gates, self._dice, self._observe = gates, dice, observe
        self._news = asyncio.Event()
        self._left = asyncio.Event()
        self._not_before = 0.0
        self._failures = 0
        self._failing_since = 0.0

    def add(self, reply: Reply) -> None:
        self._replies.append(reply)
        self._news.set()

    def wake(self) -> None:
        self._news.set()

    def remove(self, reply: Reply) -> None:
        if reply in self._replies:
            self._replies.remove(reply)
        self._left.set()
        self._news.set()

    def forgettable(self, now: float) -> bool:
        return not self.running and self.pace.silent_until() < now

    async def run(self) -> None:
        """Delivers until there is nothing left to deliver."""
        loop = asyncio.get_running_loop()
        try:
            while self._replies:
                if loop.time() < (ready := max(self.pace.ready_at(), self._not_before)):
                    self._left.clear()
                    await _wait(self._left, ready)
                    continue
                self._news.clear()
                job = self._pick(loop.time())
                if job is None and self._replies:
                    wake_at = min(reply.wake_at(loop.time()) for reply in self._replies)
                    await _wait(self._news, max(wake_at, loop.time() + _TICK_S))
                elif job and await self._held_up(job.priority):
                    job = self._pick(loop.time())
                if job:
                    await self._make(job, max(ready, job.reply.changed_at or loop.time()))
        finally:
            self.running = False
            for reply in self._replies:
                reply.finished.set()

    def _pick(self, now: float) -> Job | None:
        jobs = [job for reply in self._replies if (job := reply.next_job(now))]
        self._replies = [reply for reply in self._replies if not reply.finished.is_set()]
        return min(jobs, key=lambda job: (job.priority, job.reply.served_at), default=None)

    async def _held_up(self, priority: Priority) -> bool:
        held_up = False
        for gate in self._gates:
            held_up |= await gate.passed(priority)
        return held_up

    async def _make(self, job: Job, due: float) -> None:
        loop, reply = asyncio.get_running_loop(), job.reply
        began = reply.served_at = loop.time()
        reply.changed_at = None
        if job.priority is Priority.TYPING:
            reply.typed_at = began
        else:
            self.pace.began(began)
            self._observe(job, began - due)
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                await job.call()
        except RetryAfter as penalty:
            self.pace.penalised(loop.time(), penalty.retry_after_s)
        except Unsent as error:
            self._failed(job, error, loop.time())
        except (UnknownOutcome, TimeoutError) as error:
            job.unknown()
            self._failed(job, error, loop.time())
        except MessageGone:
            reply.finish()
        except Forbidden as error:
            log.warning("%s: the reply is given up: %s", reply.chat, error)
            reply.finish()
        except Rejected as error:
            log.warning("%s: the platform refuses a message: %s", reply.chat, error)
            job.rejected()
        except Exception:
            log.exception("%s: a call failed", reply.chat)
            job.rejected()
        else:
            self._failures = 0
            if job.priority is not Priority.TYPING:
                self.pace.succeeded(loop.time(), loop.time() - began)

    def _failed(self, job: Job, error: Exception, now: float) -> None:
        if job.priority is Priority.TYPING:
            return
        self._failures += 1
        if self._failures == 1:
            self._failing_since = now
        elif now - self._failing_since > _PATIENCE_S:
            log.warning("%s: the reply is given up after %d attempts: %r", job.reply.chat, self._failures, error)
            job.reply.finish()
        pause = min(_LAST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(10, self._failures - 1))
        self._not_before = now + pause * self._dice.uniform(0.5, 1.5)


class Outboxes:
    """The outboxes of all chats. Use as a context manager: their tasks end with it.

    Args:
        phrases: the bot's own sentences.
        overall_interval_s: the time between two calls of the whole program.
        dice: for the jitter of retries.
        observe: called with every call and the seconds that it went out later than it could have.
    """

    def __init__(
        self,
        *,
        phrases: Phrases,
        overall_interval_s: float = 0.0,
        dice: random.Random | None = None,
        observe: Observer | None = None,
    ) -> None:
        self._phrases = phrases
        self._dice = dice or random.Random()
        self._observe = observe or _ignore
        self._overall = [Gate(overall_interval_s)] if overall_interval_s else []
        self._accounts: dict[str, Gate] = {}
        self._outboxes: dict[tuple[str, str], Outbox] = {}
        self._tasks = asyncio.TaskGroup()
        self._numbers = count()
        self._run_id = f"{self._dice.getrandbits(64):x}"

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def remembered(self) -> int:
        """The number of chats whose pace is known."""
        return len(self._outboxes)

    async def deliver(
        self,
        channel: Channel,
        chat: str,
        events: AsyncGenerator[ReplyEvent, None],
        *,
        reply_to: str | None,
        record: Deliveries,
    ) -> None:
        """Brings one reply to the platform; returns when its last frame is there, or the chat or message is lost.

        Closes `events` in any case. A cancelled delivery leaves the last text visible, if that is possible soon.

        Args:
            reply_to: the platform's id of the message that is answered.
        """
        loop = asyncio.get_running_loop()
        assembler = Assembler(channel.limits, channel.measure, self._phrases)
        nonce = f"{self._run_id}:{next(self._numbers)}"
        reply = Reply(channel, chat, assembler, reply_to, record, nonce, loop.time())
        outbox = self._outbox(channel, chat)
        outbox.add(reply)
        if not outbox.running:
            outbox.running = True
            self._tasks.create_task(outbox.run())
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read(events, reply, outbox))
                await reply.finished.wait()
                reader.cancel()
            await reply.record_shown()
        except asyncio.CancelledError:
            assembler.interrupt()
            outbox.wake()
            await _wait(reply.finished, loop.time() + _LEAVE_WITHIN_S)
            raise
        finally:
            outbox.remove(reply)

    async def _read(self, events: AsyncGenerator[ReplyEvent, None], reply: Reply, outbox: Outbox) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with aclosing(events):
                async for event in events:
                    reply.take(event, loop.time())
                    outbox.wake()
        except Exception:
            log.exception("%s: a reply broke", reply.chat)
            reply.take(Failed(self._phrases.broken()), loop.time())
        reply.assembler.close(loop.time())
        outbox.wake()

    def _outbox(self, channel: Channel, chat: str) -> Outbox:
        limits = channel.limits
        key = (limits.account, chat)
        if key not in self._outboxes:
            self._forget_chats()
            gates = list(self._overall)
            if limits.account and limits.account_interval_s:
                gates.append(self._accounts.setdefault(limits.account, Gate(limits.account_interval_s)))
            self._outboxes[key] = Outbox(limits.interval_s, gates, self._dice, self._observe)
        return self._outboxes[key]

    def _forget_chats(self) -> None:
        if len(self._outboxes) < _REMEMBERED_CHATS:
            return
        now = asyncio.get_running_loop().time()
        for key in [key for key, outbox in self._outboxes.items() if outbox.forgettable(now)][: _REMEMBERED_CHATS // 2]:
            del self._outboxes[key]


def _ignore(job: Job, late_s: float) -> None:
    pass


async def _wait(event: asyncio.Event, until: float) -> None:
    """Waits for the event, at most until that time of the loop's clock."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(None if until == float("inf") else until):
            await event.wait()
