"""Who is who: a secret cookie makes a person, who may choose a name that nobody else has."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import unicodedata

from adapters.web.posts import Posts

COOKIE = "partyline"
COOKIE_LIFETIME_S = 400 * 24 * 3600
"""Browsers cap it at 400 days (RFC 6265bis)."""
BOT_NAME = "Partyline"
_SECRET = re.compile(r"[0-9a-f]{48}")
_LONGEST_NAME = 32
_COUNTED_ATTEMPTS = 5
_MANY_GUESTS = 10**6


def new_secret() -> str:
    return secrets.token_hex(24)


def is_secret(cookie: str | None) -> bool:
    return cookie is not None and _SECRET.fullmatch(cookie) is not None


def person_id(secret: str) -> str:
    """The public id of the cookie's owner: everybody on the page may know it, and it opens nothing."""
    return "web:" + hashlib.sha256(secret.encode()).hexdigest()[:16]


def tidy_name(name: str) -> str:
    """The name as it can be shown in one line: no control or formatting characters, at most 32 code points.

    Raises:
        ValueError: nothing is left, or it is the bot's; a sentence for the person.
    """
    composed = unicodedata.normalize("NFKC", name)
    visible = "".join(each if unicodedata.category(each)[0] != "C" else " " for each in composed)
    tidy = " ".join(visible.split())[:_LONGEST_NAME].strip()
    if not tidy:
        raise ValueError("A name needs at least one letter.")
    if tidy.casefold() == BOT_NAME.casefold():
        raise ValueError(f"{BOT_NAME} is the bot's own name; please take another one.")
    return tidy


class Guests:
    """Gives newcomers names: "Guest 1", "Guest 2". However many come at once, each costs one write."""

    def __init__(self, posts: Posts) -> None:
        self._posts = posts
        self._last: int | None = None
        self._counting = asyncio.Lock()

    async def name_for(self, person: str) -> str:
        """The person's name; somebody new becomes the next free guest. Raises StorageError."""
        known = await self._posts.name_of(person)
        attempts = 0
        while known is None:
            guest = f"Guest {await self._next(attempts)}"
            attempts += 1
            if await self._posts.put_name(person, guest):
                return guest
        return known

    async def _next(self, attempts: int) -> int:
        if attempts >= _COUNTED_ATTEMPTS:  # people of earlier days have the next numbers
            return secrets.randbelow(_MANY_GUESTS)
        async with self._counting:
            if self._last is None:
                self._last = await self._posts.count_names()
            self._last += 1
            return self._last


async def rename(posts: Posts, person: str, name: str) -> str:
    """Gives the person the tidied name and returns it.

    Raises:
        ValueError: the name cannot be had; a sentence for the person.
    """
    tidy = tidy_name(name)
    if not await posts.put_name(person, tidy):
        raise ValueError(f"Somebody here is called {tidy} already; please take another name.")
    return tidy
