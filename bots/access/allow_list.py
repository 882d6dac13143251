"""Whom the operator lets in. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

_HERE = "terminal:"
"""Whoever can start the program can read its settings and its database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The operator's word on who is served.

    Args:
        owners: ids of people who are always served, at any rate ("telegram:4711").
        allowed_users: ids of people who are no strangers.
        allowed_chats: chats in which nobody is a stranger ("telegram:-1001234", topics included).
        strangers: whether everybody else is answered, refused with a sentence, or ignored; "auto" refuses them in
            direct messages as soon as there are owners or allowed users, and answers them where others are.
        requests_per_minute: of one person, over all chats; 0 for any number.
    """

    owners: Collection[str] = ()
    allowed_users: Collection[str] = ()
    allowed_chats: Collection[str] = ()
    strangers: Literal["auto", "answer", "refuse", "ignore"] = "auto"
    requests_per_minute: int = 0

    def is_stranger(self, person: str, chats: Collection[str], *, direct: bool) -> bool:
        """Whether this person is not served in a chat.

        Args:
            chats: all names of the chat.
            direct: nobody else is in it.
        """
        if person.startswith(_HERE) or person in self.owners or person in self.allowed_users:
            return False
        if self._lets_everybody_in(direct):
            return False
        return not any(_is_in(name, chat) for name in chats for chat in self.allowed_chats)

    def _lets_everybody_in(self, direct: bool) -> bool:
        if self.strangers == "auto":
            return not (direct and (self.owners or self.allowed_users))
        return self.strangers == "answer"


def _is_in(chat: str, allowed: str) -> bool:
    """Whether the chat is the allowed one, or a topic or thread of it, whatever account of the bot is in it."""
    platform, *parts = chat.split(":")
    allowed_platform, _, name = allowed.partition(":")
    # The account of the bot goes before the chat, a topic comes after it; their numbers are no chats.
    return chat == allowed or (platform == allowed_platform and parts[len(parts) > 1 :][:1] == [name])
