"""What Telegram's servers keep and enforce: chats, messages, updates, flood limits. No sockets.

It is as strict as Telegram where a bot could go wrong, and stricter where Telegram would silently repair: an entity
that is out of bounds or overlaps another is refused here.
"""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ME = {"id": 4711, "is_bot": True, "first_name": "Party", "username": "party_bot", "can_read_all_group_messages": False}
TEXT_UNITS, MOST_ENTITIES, DATA_BYTES = 4096, 100, 64
_NESTED_NOWHERE = {"pre", "code"}
_KINDS = {"bold", "italic", "strikethrough", "blockquote", "expandable_blockquote", "code", "pre", "text_link"}
NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)


class ApiError(Exception):
    """An answer with `ok: false`."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters


@dataclass(kw_only=True)
class Rules:
    """What is allowed; 0 is no limit.

    In a private chat one call every `private_interval_s`, of which `private_burst` may come at once after a pause; in a
    group `group_calls` in any `group_window_s`; over all chats `account_calls` in any second. A call within a penalty
    multiplies what is left of it by `ban_growth`.
    """

    private_interval_s: float = 0.0
    private_burst: int = 1
    group_calls: int = 0
    group_window_s: float = 60.0
    account_calls: int = 0
    ban_growth: float = 1.5

    @classmethod
    def strict(cls) -> Rules:
        """What is publicly known of Telegram's limits: one a second with small bursts, 20 a minute, 30 in all."""
        return cls(private_interval_s=1.0, private_burst=4, group_calls=20, account_calls=30)


@dataclass(kw_only=True)
class Faults:
    """Probabilities per call that writes to a chat; `latency_s` of every call."""

    penalty: float = 0.0
    penalty_s: int = 1
    lost_before: float = 0.0
    lost_after: float = 0.0
    latency_s: float = 0.0


@dataclass
class Message:
    id: int
    sender: Mapping[str, Any]
    content: dict[str, Any]
    """The fields of a Bot API `Message` beside ids, date, chat and sender."""
    history: list[str] = field(default_factory=list)
    """Every text that it ever showed."""
    times: list[float] = field(default_factory=list)
    """When it began to show each of them, in seconds of the monotonic clock."""
    deleted: bool = False
    file: tuple[str, bytes] | None = None

    def show(self) -> None:
        self.history.append(self.text)
        self.times.append(time.monotonic())

    @property
    def is_own(self) -> bool:
        return bool(self.sender["id"] == ME["id"])

    @property
    def text(self) -> str:
        return str(self.content.get("text", ""))

    @property
    def buttons(self) -> dict[str, str]:
        """Labels and what they carry."""
        rows = self.content.get("reply_markup", {}).get("inline_keyboard", [])
        return {button["text"]: button["callback_data"] for row in rows for button in row}

    def entities(self, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
        """The entities of that kind, each with the text that it covers."""
        units = self.text.encode("utf-16-le")
        return [
            (units[2 * each["offset"] : 2 * (each["offset"] + each["length"])].decode("utf-16-le"), each)
            for each in self.content.get("entities", [])
            if each["type"] == kind
        ]


@dataclass
class Chat:
    id: int
    type: str
    title: str = ""
    is_forum: bool = False
    topics: set[int] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)
    forbidden: str = ""
    admins: set[int] = field(default_factory=set)
    slow_s: float = 0.0
    """Slow mode: the time between two messages of one member."""
    sent_at: float = float("-inf")
    migrated_to: int | None = None
    typings: int = 0
    calls: list[float] = field(default_factory=list)
    penalties: int = 0
    calls_in_ban: int = 0
    banned_until: float = 0.0
    recent: deque[float] = field(default_factory=deque)
    next_at: float = 0.0
    numbered: int = 0
    drafts: dict[int, str] = field(default_factory=dict)
    """What is shown as drafts now."""
    drafted: list[tuple[int, str]] = field(default_factory=list)
    """Every draft that was ever shown."""
    takes_drafts: bool = True

    def view(self) -> dict[str, Any]:
        name = {"first_name": self.title} if self.type == "private" else {"title": self.title}
        return {"id": self.id, "type": self.type, **name, **({"is_forum": True} if self.is_forum else {})}

    @property
    def answers(self) -> list[Message]:
        """The bot's messages with text."""
        return [message for message in self.messages if message.is_own and not message.deleted and not message.file]

    @property
    def files(self) -> dict[str, bytes]:
        return dict(message.file for message in self.messages if message.file and message.is_own)


