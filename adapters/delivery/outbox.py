"""Delivers replies: one outbox for each chat of each bot account, with one call in flight and the newest frame first.

An outbox sleeps until its chat may be written to again and looks only then at what there is to show, so a frame that
was overtaken is never sent and the last one always is.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
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
from adapters.delivery.outcome import Ending, Outcome
from adapters.delivery.pacing import Pace
from adapters.delivery.phrases import Phrases
from adapters.delivery.reply import Job, Priority, Reply
from bots.messages import Attached, Failed, Notice, Relabelled, ReplyEvent, Started
from bots.ports import Deliveries, StorageError
from inference.api import Interrupted

log = logging.getLogger(__name__)

_CALL_TIMEOUT_S = 60.0
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0
_PATIENCE_S = 1_800.0
"""A reply that has failed for so long is given up, unless its platform is away: no other task would go on with it."""
_TICK_S = 0.02
"""No clock is exact: something that is due may need a moment more."""
_LEAVE_WITHIN_S = 0.5
"""How long a delivery that is cancelled waits for its call in flight, so that its message is known."""
_REMEMBERED_CHATS = 2_000


Observer = Callable[[Job, float], None]


class Outbox:
    """All that goes out to one chat: its replies take turns, the most urgent call first."""

    def __init__(
        self,
        interval_s: float,
        gates: list[Gate],
        dice: random.Random,
        observe: Observer,
        permitted: Callable[[], Awaitable[bool]],
    ) -> None:
        self.pace = Pace(interval_s)
        self.running = False
        self._replies: list[Reply] = []
        self._gates, self._dice, self._observe, self._permitted = gates, dice, observe, permitted
        self._news = asyncio.Event()
        self._left = asyncio.Event()
        self._succeeded_at = float("-inf")

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
        return not self.running and self.pace.ready_at() < now

    async def run(self) -> None:
        """Delivers until there is nothing left to deliver."""
        loop = asyncio.get_running_loop()
        try:
            while self._replies:
                if loop.time() < (ready := self.pace.ready_at()):
                    self._left.clear()
                    await _wait(self._left, ready)
                    continue
                self._news.clear()
                job = self._pick(loop.time())
                if job is None and self._replies:
                    wake_at = min(map(self._wake_at, self._replies))
                    await _wait(self._news, max(wake_at, loop.time() + _TICK_S))
                elif job and await self._held_up(job.priority):
                    job = self._pick(loop.time())
                if job:
                    await self._make(job, max(ready, job.reply.changed_at or loop.time()))
        except Exception:
            log.exception("an outbox broke; what it held goes on after the next start")
        finally:
            self.running = False
            for reply in self._replies:
                reply.finish(Outcome(Ending.LEFT, "its outbox ended"))

    def _pick(self, now: float) -> Job | None:
        jobs = [job for reply in self._replies if (job := _next_job(reply, now))]
        self._replies = [reply for reply in self._replies if not reply.finished.is_set()]
        return min(jobs, key=lambda job: (job.priority, job.reply.served_at), default=None)

    def _wake_at(self, reply: Reply) -> float:
        now = asyncio.get_running_loop().time()
        try:
            return reply.wake_at(now)
        except Exception:
            reply.fault(now)
            return now

    async def _held_up(self, priority: Priority) -> bool:
        held_up = False
        for gate in self._gates:
            held_up |= await gate.passed(priority)
        return await self._permitted() or held_up

    async def _make(self, job: Job, due: float) -> None:
        loop, reply = asyncio.get_running_loop(), job.reply
        began = reply.served_at = loop.time()
        reply.changed_at = None
        if job.priority is Priority.TYPING:
            reply.typed_at = began
        else:
            self.pace.began(began)
            self._observe(job, began - due)
        reply.at_rest.clear()
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                await job.call()
        except RetryAfter as penalty:
            self.pace.penalised(loop.time(), penalty.retry_after_s)
        except Unsent as error:
            self._failed(job, error)
        except (UnknownOutcome, TimeoutError, StorageError) as error:
            job.unknown()
            self._failed(job, error)
        except MessageGone:
            reply.finish(Outcome(Ending.LOST, "its message is gone"))
        except Forbidden as error:
            log.warning("%s: the reply is given up: %s", reply.chat, error)
            reply.finish(Outcome(Ending.LOST, f"forbidden: {error}"))
        except Rejected as error:
            log.warning("%s: the platform refuses a message: %s", reply.chat, error)
            job.rejected(Outcome(Ending.LOST, f"refused: {error}"))
        except Exception as error:
            log.exception("%s: a call for %s failed", reply.chat, reply.name)
            job.failed(f"a call failed: {error!r}")
            self._failed(job, error)
        else:
            reply.failures = 0
            self._succeeded_at = loop.time()
            if job.priority is not Priority.TYPING:
                self.pace.succeeded(loop.time(), loop.time() - began)
        finally:
            reply.at_rest.set()
        reply.look(loop.time())

    def _failed(self, job: Job, error: Exception) -> None:
        """That reply waits, and nobody else: others may be shown all the same."""
        reply, now = job.reply, asyncio.get_running_loop().time()
        if job.priority is Priority.TYPING:
            return
        reply.failures += 1
        if reply.failures == 1:
            reply.failing_since = now
        elif now - reply.failing_since > _PATIENCE_S:
            alone = self._succeeded_at > reply.failing_since
            if isinstance(error, Unsent | UnknownOutcome | TimeoutError | StorageError) and not alone:
                log.warning("%s: nothing has come through for half an hour; it is tried on: %r", reply.chat, error)
                reply.failing_since = now
            else:
                log.warning("%s: the reply is given up after %d attempts: %r", reply.chat, reply.failures, error)
                why = f"{reply.failures} attempts failed: {error!r}"
                reply.finish(Outcome(Ending.LOST if alone else Ending.LEFT, why))
        pause = min(_LAST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(10, reply.failures - 1))
        reply.not_before = now + pause * self._dice.uniform(0.5, 1.5)


class Outboxes:
    """The outboxes of all chats. Use as a context manager: their tasks end with it.

    Args:
        phrases: the bot's own sentences.
        overall_interval_s: the time between two calls of the whole program.
        dice: for the jitter of retries.
        observe: called with every call and the seconds that it went out later than it could have.
        permitted: waited for before every call; False where it returned at once. Another process may have taken over.
    """

    def __init__(
        self,
        *,
        phrases: Phrases,
        overall_interval_s: float = 0.0,
        dice: random.Random | None = None,
        observe: Observer | None = None,
        permitted: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._phrases = phrases
        self._dice = dice or random.Random()
        self._observe = observe or _ignore
        self._permitted = permitted or _at_once
        self._overall = [Gate(overall_interval_s)] if overall_interval_s else []
        self._accounts: dict[str, Gate] = {}
        self._outboxes: dict[tuple[str, str], Outbox] = {}
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._numbers = count()
        self._run_id = f"{self._dice.getrandbits(64):x}"

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=_LEAVE_WITHIN_S)
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    async def drained(self, within_s: float) -> None:
        """Returns when no reply is on its way, or after so long: what has come to its end is shown to its end."""
        await _wait(self._idle, asyncio.get_running_loop().time() + within_s)

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
    ) -> Outcome:
        """Brings one reply to the platform; returns when its outcome is certain, which is never raised.

        It is delivered when its last frame is visible, lost when the chat, the message or the content is, and left
        where the service gave it up (`Interrupted`) or nothing can be made of it. Closes `events` in any case.
        A cancelled delivery leaves its messages as they are: the next start goes on with them.

        Args:
            reply_to: the platform's id of the message that is answered.
        """
        loop = asyncio.get_running_loop()
        assembler = Assembler(channel.limits, channel.measure, self._phrases)
        nonce = f"{self._run_id}:{next(self._numbers)}"
        reply = Reply(channel, chat, assembler, reply_to, record, nonce, loop.time())
        outbox = self._outbox(channel, chat)
        outbox.add(reply)
        self._run(outbox)
        self._under_way += 1
        self._idle.clear()
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read(events, reply, outbox))
                await reply.finished.wait()
                reader.cancel()
            await _wait(reply.at_rest, loop.time() + _LEAVE_WITHIN_S)
            await reply.record_outcome()
        except asyncio.CancelledError:
            outbox.remove(reply)
            await _wait(reply.at_rest, loop.time() + _LEAVE_WITHIN_S)
            raise
        finally:
            outbox.remove(reply)
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
        outcome = reply.outcome or Outcome(Ending.LEFT)
        if outcome.reason and outcome.is_settled:  # of what is left, its platform tells
            log.info("%s: %s is %s: %s", chat, reply.name, outcome.ending.value, outcome.reason)
        return outcome

    def _run(self, outbox: Outbox) -> None:
        if not outbox.running:
            outbox.running = True
            task = self._tasks.create_task(outbox.run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _read(self, events: AsyncGenerator[ReplyEvent, None], reply: Reply, outbox: Outbox) -> None:
        loop, answer_id = asyncio.get_running_loop(), ""
        try:
            async with aclosing(events):
                async for event in events:
                    known = await _known_ids(event, reply) if isinstance(event, Notice | Attached) else ()
                    if isinstance(event, Started):
                        answer_id = event.answer_id
                        if event.again or event.message_ids:
                            await reply.supersede(answer_id, anew=False)
                    elif isinstance(event, Relabelled):
                        await reply.supersede(answer_id)
                    reply.take(event, loop.time(), known)
                    outbox.wake()
        except Interrupted as error:
            reply.finish(Outcome(Ending.LEFT, error.why))
            return
        except Exception:
            log.exception("%s: %s broke", reply.chat, reply.name)
            reply.take(Failed(self._phrases.broken()), loop.time())
        reply.assembler.close(loop.time())
        reply.look(loop.time())
        outbox.wake()

    def _outbox(self, channel: Channel, chat: str) -> Outbox:
        limits = channel.limits
        key = (limits.account, chat)
        if key not in self._outboxes:
            self._forget_chats()
            gates = list(self._overall)
            if limits.account and limits.account_interval_s:
                gates.append(self._accounts.setdefault(limits.account, Gate(limits.account_interval_s)))
            self._outboxes[key] = Outbox(limits.interval_s, gates, self._dice, self._observe, self._permitted)
        return self._outboxes[key]

    def _forget_chats(self) -> None:
        if len(self._outboxes) < _REMEMBERED_CHATS:
            return
        now = asyncio.get_running_loop().time()
        for key in [key for key, outbox in self._outboxes.items() if outbox.forgettable(now)][: _REMEMBERED_CHATS // 2]:
            del self._outboxes[key]


def _ignore(job: Job, late_s: float) -> None:
    pass


async def _at_once() -> bool:
    return False


def _next_job(reply: Reply, now: float) -> Job | None:
    """The edge of one reply: what cannot be put together there holds nobody else up."""
    try:
        return reply.next_job(now)
    except Exception:
        reply.fault(now)
        return None


async def _known_ids(own: Notice | Attached, reply: Reply) -> Sequence[str]:
    """The messages that show these words already, from before a restart."""
    if not (own.again and own.id):
        return ()
    try:
        return (await reply.record.delivered(reply.chat, own.id)).message_ids
    except StorageError as error:
        log.warning("%s: whether %s was said is not known: %s", reply.chat, own.id, error)
        return ()


async def _wait(event: asyncio.Event, until: float) -> None:
    """Waits for the event, at most until that time of the loop's clock."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(None if until == float("inf") else until):
            await event.wait()
