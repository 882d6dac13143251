"""Updates on their way in: recorded first, then handled side by side, a bounded number of them at once.

An answer is in work until it is delivered, and a group can be sent 20 calls a minute. So hundreds of accounts in one
group could hold all places for an hour: each chat has a share of them. What is short and must not wait behind them
has places of its own: presses, `/stop`, `/privacy`, what operators send, and that a group has moved. What a `/stop`
takes back waits for no place any more, and is closed at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, TypeGuard

from adapters.delivery.in_hand import InHand
from adapters.telegram.client.addresses import Destination, person_id
from adapters.telegram.inbound.chat_places import ChatPlaces
from adapters.telegram.outbound.callback_data import read_action
from bots.commands.registry import read
from bots.conversation.coming import Coming, Sent
from bots.conversation.ledger import LOOK_EVERY_S, left_behind
from bots.messages import Action
from bots.ports import Inbox, Received, StorageError

log = logging.getLogger(__name__)

KINDS = ("message", "edited_message", "channel_post", "edited_channel_post", "callback_query")
_AT_ONCE = 1_000
"""Updates in work."""
_SHORT_COMMANDS = ("stop", "privacy")
_MOVES = frozenset(("migrate_to_chat_id", "migrate_from_chat_id"))
_OF_OTHERS = frozenset(("forward_origin", "via_bot"))
"""Fields of messages whose words are somebody else's, and no commands."""
_WAITING = 2_000
"""Updates that wait for those; with more, the next batch is not asked for until some are answered."""
_DROPS_SAID_S = 60.0
_LARGEST = 2**63 - 1
_LONGEST_STAMP = 64
"""The id of a callback query is a number of up to 20 digits, as text."""


Places: TypeAlias = ChatPlaces[tuple[Received, bool, str]]
"""Of updates, whether they are new, and in whose share they are."""


_Noted: TypeAlias = tuple[Received, Sent | None]
"""What is left, unless this process has it in hand already, and noted it then."""


class Urgency(StrEnum):
    """Why an update does not wait behind the answers of its chat; `FIRST` waits for nothing."""

    NONE = ""
    FIRST = "first"
    PRESS = "press"
    COMMAND = "command"


class Handle(Protocol):
    def __call__(self, event: Received, *, new: bool) -> Awaitable[None]: ...


