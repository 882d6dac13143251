"""Delivers replies: one outbox for each chat of each bot account, with one call in flight and the newest frame first.

An outbox sleeps until a call is worth making and looks only then at what there is to show, so a frame that was
overtaken is never made and the last one always is.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Sequence
from contextlib import aclosing, suppress
from functools import cached_property
from itertools import count
from types import TracebackType
from typing import NamedTuple, Self

from adapters.delivery.channel import (
    Channel,
    ChannelError,
    Forbidden,
    Later,
    Limits,
    MessageGone,
    Rejected,
    RetryAfter,
    UnknownOutcome,
    Unsent,
)
from adapters.delivery.composing.frame_builder import FrameBuilder
from adapters.delivery.message_state import Delivery, DeliveryCall
from adapters.delivery.outcome import Ending, Outcome
from adapters.delivery.pacing.account_limiter import AccountLimiter, CallTicket
from adapters.delivery.pacing.call_budget import OWN_WORDS, PATIENCE_S, CallBudget, Demand, Priority
from adapters.delivery.pacing.fair_share import FairShare
from adapters.delivery.pacing.spending import Spending
from adapters.delivery.permitted import Permitted, PermittedChannel, at_once
from adapters.delivery.phrases import Phrases
from bots.messages import Attached, Failed, Notice, Relabelled, ReplyEvent, Started, TextDelta
from bots.ports import Deliveries, StorageError
from inference.api import Interrupted

log = logging.getLogger(__name__)

_CALL_TIMEOUT_S = 60.0
_TYPING_TIMEOUT_S = 10.0
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0
_PATIENCE_S = 1_800.0
"""A reply that has failed for so long is given up, unless its platform is away: no other task would go on with it."""
_TICK_S = 0.02
"""No clock is exact: something that is due may need a moment more."""
_LEAVE_WITHIN_S = 2.0
"""How long a delivery that is given up waits for its call in flight, so that its message is known: a platform that is
slow may apply it after the next start has looked for it in vain. `adapters.process.stopping` bounds the whole."""
_END_WITHIN_S = 0.5
"""How long the outboxes then have to notice that nothing is left."""
_LEAVES_FOR_S = 300.0
"""How long somebody who has used their share waits for others at most: where a penalty has left two calls a window,
there might never be as many free as they are to leave."""
_REMEMBERED_CHATS = 2_000


Observer = Callable[[DeliveryCall, float], None]


class _Pause(NamedTuple):
    """There is no call to make."""

    until: float
    """When to look again."""
    is_held: bool
    """Something waits to be shown, so that more previews change nothing."""


class _Moment:
    """What one budget has to keep calls for now, and who has used their share of it."""

    def __init__(self, outbox: Outbox, now: float, *, is_edit: bool) -> None:
        self._outbox = outbox
        self._now = now
        self._is_edit = is_edit
        self._budget = outbox.budget(is_edit=is_edit)

    @cached_property
    def share(self) -> FairShare:
        outbox, had = self._outbox, self._budget.costs(self._now)
        under_way = Counter(reply.party for reply in outbox.replies)
        here = {each: had[each] for each in {*under_way, *had}}
        answer, kind = 1 + outbox.is_shared, self._is_edit and not outbox.is_shared
        elsewhere = {
            each: max(0, outbox.spending.of((each, kind), self._now, self._budget.span_s) - had[each])
            + answer * (outbox.spending.under_way(each) - under_way[each])
            for each in here
            if each
        }
        return FairShare(
            self._budget.capacity, here, elsewhere, answer=answer, is_open=not self._budget.comes_back_one_by_one
        )

    @cached_property
    def _demand(self) -> Demand:
        return self._outbox.demand(self._outbox.replies, is_edit=self._is_edit)

    @cached_property
    def _demand_within(self) -> Demand:
        """Of those within their share: these wait for no last frame of the others."""
        within = [reply for reply in self._outbox.replies if not self.share.is_over(reply.party)]
        return self._outbox.demand(within, is_edit=self._is_edit)

    def ready_at(self, reply: Delivery, priority: Priority) -> float:
        """From when on a call of that reply may go."""
        if priority is Priority.PREVIEW:
            return self._budget.ready_at(priority, reply.party, self._demand, self._now, reply.served_at)
        demand = self._demand if self.share.is_over(reply.party) else self._demand_within
        leaves = 0 if reply.failures else self.share.leaves(reply.party)  # what fails is given up after a while
        at = self._budget.ready_at(priority, reply.party, demand, self._now, reply.waits_since, leaves=leaves)
        if not leaves or at <= self._now:
            return at
        alone = self._budget.ready_at(priority, reply.party, demand, self._now, reply.waits_since)
        return min(at, max(alone, reply.waits_since + _LEAVES_FOR_S))


class Outbox:
    """All that goes out to one chat, one call after the other: what is worth most first, and people in turn.

    Args:
        limits: of the chat.
        spending: what people have cost all chats.
        account: shares the calls of the account, if they are counted.
        spawn: runs a coroutine beside this one.
    """

    def __init__(
        self,
        limits: Limits,
        account: AccountLimiter | None,
        dice: random.Random,
        observe: Observer,
        permitted: Permitted,
        spawn: Callable[[Coroutine[None, None, None]], None],
        spending: Spending,
    ) -> None:
        self.running = False
        self.spending = spending
        self._sends = CallBudget(limits.rate)
        self._edits = CallBudget(limits.edit_rate) if limits.edit_rate else self._sends
        self.is_shared = self._edits is self._sends
        """One budget for new messages and edits."""
        self.replies: list[Delivery] = []
        self._account, self._dice, self._observe = account, dice, observe
        self._permitted, self._spawn = permitted, spawn
        self._sleep: asyncio.Future[None] | None = None
        """While there is no call to make: done when it is time to look again."""
        self._is_held = False
        """Only what is worth more than a preview ends that sleep early."""
        self._turn: CallTicket | None = None
        """The call that waits for the account."""
        self._silent_until = float("-inf")
        self._typed_at = float("-inf")
        self._typing_after = float("-inf")
        """Where edits have a budget of their own, so has "typing", and a penalty for it silences nothing else."""
        self._succeeded_at = float("-inf")

    def add(self, reply: Delivery) -> None:
        """Of the states of one thing, only the newest is shown; those before it are delivered with it."""
        for older in self.replies:
            if reply.state_of and older.state_of == reply.state_of and older.asker == reply.asker:
                older.overtake()
        self.replies.append(reply)
        self.spending.begin(reply.party)
        reply.wake = self._look
        self._look()

    def wake(self, reply: Delivery, *, is_more: bool = False) -> None:
        """The reply was told something; `is_more`: one of thousands of words, which are worth a preview."""
        if not self._is_held:
            self._look()
        if is_more:
            return
        priority = reply.priority
        if priority < reply.announced:
            reply.announced = priority
            self._look()
        if priority is Priority.REFUSAL:
            self._merge(reply)
        if self._turn and self._account:
            self._account.raise_to(self._turn, priority)

    def _merge(self, reply: Delivery) -> None:
        """Somebody who is refused again before they have heard of it is told once, under what they asked last."""
        for older in self.replies:
            is_same = older is not reply and reply.asker and older.asker == reply.asker
            if is_same and older.priority is Priority.REFUSAL:
                older.overtake()

    def remove(self, reply: Delivery) -> None:
        if reply in self.replies:
            self._drop(reply)
        self._look()

    def _drop(self, reply: Delivery) -> None:
        self.replies.remove(reply)
        self.spending.end(reply.party)

    def _look(self) -> None:
        if self._sleep and not self._sleep.done():
            self._sleep.set_result(None)

    def forgettable(self, now: float) -> bool:
        idle = self._sends.is_idle(now) and self._edits.is_idle(now)
        return not self.running and idle and now >= self._silent_until

    async def run(self) -> None:
        """Delivers until there is nothing left to deliver."""
        loop = asyncio.get_running_loop()
        try:
            while self.replies:
                now = loop.time()
                found = self._choose(now)
                for over in [reply for reply in self.replies if reply.is_finished]:
                    self._drop(over)
                if isinstance(found, DeliveryCall):
                    await self._send(found)
                elif self.replies:
                    self._type(now)
                    wake_at = min(found.until, self._typing_due())
                    await self._rest(max(wake_at, now + _TICK_S), is_held=found.is_held)
        except Exception:
            log.exception("an outbox broke; what it held goes on after the next start")
        finally:
            self.running = False
            for reply in self.replies:
                reply.finish(Outcome(Ending.LEFT, "its outbox ended"))

    async def _rest(self, until: float, *, is_held: bool) -> None:
        loop = asyncio.get_running_loop()
        self._sleep, self._is_held = loop.create_future(), is_held
        alarm = loop.call_at(until, self._look) if until < float("inf") else None
        try:
            await self._sleep
        finally:
            self._sleep, self._is_held = None, False
            if alarm:
                alarm.cancel()

    def _choose(self, now: float) -> DeliveryCall | _Pause:
        """The call to make now, or until when there is none."""
        if now < self._silent_until:
            return _Pause(self._silent_until, is_held=True)
        pause = _Pause(float("inf"), is_held=False)
        sends = _Moment(self, now, is_edit=False)
        moments = sends, sends if self.is_shared else _Moment(self, now, is_edit=True)
        for reply in self._in_turn(now, {*moments}):
            if now < reply.not_before:
                pause = _Pause(min(pause.until, reply.not_before), pause.is_held)
                continue
            if not reply.is_pending and now < reply.due_at:
                pause = _Pause(min(pause.until, reply.due_at), pause.is_held)
                continue
            if not reply.is_pending:
                reply.ready_at, reply.is_pending = reply.due_at, True
            expected = reply.priority, reply.visible
            at = moments[expected[1]].ready_at(reply, expected[0])
            job = _next_job(reply, now) if at <= now else None
            if job is not None:
                if (job.priority, job.is_edit) == expected:
                    return job
                at = moments[job.is_edit].ready_at(reply, job.priority)
                if at <= now:
                    return job
            elif at <= now:
                reply.waits(now)
                pause = _Pause(min(pause.until, reply.due_at), pause.is_held)
                continue
            reply.ready_at = at
            pause = _Pause(min(pause.until, at), is_held=True)
        return pause

    def _in_turn(self, now: float, moments: Collection[_Moment]) -> list[Delivery]:
        """The bot's own words come behind answers, until they have waited for long; previews come last."""
        if len(self.replies) == 1:
            return self.replies

        def rank(reply: Delivery) -> tuple[int, int, Priority, float]:
            priority = reply.priority
            if priority is Priority.PREVIEW:
                return 2, 0, priority, reply.served_at
            is_behind = priority in OWN_WORDS and now < reply.waits_since + PATIENCE_S
            stands = sum(moment.share.standing(reply.party) for moment in moments)
            return int(is_behind), stands, priority, reply.served_at

        return sorted(self.replies, key=rank)

    def budget(self, *, is_edit: bool) -> CallBudget:
        return self._edits if is_edit else self._sends

    def demand(self, replies: Sequence[Delivery], *, is_edit: bool) -> Demand:
        """What these need of the budget of new messages, or of that of edits."""
        is_shared = self.is_shared
        firsts = finals = later = 0
        for reply in replies:
            if reply.has_spoken:
                finals += is_shared or is_edit
            elif reply.priority not in OWN_WORDS:
                firsts += is_shared or reply.visible == is_edit
                later += is_shared or is_edit
        askers = {reply.party for reply in replies}
        return Demand(firsts, finals, later, askers, for_an_answer=2 if is_shared else int(not is_edit))

    async def _send(self, job: DeliveryCall) -> None:
        """Makes the call when it is its turn in the account; what it shows is looked at again then."""
        loop, limiter = asyncio.get_running_loop(), self._account
        due = max(job.reply.ready_at, job.reply.changed_at or loop.time())
        turn = None
        if limiter:
            turn = limiter.request(job.priority, job.reply.served_at, yields=self._yields(job, loop.time()))
        try:
            has_waited = await self._granted(turn)
            if await self._permitted() or has_waited:
                due = loop.time()
                found = self._choose(due)
                if not isinstance(found, DeliveryCall):
                    return
                job = found
            turn_used, turn = turn, None
        finally:
            if limiter and turn:
                limiter.abandon(turn)
        try:
            await self._make(job, due)
        finally:
            if limiter and turn_used:
                limiter.end(loop.time())

    def _yields(self, job: DeliveryCall, now: float) -> bool:
        """Whether it is for somebody who has used their share."""
        is_edit = job.is_edit
        return bool(job.reply.party) and _Moment(self, now, is_edit=is_edit).share.is_over(job.reply.party)

    async def _granted(self, turn: CallTicket | None) -> bool:
        """Whether the turn had to be waited for. Meanwhile the call may become worth more."""
        if turn is None or turn.granted.done():
            return False
        self._turn = turn
        try:
            await turn.granted
        finally:
            self._turn = None
        return True

    async def _make(self, job: DeliveryCall, due: float) -> None:
        loop, reply = asyncio.get_running_loop(), job.reply
        budget = self._edits if job.is_edit else self._sends
        began = reply.served_at = loop.time()
        reply.changed_at, reply.announced, reply.is_pending = None, Priority.PREVIEW, True
        budget.begin(began)
        self._observe(job, began - due)
        reply.in_flight = loop.create_future()
        try:
            await self._call(job, budget)
        finally:
            reply.in_flight.set_result(None)
            reply.in_flight = None
        reply.look(loop.time())

    async def _call(self, job: DeliveryCall, budget: CallBudget) -> None:
        loop, reply, is_admitted = asyncio.get_running_loop(), job.reply, True
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                await job.call()
        except RetryAfter as penalty:
            is_admitted = False
            self._silent_until = budget.penalised(loop.time(), penalty.retry_after_s, of_chat=penalty.of_chat)
        except Later as pause:
            is_admitted = False
            budget.withdraw()
            reply.not_before = loop.time() + pause.retry_after_s
        except Unsent as error:
            self._failed(reply, error)
        except (UnknownOutcome, TimeoutError, StorageError) as error:
            job.unknown()
            self._failed(reply, error)
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
            self._failed(reply, error)
        else:
            reply.failures = 0
            self._succeeded_at = loop.time()
        finally:
            if is_admitted:
                budget.admitted(loop.time(), job.priority, reply.party)
                if job.priority is not Priority.PREVIEW:
                    self.spending.add((reply.party, job.is_edit and not self.is_shared), loop.time())

    def _failed(self, reply: Delivery, error: Exception) -> None:
        """That reply waits, and nobody else: others may be shown all the same."""
        now = asyncio.get_running_loop().time()
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

    def _typing_due(self) -> float:
        reply = min(self.replies, key=Delivery.typing_due)
        again_at = self._typed_at + reply.channel.limits.typing_s / 2
        return max(reply.typing_due(), again_at, self._silent_until, self._typing_after)

    def _type(self, now: float) -> None:
        """Shows "typing" beside all calls, where the account has calls to spare."""
        if now < self._typing_due():
            return
        reply = min(self.replies, key=Delivery.typing_due)
        reply.typed_at = self._typed_at = now
        if self._account is None or self._account.begin_spare(now):
            self._spawn(self._show_typing(reply))

    async def _show_typing(self, reply: Delivery) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_TYPING_TIMEOUT_S):
                await reply.channel.typing()
        except RetryAfter as penalty:
            until = loop.time() + penalty.retry_after_s
            if penalty.of_chat and not self.is_shared:
                self._typing_after = until
            else:
                self._silent_until = max(self._silent_until, until)
        except (ChannelError, TimeoutError, StorageError) as error:
            log.debug("%s: no typing: %r", reply.chat, error)
        except Exception:
            log.exception("%s: typing failed", reply.chat)
        finally:
            if self._account is not None:
                self._account.end(loop.time())