class World:
    """All that Telegram knows. Message ids count on over private chats and groups; supergroups have their own."""

    def __init__(self, rules: Rules | None = None, faults: Faults | None = None, seed: int = 0) -> None:
        self.rules, self.faults = rules or Rules(), faults or Faults()
        self.dice = random.Random(seed)
        self.chats: dict[int, Chat] = {}
        self.recent: deque[float] = deque()
        """The calls that were admitted within the last second, of all chats."""
        self.updates: list[dict[str, Any]] = []
        self.confirmed: list[int] = []
        self.files: dict[str, bytes] = {}
        self.toasts: list[tuple[str, str]] = []
        self.commands: dict[tuple[str, str], list[dict[str, str]]] = {}
        self.webhook: dict[str, Any] = {}
        self.takes_drafts = True
        self.queries: set[str] = set()
        self._message_id = 100
        self._update_id = 500_000

    def chat(self, chat_id: int) -> Chat:
        if chat_id not in self.chats:
            raise ApiError(400, "Bad Request: chat not found")
        return self.chats[chat_id]

    def next_message_id(self, chat: Chat) -> int:
        if chat.type in ("supergroup", "channel"):
            chat.numbered += 1
            return chat.numbered
        self._message_id += 1
        return self._message_id

    def happen(self, **event: Any) -> int:
        """A new update; returns its number."""
        self._update_id += 1
        self.updates.append({"update_id": self._update_id, **event})
        return self._update_id

    def pending(self, offset: int | None, limit: int) -> list[dict[str, Any]]:
        """The updates from `offset` on; those below it are confirmed and forgotten."""
        if offset is not None:
            self.confirmed += [update["update_id"] for update in self.updates if update["update_id"] < offset]
            self.updates = [update for update in self.updates if update["update_id"] >= offset]
        return self.updates[:limit]

    def view(self, chat: Chat, message: Message) -> dict[str, Any]:
        posts = chat.type == "channel"
        return {
            "message_id": message.id,
            "date": int(time.time()),
            "chat": chat.view(),
            "sender_chat" if posts else "from": chat.view() if posts else dict(message.sender),
            **message.content,
        }

    # What a bot may do

    def send(self, chat_id: int, arguments: Mapping[str, Any], file: tuple[str, bytes] | None = None) -> dict[str, Any]:
        chat = self._writable(chat_id, arguments)
        self._slow_down(chat, time.monotonic())
        content: dict[str, Any] = {} if file else _checked_text(arguments)
        content |= _checked_markup(arguments)
        if file:
            content["document"] = {"file_id": f"sent{len(chat.messages)}", "file_unique_id": "u", "file_name": file[0]}
        if thread := arguments.get("message_thread_id"):
            content |= {"message_thread_id": int(thread), "is_topic_message": True}
        content |= self._replied(chat, arguments)
        message = Message(self.next_message_id(chat), ME, content, file=file)
        message.show()
        chat.drafts.clear()
        chat.messages.append(message)
        return self.view(chat, message)

    def draft(self, chat_id: int, arguments: Mapping[str, Any]) -> bool:
        """A draft has no buttons, replies to nothing and is seen in private chats alone."""
        if not self.takes_drafts:
            raise ApiError(404, "Not Found")
        chat = self._writable(chat_id, arguments)
        if chat.type != "private" or not chat.takes_drafts:
            raise ApiError(400, "Bad Request: TEXTDRAFT_PEER_INVALID")
        number = int(arguments["draft_id"])
        if not number or not -(2**31) <= number < 2**31:
            raise ApiError(400, "Bad Request: RANDOM_ID_INVALID")
        if unknown := set(arguments) - {"chat_id", "draft_id", "text", "message_thread_id", "parse_mode", "entities"}:
            raise ApiError(400, f"Bad Request: a draft has no {min(unknown)}")
        text = _checked_text(arguments, is_draft=True)["text"]
        chat.drafts[number] = text
        chat.drafted.append((number, text))
        return True

    def edit(self, chat_id: int, arguments: Mapping[str, Any], *, markup_only: bool = False) -> dict[str, Any]:
        chat = self._writable(chat_id, arguments)
        message = self._message(chat, int(arguments["message_id"]), "message to edit not found")
        if not message.is_own:
            raise ApiError(400, "Bad Request: message can't be edited")
        changed = {name: value for name, value in message.content.items() if name != "reply_markup"}
        if message.file and not markup_only:
            raise ApiError(400, "Bad Request: there is no text in the message to edit")
        if not markup_only:
            changed.pop("entities", None)
            changed |= _checked_text(arguments)
        changed |= _checked_markup(arguments)
        if changed == message.content:
            raise ApiError(400, NOT_MODIFIED)
        message.content = changed
        message.show()
        return self.view(chat, message)

    def delete(self, chat_id: int, message_id: int) -> bool:
        chat = self._writable(chat_id, {})
        self._message(chat, message_id, "message to delete not found").deleted = True
        return True

    def answer_query(self, query_id: str, text: str) -> bool:
        if query_id not in self.queries:
            raise ApiError(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        self.queries.remove(query_id)
        if len(text) > 200:
            raise ApiError(400, "Bad Request: MESSAGE_TOO_LONG")
        self.toasts.append((query_id, text))
        return True

    def count_call(self, chat_id: int, now: float) -> None:
        """Flood control of one call that writes to a chat. Raises ApiError."""
        chat = self.chat(chat_id)
        chat.calls.append(now)
        if now < chat.banned_until:
            chat.calls_in_ban += 1
            self._ban(chat, now, (chat.banned_until - now) * self.rules.ban_growth)
        if self.dice.random() < self.faults.penalty:
            self._ban(chat, now, self.faults.penalty_s)
        rules = self.rules
        if chat.type == "private" and rules.private_interval_s:
            allowed_at = chat.next_at - (rules.private_burst - 1) * rules.private_interval_s
            if now < allowed_at - 1e-3:
                self._ban(chat, now, allowed_at - now)
        if chat.type != "private" and rules.group_calls:
            self._count(chat, chat.recent, now, rules.group_calls, rules.group_window_s)
        if rules.account_calls:
            self._count(chat, self.recent, now, rules.account_calls, 1.0)
            self.recent.append(now)
        if chat.type != "private" and rules.group_calls:
            chat.recent.append(now)
        chat.next_at = max(now, chat.next_at) + rules.private_interval_s

    def _count(self, chat: Chat, recent: deque[float], now: float, calls: int, window_s: float) -> None:
        """Raises ApiError where so many were admitted within the window."""
        while recent and recent[0] <= now - window_s:
            recent.popleft()
        if len(recent) >= calls:
            self._ban(chat, now, recent[-calls] + window_s - now)

    def _ban(self, chat: Chat, now: float, seconds: float) -> None:
        """Telegram counts in whole seconds."""
        chat.penalties += 1
        wait = max(1, int(seconds + 0.999))
        chat.banned_until = now + wait
        raise ApiError(429, f"Too Many Requests: retry after {wait}", retry_after=wait)

    def _slow_down(self, chat: Chat, now: float) -> None:
        """Slow mode holds for new messages, not for edits."""
        if now < chat.sent_at + chat.slow_s:
            chat.penalties += 1
            wait = int(chat.sent_at + chat.slow_s - now + 0.999)
            raise ApiError(400, f"Bad Request: SLOWMODE_WAIT_{wait}")
        chat.sent_at = now

    def _writable(self, chat_id: int, arguments: Mapping[str, Any]) -> Chat:
        chat = self.chat(chat_id)
        if chat.migrated_to is not None:
            message = "Bad Request: group chat was upgraded to a supergroup chat"
            raise ApiError(400, message, migrate_to_chat_id=chat.migrated_to)
        if chat.forbidden:
            raise ApiError(400 if chat.forbidden.startswith("Bad Request") else 403, chat.forbidden)
        thread = arguments.get("message_thread_id")
        if thread and int(thread) not in chat.topics:
            raise ApiError(400, "Bad Request: message thread not found")
        return chat

    def _message(self, chat: Chat, message_id: int, otherwise: str) -> Message:
        for message in chat.messages:
            if message.id == message_id and not message.deleted:
                return message
        raise ApiError(400, f"Bad Request: {otherwise}")

    def _replied(self, chat: Chat, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if not (wanted := arguments.get("reply_parameters")):
            return {}
        wanted = json.loads(wanted)
        try:
            replied = self._message(chat, int(wanted["message_id"]), "message to be replied not found")
        except ApiError:
            if wanted.get("allow_sending_without_reply"):
                return {}
            raise
        return {"reply_to_message": self.view(chat, replied)}


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _checked_text(arguments: Mapping[str, Any], *, is_draft: bool = False) -> dict[str, Any]:
    text = str(arguments.get("text", ""))
    if arguments.get("parse_mode"):
        raise ApiError(400, "Bad Request: can't parse entities: this server takes none of a parse mode")
    if not text.strip() and not is_draft:
        raise ApiError(400, "Bad Request: message text is empty")
    if units(text) > TEXT_UNITS:
        raise ApiError(400, "Bad Request: message is too long")
    if not is_draft and not json.loads(arguments.get("link_preview_options", "{}")).get("is_disabled"):
        raise ApiError(400, "Bad Request: a link preview that nobody asked for")
    entities = json.loads(arguments.get("entities", "[]"))
    _check_entities(text, entities)
    return {"text": text, **({"entities": entities} if entities else {})}


def _check_entities(text: str, entities: Sequence[Mapping[str, Any]]) -> None:
    if len(entities) > MOST_ENTITIES:
        raise ApiError(400, "Bad Request: too many entities")
    encoded = text.encode("utf-16-le")
    spans = []
    for entity in entities:
        start, end = int(entity["offset"]), int(entity["offset"]) + int(entity["length"])
        if entity["type"] not in _KINDS or not 0 <= start < end <= units(text):
            raise ApiError(400, "Bad Request: ENTITY_BOUNDS_INVALID")
        for edge in (start, end):
            if 0xDC <= (encoded[2 * edge + 1] if edge < units(text) else 0) <= 0xDF:
                raise ApiError(400, "Bad Request: ENTITY_BOUNDS_INVALID: within a character")
        spans.append((start, end, str(entity["type"])))
    for place, (start, end, kind) in enumerate(spans):
        for other_place, (other_start, other_end, other) in enumerate(spans):
            if start < other_start < end < other_end:
                raise ApiError(400, f"Bad Request: {kind} and {other} overlap")
            is_around = other_place < place and (start, end) == (other_start, other_end)  # of two alike the first one
            if kind in _NESTED_NOWHERE and start <= other_start < other_end <= end and other != kind and not is_around:
                raise ApiError(400, f"Bad Request: {other} within {kind}")


def _checked_markup(arguments: Mapping[str, Any]) -> dict[str, Any]:
    markup = json.loads(arguments.get("reply_markup", "{}"))
    for row in markup.get("inline_keyboard", []):
        for button in row:
            if not 1 <= len(button["callback_data"].encode()) <= DATA_BYTES:
                raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
    return {"reply_markup": markup} if markup.get("inline_keyboard") else {}