class Intake:
    """Takes batches of updates for one bot.

    Args:
        now: seconds since the epoch.
        owners: the operators; what they send waits behind nobody else.
        coming: where what is received is noted, in order, before anything is done for it.
        asks: whether an update asks for an answer.
    """

    def __init__(
        self,
        inbox: Inbox,
        bot_id: int,
        handle: Handle,
        tasks: asyncio.TaskGroup,
        now: Callable[[], float],
        owners: Collection[str] = (),
        coming: Coming | None = None,
        asks: Callable[[Received], bool] = lambda event: True,
    ) -> None:
        self._coming, self._asks = coming or Coming(), asks
        self._inbox = inbox
        self._bot_id = bot_id
        self._handle = handle
        self._tasks = tasks
        self._now = now
        self._owners = owners
        self._places: Places = ChatPlaces(_AT_ONCE, _WAITING)
        self._short: Places = ChatPlaces(_AT_ONCE, _WAITING)
        self._has_room = asyncio.Event()
        self._in_hand = InHand()
        self._said_at = float("-inf")

    async def record(self, updates: Sequence[Mapping[str, Any]]) -> None:
        """Returns when the updates are recorded, so that they may be confirmed; one that cannot be read is left out.

        Raises:
            StorageError: none of them is recorded.
        """
        found = [event for update in updates if (event := self._readable(update)) is not None]
        fresh = {event.id: event for event in found if event.id not in self._in_hand}
        if not fresh:
            return
        with self._in_hand.recording(fresh):
            new = await self._inbox.receive(list(fresh.values()))
            # Those that are not new were answered, or are about to be taken up.
            mine = [event for event in new if self._in_hand.take(event.id)]
        for event, sent in [(event, self._note(event, late=False)) for event in mine]:
            await self._begin(event, sent, new=True)

    async def recover(self) -> None:
        """Begins what processes that died have recorded and not answered, until it is cancelled."""
        while True:
            try:
                await self._recover()
            except (
                Exception
            ) as error:  # whatever it is: a bot that no longer looks would leave people without an answer
                known = isinstance(error, StorageError)
                log.warning("what was left is looked for again: %s", error, exc_info=not known)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _recover(self) -> None:
        account = Destination(self._bot_id, 0).account
        async with aclosing(left_behind(self._inbox, account)) as batches, asyncio.TaskGroup() as chats:
            async for batch in batches:
                # What is left of a flooded chat waits until others of it are done, and nothing of other chats with it.
                # A stop among them finds what its author asked before, whichever of the two is begun first.
                noted = [(event, None if self._noted(event) else self._note(event, late=True)) for event in batch]
                for left in self._by_share(noted):
                    chats.create_task(self._go_on(left))

    def _noted(self, event: Received) -> Sent | None:
        return self._coming.find(event_id(event), event.chat)

    def _note(self, event: Received, *, late: bool) -> Sent:
        return self._coming.add(
            event_id(event), event.chat, event.person, event.received_at, asks=lambda: self._asks(event), late=late
        )

    def _by_share(self, events: Sequence[_Noted]) -> Collection[Sequence[_Noted]]:
        shares: defaultdict[str, list[_Noted]] = defaultdict(list)
        for event, sent in events:
            shares[_share_of(event, urgency_of(event, self._owners))].append((event, sent))
        return shares.values()

    async def _go_on(self, left: Sequence[_Noted]) -> None:
        for event, sent in left:
            if await self._in_hand.take_found(event.id):
                await self._begin(event, sent or self._note(event, late=True), new=False)
            elif sent is not None:
                self._coming.remove(sent)

    async def _begin(self, event: Received, sent: Sent, *, new: bool) -> None:
        """Handle the event, now or when others of its chat are done."""
        urgency = urgency_of(event, self._owners)
        places = self._short if urgency else self._places
        key = _share_of(event, urgency)
        waiting = event, new, key
        sent.when_taken_back = self._has_room.set
        while True:
            while places.is_full and not _waits_for_nothing(urgency, sent):
                await self._some_room()
            if _waits_for_nothing(urgency, sent):
                self._tasks.create_task(self._do(event, new))
                return
            match places.offer(key, waiting):
                case "begin":
                    self._tasks.create_task(self._handled(places, *waiting))
                case "wait":
                    sent.when_taken_back = lambda: self._pull(places, waiting)
                case "drop" if new:
                    await self._drop(event)
                case "drop":  # an answer to it may be half shown
                    await self._some_room()
                    continue
            return

    def _pull(self, places: Places, waiting: tuple[Received, bool, str]) -> None:
        """Close what was taken back now: others have its place."""
        event, new, key = waiting
        if not _is_cancelled() and places.withdraw(key, waiting):
            self._tasks.create_task(self._do(event, new))
            self._has_room.set()

    async def _some_room(self) -> None:
        self._has_room.clear()
        await self._has_room.wait()

    async def _drop(self, event: Received) -> None:
        """Leave an event of a flooded chat without an answer: a word about it would have to wait there as well."""
        if self._now() - self._said_at >= _DROPS_SAID_S:
            self._said_at = self._now()
            log.warning("%s is flooded: what is beyond its share is not answered", event.chat)
        try:
            await self._inbox.answered(event.account, event.id)
        except StorageError as error:
            log.warning("update %s is looked at again after the next start: %s", event.id, error)
        self._is_done_with(event)

    async def _handled(self, places: Places, event: Received, new: bool, key: str) -> None:
        try:
            await self._do(event, new)
        finally:
            if not _is_cancelled():  # a task group that is cancelled takes no new tasks
                for following in places.done(key):
                    self._tasks.create_task(self._handled(places, *following))
                self._has_room.set()

    async def _do(self, event: Received, new: bool) -> None:
        try:
            await self._handle(event, new=new)
        except Exception:
            log.exception("update %s failed; it is looked at again after the next start", event.id)
        finally:
            self._is_done_with(event)

    def _is_done_with(self, event: Received) -> None:
        self._in_hand.done(event.id)
        if (sent := self._noted(event)) is not None:
            self._coming.remove(sent)

    def _readable(self, update: Mapping[str, Any]) -> Received | None:
        try:
            return received(update, self._bot_id, self._now())
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            log.warning("update %.50r is left out, it cannot be read: %r", update.get("update_id"), error)
            return None


