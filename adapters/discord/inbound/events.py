"""A message, command or pressed button as it is kept until it is answered. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from adapters.discord.outbound.channel import CALLS_PER_MINUTE
from adapters.discord.outbound.interaction_channel import InteractionToken
from bots.messages import ChatBudget, Incoming, Permit, Person, Refusal
from bots.names import one_line
from bots.ports import Received

PLATFORM = "discord"
_EPOCH_MS = 1_420_070_400_000


@dataclass(frozen=True, slots=True)
class File:
    """An attachment before it is fetched; `size` in bytes and `kind`, the media type, are what Discord says of it."""

    url: str
    name: str
    size: int
    kind: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", one_line(self.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscordEvent:
    """All that is needed to answer, also in another process.

    Args:
        id: Discord's id of the message or interaction.
        channel: where it came from, and where the answer goes; for a thread the thread.
        guild: the server, empty in a direct message.
        above: the channel that a thread belongs to.
        text: as the bot reads it: a command, or the words without the mention.
        question: the message that the answer replies to, if it is one.
        replies_to: the bot's message that this replies to, or whose button was pressed.
        token: of an interaction.
        on_behalf: the author may remove other people's messages there.
        upload_bytes: the largest file that may be sent there, 0 where that is not known.
        opens: the name of the thread that is to be opened for the answer.
        follows: the id of the message right before, which this one belongs together with.
        also: the ids of earlier messages that were taken together with this one.
        decision: what the gate has said, in this process; not stored.
    """

    id: str
    channel: str
    author: str
    name: str
    text: str = ""
    guild: str = ""
    above: str = ""
    files: tuple[File, ...] = ()
    question: str | None = None
    replies_to: str | None = None
    token: InteractionToken | None = None
    on_behalf: bool = False
    upload_bytes: int = 0
    opens: str = ""
    follows: str = ""
    also: tuple[str, ...] = field(default=())
    decision: Permit | Refusal | None = None

    @property
    def chat(self) -> str:
        return f"{PLATFORM}:{self.channel}"

    @property
    def person(self) -> Person:
        return Person(f"{PLATFORM}:{self.author}", self.name)

    @property
    def places(self) -> tuple[str, ...]:
        """Where this is, for the bounds that a server's admins have set."""
        return (place(self.guild),) if self.guild else ()

    def incoming(self, *, new: bool = True) -> Incoming:
        """What the bot is asked, without the files."""
        return Incoming(
            event_id=self.id,
            chat=self.chat,
            author=self.person,
            text=self.text,
            reply_to=self.replies_to,
            places=self.places,
            direct=not self.guild,
            group=place(self.guild) if self.guild else "",
            # Others see which command was used, and not what was typed into it or into its form.
            hidden=self.token is not None,
            moderates=self.on_behalf,
            budget=ChatBudget(self.chat, CALLS_PER_MINUTE),
            decision=self.decision,
            new=new,
        )

    def received(self, account: str, now: float) -> Received:
        """As it is kept: without the secret of its token."""
        kept = replace(self, token=replace(self.token, value="")) if self.token else self
        payload = json.dumps({name: value for name, value in asdict(kept).items() if name != "decision"})
        person = self.person.id
        return Received(account=account, id=self.id, chat=self.chat, payload=payload, received_at=now, person=person)


def created_at(event_id: str) -> float:
    """Seconds since the epoch; the id of a message or interaction says when it was made."""
    return ((int(event_id) >> 22) + _EPOCH_MS) / 1000


def place(guild: str) -> str:
    """The key under which a server's bounds are kept."""
    return f"place:{PLATFORM}:{guild}"


def event_of(received: Received) -> DiscordEvent:
    """Raises ValueError, KeyError or TypeError where another version has written it."""
    kept: dict[str, Any] = json.loads(received.payload)
    kept["files"] = tuple(File(**file) for file in kept["files"])
    kept["token"] = InteractionToken(**kept["token"]) if kept["token"] else None
    kept["also"] = tuple(kept["also"])
    return DiscordEvent(**kept)


def bursts(events: Sequence[DiscordEvent]) -> list[list[DiscordEvent]]:
    """The events with those that they follow, as far as these are among them; in order of the first of each burst."""
    by_last: dict[str, list[DiscordEvent]] = {}
    found: list[list[DiscordEvent]] = []
    for event in events:
        burst = by_last.pop(event.follows, None)
        if burst is None:
            found.append(burst := [])
        burst.append(event)
        by_last[event.id] = burst
    return found


def together(events: Sequence[DiscordEvent]) -> DiscordEvent:
    """Messages that one person wrote back to back, as one: the newest, with the words and files of all."""
    if len(events) == 1:
        return events[0]
    return replace(
        events[-1],
        text="\n".join(event.text for event in events if event.text),
        files=tuple(file for event in events for file in event.files),
        replies_to=next((event.replies_to for event in reversed(events) if event.replies_to), None),
        also=tuple(event.id for event in events[:-1]),
    )
