"""What people do on the page and the bot has to answer, as it is kept in the inbox until it is answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from adapters.web.channel.channel import CHAT
from adapters.web.channel.protocol import Pressed
from adapters.web.posts.posts import Post
from bots.commands.registry import shown
from bots.messages import Incoming, Permit, Person, Picture
from bots.ports import Received

ACCOUNT = "web"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEvent:
    """A message or a pressed button.

    Args:
        under: the post that the answer replies to.
        message_id: the post whose button was pressed.
        kept_as: its id in the inbox, where that has it already.
        received_at: when it was stored there, in seconds since the epoch; 0 where it was not.
        pictures: (file id, name) of the previews that are kept; the pictures themselves are in memory only.
    """

    id: str
    person: str
    name: str
    text: str
    under: str
    message_id: str | None = None
    pictures: tuple[tuple[str, str], ...] = ()
    kept_as: str = ""
    received_at: float = 0.0

    @classmethod
    def of_post(cls, post: Post, text: str | None = None) -> PageEvent:
        """An event for what a person wrote.

        Args:
            text: what the post was made of, where it does not show all of that; other words count for nothing.
        """
        pictures = tuple((each.id, each.name) for each in post.attachments)
        return cls(
            id=post.event_id,
            person=post.author,
            name=post.name,
            text=text if text is not None and shown(text) == post.frame.markdown else post.frame.markdown,
            under=post.id,
            pictures=pictures,
        )

    @classmethod
    def of_press(cls, person: Person, pressed: Pressed, event_id: str) -> PageEvent:
        return cls(
            id=event_id,
            person=person.id,
            name=person.name,
            text=pressed.action.command,
            under=pressed.message_id,
            message_id=pressed.message_id,
        )

    @classmethod
    def read(cls, received: Received) -> PageEvent:
        """The inverse of `received`. Raises ValueError, LookupError or TypeError: it is none."""
        raw = json.loads(received.payload)
        raw["pictures"] = tuple((file_id, name) for file_id, name in raw["pictures"])
        # Older programs had the id in the inbox alone.
        return cls(**{"id": received.id} | raw | {"kept_as": received.id, "received_at": received.received_at})

    @property
    def inbox_id(self) -> str:
        """The event's name in the inbox, where it outlives the person's data: it does not tell whose it is."""
        return self.kept_as or hashlib.blake2b(self.id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def received(self, now: float) -> Received:
        """What the inbox keeps; `now` in seconds since the epoch."""
        payload = asdict(self)
        del payload["kept_as"], payload["received_at"]
        words = json.dumps(payload)
        return Received(
            account=ACCOUNT, id=self.inbox_id, chat=CHAT, payload=words, received_at=now, person=self.person
        )

    def incoming(self, pictures: Sequence[Picture], *, new: bool) -> Incoming:
        """What the bot is asked. A post was let in before it was shown; a press is still to be."""
        return Incoming(
            event_id=self.id,
            chat=CHAT,
            author=Person(self.person, self.name),
            text=self.text,
            pictures=tuple(pictures),
            reply_to=self.message_id,
            decision=None if self.message_id else Permit(self.person),
            new=new,
        )
