"""The addresses of a Bot API server, and how chats, topics and people are named beyond this platform. Pure."""

from __future__ import annotations

from dataclasses import dataclass

API = "https://api.telegram.org/bot"
_FILE = "file/"


def api_url(base: str) -> str:
    """What the token is appended to. `base` may end in `/bot` or not; empty means Telegram's own server."""
    if not base:
        return API
    base = base.rstrip("/")
    return base if base.endswith("/bot") or "{token}" in base else f"{base}/bot"


def file_url(file_base: str, base: str) -> str:
    """The same for files; where no address is given, the one that belongs to the server at `base`."""
    if file_base:
        file_base = file_base.rstrip("/")
        return file_base if file_base.endswith("/bot") or "{token}" in file_base else f"{file_base}/bot"
    root, bot, rest = api_url(base).rpartition("bot{token}" if "{token}" in base else "bot")
    return f"{root}{_FILE}{bot}{rest}"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an answer goes: a chat, and the topic in it.

    A group that became a supergroup has another id, and its messages have other numbers. It keeps the name that it had
    as a group, `former`, under which all that is known of it was kept.
    """

    bot_id: int
    chat_id: int
    thread_id: int | None = None
    former: int | None = None

    @property
    def account(self) -> str:
        return account(self.bot_id)

    @property
    def group(self) -> str:
        """The chat with all its topics, which share one flood limit."""
        return f"{self.account}:{self.chat_id if self.former is None else self.former}"

    @property
    def chat(self) -> str:
        return self.group if self.thread_id is None else f"{self.group}:{self.thread_id}"

    @property
    def places(self) -> tuple[str, ...]:
        """The new name of a supergroup that was a group."""
        return () if self.former is None else (person_id(self.chat_id),)

    @property
    def is_private(self) -> bool:
        """Ids of groups and channels are negative."""
        return self.chat_id > 0

    def name_of(self, number: int) -> str:
        """What a message of this chat is called beyond this platform."""
        return str(number) if self.former is None else f"{self.chat_id}/{number}"

    def number_of(self, name: str) -> int | None:
        """The inverse of `name_of`; None for what is not in this chat, such as a message of the former group."""
        chat, is_moved, number = name.rpartition("/")
        if bool(is_moved) != (self.former is not None) or (is_moved and chat != str(self.chat_id)):
            return None
        return int(number) if number.isdecimal() else None


def account(bot_id: int) -> str:
    return f"telegram:{bot_id}"


def person_id(user_id: int) -> str:
    return f"telegram:{user_id}"


def user_id(person_id: str) -> int:
    """The inverse of `person_id`."""
    return int(person_id.removeprefix("telegram:"))