def event_id(event: Received) -> str:
    """The event's name to the bot."""
    return f"{event.account}:{event.id}"


def _waits_for_nothing(urgency: Urgency, sent: Sent) -> bool:
    return urgency is Urgency.FIRST or sent.is_taken_back


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def urgency_of(event: Received, owners: Collection[str] = ()) -> Urgency:
    """Whether the event waits behind the answers of its chat. Regenerate and Continue do: they ask for one more."""
    if event.person in owners:
        return Urgency.FIRST
    try:
        update = _mapping(json.loads(event.payload))
    except (ValueError, RecursionError):  # who handles it says so
        return Urgency.NONE
    if query := _mapping(update.get("callback_query")):
        data = query.get("data")
        asks = isinstance(data, str) and read_action(data) in (Action.REGENERATE, Action.CONTINUE)
        return Urgency.NONE if asks else Urgency.PRESS
    message = _mapping(update.get("message"))
    if not _MOVES.isdisjoint(message):
        return Urgency.FIRST
    text = message.get("text")
    called = read(text) if isinstance(text, str) and _OF_OTHERS.isdisjoint(message) else None
    return Urgency.COMMAND if called is not None and called.name in _SHORT_COMMANDS else Urgency.NONE


def _share_of(event: Received, urgency: Urgency) -> str:
    """Whose places it takes: a flood of commands keeps no press waiting."""
    return f"{_whole(event.chat)} {urgency}"


def _whole(chat: str) -> str:
    """The chat without its topic (`Destination.chat`)."""
    return ":".join(chat.split(":")[:3])


def received(update: Mapping[str, Any], bot_id: int, now: float) -> Received:
    """The update as it is kept.

    Telegram begins anew with its numbers after a quiet week, so the id holds more than the number.
    """
    body: Mapping[str, Any] = next((update[kind] for kind in KINDS if isinstance(update.get(kind), dict)), {})
    message = _mapping(body.get("message")) or body
    chat, thread = _mapping(message.get("chat")), message.get("message_thread_id")
    topic = _number(thread) if message.get("is_topic_message") else None
    destination = Destination(bot_id, _number(chat.get("id", 0)), topic)
    author = _mapping(body.get("sender_chat")) or _mapping(body.get("from")) or chat
    stamp = body.get("edit_date") or body.get("date") or body.get("id") or 0
    if not is_number(stamp) and not (isinstance(stamp, str) and len(stamp) <= _LONGEST_STAMP):
        raise ValueError(f"{stamp!r:.50} is no date and no name")
    return Received(
        account=destination.account,
        id=f"{_number(update['update_id'])}-{stamp}",
        chat=destination.chat,
        payload=json.dumps(update, ensure_ascii=False),
        received_at=now,
        person=person_id(_number(author.get("id", 0))),
    )


def is_number(value: object) -> TypeGuard[int]:
    """Whether it can be an id: Telegram's have at most 52 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _number(value: object) -> int:
    """Raises ValueError where it is no id."""
    if not is_number(value):
        raise ValueError(f"{value!r:.50} is no number of Telegram's")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
