"""What the page needs kept: the posts of its channel, their files and people's names, as a port for the storage.

Elsewhere the platform's servers keep the messages; on the page they are ours. Every write is atomic and is on disk when
the call returns. A post is small except for its text: keep `encode(post)` as one document beside the columns that are
asked for (`id`, `position`, `nonce`, `event_id`), and read it back with `decode`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Protocol

from adapters.delivery.channel import Frame, ThinkingView
from bots.messages import Action

PostKind = Literal["person", "bot", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostFile:
    """A file that a post shows; `id` names its bytes in `Posts.file`, "" where nothing was kept (a broken picture)."""

    id: str
    name: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """The bytes behind an `PostFile`, at most `limits.upload_bytes` (8 MiB)."""

    id: str
    name: str
    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One message of the channel.

    Args:
        id: unique and never used again, also after the post was deleted.
        position: orders the channel; unique, grows with every new post.
        author: the person's id ("web:…"), "" for the bot.
        name: the author's name when the post was made.
        frame: what it shows; of a person's post only `markdown` is set, and it is shown as plain text.
        asker: the person whom the bot answers with this post, "" in a person's post.
        nonce: names the `Channel.send` that made it; unique, "" in a person's post.
        event_id: the person's event that made it; unique, "" in the bot's posts.
        created_at: seconds since the epoch.
        revision: 0 for a new post, one more with every edit.
    """

    id: str
    position: int
    kind: PostKind
    author: str
    name: str
    frame: Frame
    asker: str = ""
    reply_to: str | None = None
    attachments: tuple[PostFile, ...] = ()
    nonce: str = ""
    event_id: str = ""
    created_at: float = 0.0
    revision: int = 0


class Posts(Protocol):
    """The channel's posts, files and names; implemented by `adapters.storage`, and by `MemoryPosts` in memory."""

    async def load(self, limit: int, before: int | None = None) -> Sequence[Post]:
        """The newest `limit` posts by `position`, oldest first; of those before a position, where one is given."""
        ...

    async def revisions(self, limit: int) -> Sequence[tuple[str, int]]:
        """The ids and stored revisions of the same posts, which costs little."""
        ...

    async def post(self, post_id: str) -> Post | None: ...

    async def append(self, post: Post) -> Post:
        """Insert a new post at the end of the channel and return it with its position, which no other post has.

        Where its nonce or its event has made a post already, nothing is changed and that one is returned.
        """
        ...

    async def put(self, post: Post) -> None:
        """Inserts the post, or replaces the one with its id."""
        ...

    async def delete(self, post_id: str) -> None:
        """Removes the post and its files; an unknown id is ignored."""
        ...

    async def with_nonce(self, nonce: str) -> Post | None:
        """The post that the `send` with this nonce made."""
        ...

    async def with_event(self, event_id: str) -> Post | None:
        """The post that this event of a person made."""
        ...

    async def put_file(self, stored: StoredFile) -> None: ...

    async def file(self, file_id: str) -> StoredFile | None: ...

    async def name_of(self, person: str) -> str | None:
        """What the person is called, None for somebody new."""
        ...

    async def put_name(self, person: str, name: str) -> bool:
        """Gives the person this name; False, and nothing is changed, where somebody else's looks like it."""
        ...

    async def is_free(self, name: str) -> bool:
        """Whether nobody has a name that looks like this one."""
        ...

    async def saw(self, person: str) -> None:
        """Notes that the person was here now."""
        ...

    async def forget_names(self, before: float, limit: int) -> int:
        """Forgets at most so many names of people who were last seen before a time; returns how many."""
        ...

    async def key(self, new: str) -> str:
        """The page's secret key: the stored one, or `new`, which is stored then. All callers get the same."""
        ...

    async def count_names(self) -> int:
        """How many people have a name."""
        ...


def encode(post: Post) -> str:
    """The post as one JSON document (ASCII, so any text survives any database)."""
    return json.dumps(asdict(post), separators=(",", ":"))


def decode(document: str) -> Post:
    """The inverse of `encode`; unknown fields of a newer version are ignored."""
    raw = json.loads(document)
    raw["frame"] = _frame(raw["frame"])
    raw["attachments"] = tuple(PostFile(**each) for each in raw["attachments"])
    return Post(**_known(Post, raw))


def _frame(raw: dict[str, Any]) -> Frame:
    thinking = raw.get("thinking")
    raw["thinking"] = ThinkingView(**thinking) if thinking else None
    raw["actions"] = tuple(Action(each) for each in raw.get("actions", ()))
    return Frame(**_known(Frame, raw))


def _known(type_: type[Post] | type[Frame], raw: Mapping[str, Any]) -> dict[str, Any]:
    return {each.name: raw[each.name] for each in fields(type_) if each.name in raw}