class Outboxes:
    """The outboxes of all chats. Use as a context manager: their tasks end with it.

    Args:
        phrases: the bot's own sentences.
        dice: for the jitter of retries.
        observe: called with every call and the seconds that it went out later than it could have.
        permitted: waited for before every call; False where it returned at once. Another process may have taken over.
    """

    def __init__(
        self,
        *,
        phrases: Phrases,
        dice: random.Random | None = None,
        observe: Observer | None = None,
        permitted: Permitted = at_once,
    ) -> None:
        self._phrases = phrases
        self._dice = dice or random.Random()
        self._observe = observe or _ignore
        self._permitted = permitted
        self._accounts: dict[str, AccountLimiter] = {}
        self._outboxes: dict[tuple[str, str], Outbox] = {}
        self._spending = Spending()
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
            await asyncio.wait(self._running, timeout=_END_WITHIN_S)
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    def under_way(self, account: str, chat: str, asker: str) -> int:
        """How many replies for this person are on their way to the chat."""
        outbox = self._outboxes.get((account, chat))
        return 0 if outbox is None else sum(reply.asker == asker for reply in outbox.replies)

    async def drained(self, within_s: float) -> None:
        """Returns when no reply is on its way, or after so long: what has come to its end is shown to its end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), within_s)

    @property
    def remembered(self) -> int:
        """The number of chats whose calls are counted."""
        return len(self._outboxes)

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
        """Brings one reply to the platform; returns when its outcome is certain, which is never raised.

        It is delivered when its last frame is visible, lost when the chat, the message or the content is, and left
        where the service gave it up (`Interrupted`) or nothing can be made of it. Closes `events` in any case.
        A cancelled delivery leaves its messages as they are: the next start goes on with them.

        Args:
            reply_to: the platform's id of the message that is answered.
            asker: the person whom it is for; people take turns in a chat.
            party: takes turns in their place: many people who weigh like one. "": the asker alone.
            state_of: what it shows the newest state of, such as a panel. A reply of the same that waits is overtaken,
                and delivered with this one.
        """
        loop = asyncio.get_running_loop()
        assembler = FrameBuilder(channel.limits, channel.measure, self._phrases)
        nonce = f"{self._run_id}:{next(self._numbers)}"
        guarded = PermittedChannel(channel, self._permitted)
        reply = Delivery(
            guarded, chat, assembler, reply_to, record, nonce, loop.time(), asker, party or asker, state_of
        )
        outbox = self._outbox(channel, chat)
        outbox.add(reply)
        self._run(outbox)
        self._under_way += 1
        self._idle.clear()
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read(events, reply, outbox))
                await reply.finished
                reader.cancel()
            await _at_rest(reply)
            await reply.record_outcome()
        except asyncio.CancelledError:
            outbox.remove(reply)
            await _at_rest(reply)
            raise
        finally:
            outbox.remove(reply)
            reply.let_go()
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
            self._spawn(outbox.run())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _read(self, events: AsyncGenerator[ReplyEvent, None], reply: Delivery, outbox: Outbox) -> None:
        loop, answer_id = asyncio.get_running_loop(), ""
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, TextDelta):  # most are
                        reply.take(event, loop.time())
                        outbox.wake(reply, is_more=reply.has_spoken)
                        continue
                    known = await _known_ids(event, reply) if isinstance(event, Notice | Attached) else ()
                    if isinstance(event, Started):
                        answer_id = event.answer_id
                        if event.again or event.message_ids:
                            await reply.supersede(answer_id, anew=False)
                            await (reply.recall(answer_id) if event.again else reply.forget_files(answer_id))
                    elif isinstance(event, Relabelled):
                        await reply.supersede(answer_id)
                    reply.take(event, loop.time(), known)
                    outbox.wake(reply)
        except Interrupted as error:
            reply.finish(Outcome(Ending.LEFT, error.why))
            return
        except Exception:
            log.exception("%s: %s broke", reply.chat, reply.name)
            reply.take(Failed(self._phrases.broken()), loop.time())
        reply.close(loop.time())
        outbox.wake(reply)

    def _outbox(self, channel: Channel, chat: str) -> Outbox:
        limits = channel.limits
        key = (limits.account, chat)
        if key not in self._outboxes:
            self._forget_chats()
            account = None
            if limits.account and limits.account_rate:
                account = self._accounts.setdefault(limits.account, AccountLimiter(limits.account_rate))
            self._outboxes[key] = Outbox(
                limits, account, self._dice, self._observe, self._permitted, self._spawn, self._spending
            )
        return self._outboxes[key]

    def _forget_chats(self) -> None:
        if len(self._outboxes) < _REMEMBERED_CHATS:
            return
        now = asyncio.get_running_loop().time()
        for key in [key for key, outbox in self._outboxes.items() if outbox.forgettable(now)][: _REMEMBERED_CHATS // 2]:
            del self._outboxes[key]


def _ignore(job: DeliveryCall, late_s: float) -> None:
    pass


def _next_job(reply: Delivery, now: float) -> DeliveryCall | None:
    """The edge of one reply: what cannot be put together there holds nobody else up."""
    try:
        return reply.next_job(now)
    except Exception:
        reply.fault(now)
        return None


async def _known_ids(own: Notice | Attached, reply: Delivery) -> Sequence[str]:
    """The messages that show these words already, from before a restart."""
    return await reply.recall(own.id) if own.again and own.id else ()


async def _at_rest(reply: Delivery) -> None:
    """Waits a little for its call in flight."""
    if reply.in_flight:
        await asyncio.wait([reply.in_flight], timeout=_LEAVE_WITHIN_S)
