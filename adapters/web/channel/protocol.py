"""The messages on the socket, as JSON; `docs/web-protocol.md` is the description for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from adapters.web.channel.setting_views import SettingView
from adapters.web.posts.posts import Post
from bots.messages import Action
from inference.api import ModelInfo
from inference.untrusted.bounded_json import loads

VERSION = 2
MAX_MESSAGE_BYTES = 256 * 1024
"""Longer messages are answered with a sentence; the socket itself breaks only at `MAX_FRAME_BYTES`."""
MAX_FRAME_BYTES = 2 * 1024 * 1024
"""A message of `MAX_MESSAGE_BYTES` whose every character is escaped still fits."""
_MAX_VALUES = 200


class BadMessage(Exception):
    """A message of the page makes no sense; the text is a sentence, `client_id` names the message where it has one."""

    def __init__(self, sentence: str, client_id: str = "") -> None:
        super().__init__(sentence)
        self.client_id = client_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A person's message; `pictures` are ids of uploads. The same `client_id` again is the same message."""

    client_id: str
    text: str
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A button under an answer."""

    client_id: str
    action: Action
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A setting was moved."""

    client_id: str = ""
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    client_id: str = ""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A picture was taken out of the message before it was sent."""

    picture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """Somebody scrolled up to the post at this position."""

    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Somebody wants to see a post whose text was held back."""

    post: str


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody looks who is here."""


@dataclass(frozen=True, slots=True)
class Ping:
    """The page wants to know whether the connection still works."""


FromPage = Typed | Pressed | Changed | Renamed | Dropped | Earlier | Whole | Who | Ping


def parse(raw: str) -> FromPage:
    """Reads one message of the page.

    Raises:
        BadMessage: it is too long or makes no sense.
    """
    try:
        message = loads(raw, values=_MAX_VALUES)
    except ValueError:
        raise BadMessage("The page sent something that is not JSON; please reload it.") from None
    if not isinstance(message, dict):
        raise BadMessage("The page sent something unknown; please reload it.")
    client_id = clean(str(message.get("client_id", "")))[:64]
    if len(raw) > MAX_MESSAGE_BYTES // 4 and len(raw.encode("utf-8", "replace")) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"That is too long: one message holds at most {MAX_MESSAGE_BYTES // 1024} kB.", client_id)
    try:
        return _read(message, client_id)
    except (KeyError, TypeError, ValueError):
        raise BadMessage("The page sent something unknown; please reload it.", client_id) from None


def _read(message: Mapping[str, Any], client_id: str) -> FromPage:
    match message["type"]:
        case "message":
            if not client_id:
                raise ValueError("a message needs a client_id")
            pictures = tuple(str(each) for each in message.get("pictures", ()))
            return Typed(client_id=client_id, text=clean(_text(message, "text")), pictures=pictures)
        case "action":
            action = Action(message["action"])
            return Pressed(client_id=client_id, action=action, message_id=_text(message, "message_id"))
        case "setting":
            name, value = clean(_text(message, "name")), clean(_text(message, "value"))
            return Changed(client_id=client_id, name=name, value=value)
        case "name":
            return Renamed(client_id=client_id, name=clean(_text(message, "name")))
        case "drop":
            return Dropped(picture=_text(message, "picture"))
        case "earlier":
            return Earlier(before=_position(message["before"]))
        case "whole":
            return Whole(post=_text(message, "post"))
        case "people":
            return Who()
        case "ping":
            return Ping()
        case _:
            raise ValueError("unknown type")


def _position(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise TypeError("before must be a position")
    return value


def _text(message: Mapping[str, Any], field: str) -> str:
    value = message[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} must be a string")
    return value


def clean(text: str) -> str:
    """The text without NUL and lone surrogates, which databases and encoders choke on; each becomes U+FFFD."""
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _message(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields}, separators=(",", ":"))


def view(post: Post, html: str) -> dict[str, Any]:
    """The post as the page draws it; `html` is its rendered Markdown and safe."""
    frame = post.frame
    return {
        "id": post.id,
        "position": post.position,
        "revision": post.revision,
        "kind": post.kind,
        "author": post.author,
        "name": post.name,
        "asker": post.asker,
        "reply_to": post.reply_to,
        "created_at": post.created_at,
        "client_id": post.event_id.partition("/")[2],
        "text": frame.markdown if post.kind == "person" else "",
        "html": html,
        "status": frame.status,
        "growing": frame.growing,
        "thinking": asdict(frame.thinking) if frame.thinking else None,
        "failure": frame.failure,
        "footer": frame.footer,
        "actions": [action.value for action in frame.actions],
        "notice": frame.notice,
        "attachments": [asdict(each) for each in post.attachments],
    }


def head(post: Post, size: int) -> dict[str, object]:
    """The view of a long post without its text, which `whole` brings; `held` is the size of the whole view."""
    return view(post, "") | {"text": "", "thinking": None, "held": size}


def hello(posts: Sequence[str], **fields: object) -> str:
    """The whole state; `posts` are views that are JSON already."""
    return _message("hello", version=VERSION, **fields)[:-1] + ',"posts":[' + ",".join(posts) + "]}"


def earlier(posts: Sequence[str], more: bool) -> str:
    """Posts before those that the page has; `posts` are views that are JSON already."""
    return _message("earlier", earlier=more)[:-1] + ',"posts":[' + ",".join(posts) + "]}"


def batch(messages: Sequence[str]) -> str:
    """Several messages in one frame."""
    return '{"type":"batch","messages":[' + ",".join(messages) + "]}"


def remove(post_id: str) -> str:
    return _message("remove", id=post_id)


def notice(view_json: str) -> str:
    return f'{{"type":"notice","post":{view_json}}}'


def settings(views: Sequence[SettingView], sentence: str = "", name: str = "", refused: bool = False) -> str:
    return _message(
        "settings", settings=[asdict(each) for each in views], sentence=sentence, name=name, refused=refused
    )


def name(own: str) -> str:
    return _message("name", name=own)


def presence(count: int) -> str:
    return _message("presence", count=count)


def people(everybody: Sequence[Mapping[str, str]], count: int) -> str:
    return _message("people", people=list(everybody), count=count)


def model(info: ModelInfo) -> str:
    return _message("model", model=asdict(info))


def typing() -> str:
    return _message("typing")


def pong() -> str:
    return _message("pong")


def accepted(client_id: str, post_id: str) -> str:
    return _message("accepted", client_id=client_id, id=post_id)


def rejected(client_id: str, sentence: str, *, lost: bool = False) -> str:
    """`lost`: the message would be taken if its pictures were uploaded once more."""
    return _message("rejected", client_id=client_id, sentence=sentence, **({"lost": True} if lost else {}))


def error(sentence: str, client_id: str = "") -> str:
    return _message("error", sentence=sentence, client_id=client_id)


def said(sentence: str) -> str:
    return _message("said", sentence=sentence)
