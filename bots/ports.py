"""What the bot needs kept, as protocols; `adapters.storage` implements them, on disk and in memory.

Every write is atomic and is on disk when the call returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bots.profile.personal import Personal, Spent
from inference.api import Interrupted, Reason

TurnState = Literal["streaming", "done", "stopped", "failed"]
ReplyState = Literal["accepted", "streaming", "done", "stopped", "failed"]


class StorageError(Exception):
    """What is kept cannot be used just now; the text is one sentence for the operator, without any secret."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One node of a conversation tree: what a person asked, or what was answered.

    Args:
        parent_id: the turn that this one follows; None begins a conversation.
        prompt: for a user turn, the text that goes to the model where it differs from `text` (the code instruction,
            the picture's caption).
        captions: of an answer, what the captioner said and is shown above the text.
        reason: for an answer, why it ended; None while it is being written or after a failure.
        created_at: seconds since the epoch.
        hidden: nobody else in its chat can see it: it was typed for the bot alone, or its message was deleted.
    """

    id: str
    chat: str
    person: str
    role: Literal["user", "assistant"]
    text: str
    parent_id: str | None = None
    prompt: str = ""
    thinking: str = ""
    captions: tuple[str, ...] = ()
    state: TurnState = "done"
    reason: Reason | None = None
    created_at: float = 0.0
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRecord:
    """What is done about one event. `bots.conversation.ledger` has the rules and reads the documents.

    Args:
        answer_id: the turn that holds the text so far, and what the delivery names its messages after; for the bot's
            own words a name alone.
        question_id: the turn that is answered, from when both are kept.
        request: what the model was asked, as a document.
        ending: the last event of the reply, as a document; "" while it is not over.
        shown: the whole reply is on the platform.
        created_at: seconds since the epoch.
    """

    chat: str
    event_id: str
    answer_id: str
    person: str
    state: ReplyState = "accepted"
    question_id: str | None = None
    request: str = ""
    ending: str = ""
    shown: bool = False
    created_at: float = 0.0


FILES_FROM = 1_000_000
"""The position under which the first file of an answer is recorded; chunks are below."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where an answer is visible: the platform's message ids of its chunks, in order, and of its files by number."""

    answer_id: str
    message_ids: tuple[str, ...] = field(default=())
    files: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def read(cls, answer_id: str, messages: Mapping[int, str]) -> Delivered:
        """Of the messages by position; those below 0 are superseded."""
        chunks = tuple(messages[at] for at in sorted(messages) if 0 <= at < FILES_FROM)
        return cls(answer_id, chunks, {at - FILES_FROM: name for at, name in messages.items() if at >= FILES_FROM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An event as a platform gave it, with enough to handle it again after a crash.

    Args:
        account: the bot's account on the platform ("telegram:4711").
        id: unique within the account; the same event delivered twice carries the same one.
        payload: the platform's own words, mostly JSON; only its adapter reads them.
        received_at: seconds since the epoch.
        person: who wrote it.
    """

    account: str
    id: str
    chat: str
    payload: str
    received_at: float = 0.0
    person: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept about whoever asks.

    Args:
        people: all ids of that person, the first one stands for all of them.
        places: the settings of the places where it is asked, in the order in which they were named.
        since: the first day (UTC) of which usage of that person is kept, "" where there is none.
    """

    people: Sequence[str]
    settings: Mapping[str, str]
    places: Sequence[Mapping[str, str]] = ()
    since: str = ""


def taken_over(reply: ReplyRecord) -> Interrupted:
    """Another process has taken this one for terminated and owns the reply: this one says no more about it."""
    return Interrupted(f"event {reply.event_id} of {reply.chat} is another process's now")


class Inbox(Protocol):
    """Every event from a platform, from before it is acknowledged until it is answered."""

    async def receive(self, events: Sequence[Received]) -> Sequence[Received]:
        """Keeps the events that were never here before, and returns those, in their order."""
        ...

    async def unanswered(self, account: str) -> Sequence[Received]:
        """What was received and not answered, oldest first: what an earlier process left behind.

        What another living process has received is its own business and left out.
        """
        ...

    async def pending(self, account: str) -> Sequence[Received]:
        """Return every event of the account that is not answered, oldest first, whichever process has it."""
        ...

    async def orphaned(self, account: str) -> Sequence[Received]:
        """What other processes received and did not live to answer, oldest first; it is this process's from now on."""
        ...

    async def answered(self, account: str, event_id: str) -> None:
        """Record that the event needs no further work. Its id stays, so that it cannot come again, and nothing else.

        Returns soon, also while the database is away: then the mark is made later. An event that another process has
        taken over is left alone.
        """
        ...


class Replies(Protocol):
    """One row for every event that was taken on. A reply belongs to one process, as long as that lives."""

    async def claim(self, reply: ReplyRecord) -> ReplyRecord | None:
        """Keeps the reply, if its event (`chat`, `event_id`) has none yet; returns the one that is kept.

        One that a dead process began is this process's from now on. None where it belongs to a living one.
        """
        ...

    async def reply(self, chat: str, event_id: str) -> ReplyRecord | None:
        """What is kept of the event's reply, whoever's it is."""
        ...

    async def begin(self, reply: ReplyRecord, turns: Sequence[Turn], head: str, spent: Spent | None = None) -> None:
        """The answer is being written: all of it is kept at once, and `head` is where the person stands.

        Args:
            spent: of an answer that is whole already; as for `end`.
        """
        ...

    def keep_soon(self, answer: Turn) -> None:
        """Keeps the text so far, in a moment and at most as often as frames are sent; the newest one counts."""
        ...

    async def end(self, reply: ReplyRecord, answer: Turn | None, spent: Spent | None = None) -> None:
        """The reply has its ending. Returns soon, also while the database is away: then it is kept later.

        Args:
            spent: counted together with the reply's first ending, so a reply is counted once, whoever dies when.
        """
        ...


class Preferences(Protocol):
    """One person's settings, a value a name; concurrent changes of different names both survive.

    All ids that are linked to each other have the same ones.
    """

    async def preferences(self, person: str) -> Mapping[str, str]: ...

    async def known(self, person: str, places: Sequence[str] = ()) -> Known:
        """All that an answer needs to know about who asks, at once."""
        ...

    async def set_preferences(self, person: str, values: Mapping[str, str | None]) -> None:
        """Sets each name to its value; None forgets it."""
        ...


class Conversations(Protocol):
    """Trees of turns, and where each person stands in each chat."""

    async def head(self, chat: str, person: str) -> str | None:
        """The id of the turn that this person's next message follows, None for a new conversation."""
        ...

    async def set_head(self, chat: str, person: str, turn_id: str | None) -> None: ...

    async def turn(self, turn_id: str) -> Turn | None: ...

    async def branch(self, turn_id: str, limit: int) -> Sequence[Turn]:
        """The turn and its ancestors, oldest first, at most `limit` of them (the newest ones)."""
        ...

    async def hide(self, chats: Sequence[str], message_ids: Sequence[str]) -> None:
        """Hide from others what was asked in these messages, and what they show: people have deleted or edited them.

        A turn that is hidden stays so, whatever is stored of it later. Returns soon, also while the database is away:
        then it is done later.

        Args:
            chats: where the messages are, or their answers.
        """
        ...


class Deliveries(Protocol):
    """Which platform messages show which answer."""

    async def delivered(self, chat: str, answer_id: str) -> Delivered: ...

    async def answer_at(self, chat: str, message_id: str) -> str | None:
        """The id of the answer that this platform message shows (a part of)."""
        ...

    async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
        """Message `message_id` shows chunk `position` of the answer; or, from `FILES_FROM` on, a file of it."""
        ...

    async def recorded(self) -> None:
        """Returns when what was recorded before outlives a crash, however long that takes."""
        ...

    async def supersede(self, chat: str, answer_id: str) -> None:
        """All messages of the answer but the first show nothing of it any more: they are to be deleted."""
        ...

    async def superseded(self, chat: str, answer_id: str) -> Sequence[str]:
        """The messages that are still to be deleted; they are not among those of `delivered`."""
        ...

    async def forget_delivery(self, chat: str, message_id: str) -> None:
        """The message is gone."""
        ...

    async def record_shown(self, chat: str, answer_id: str) -> None:
        """Everything of the reply that has ended is visible: a repeated event needs nothing more."""
        ...


class Storage(Inbox, Replies, Preferences, Conversations, Deliveries, Personal, Protocol):
    """All of it, by one implementation."""
