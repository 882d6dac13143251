"""What people are called: newcomers are numbered guests, and whoever wants takes a name that nobody else has.

Nothing is stored of a guest who only looks: the name is, with the first thing that the guest does.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import cache

import regex

from adapters.web.posts.posts import Posts
from bots.names import bare_keys, passes_for, shown

BOT_NAME = "Partyline"
_LONGEST_NAME = 32
_COUNTED_ATTEMPTS = 5
_MANY_GUESTS = 10**6
_GUEST = regex.compile(r"guest\p{So}*[o1-9][o1-9\p{So}]*")
"""What is left of the names of guests, whatever their digits are written with."""
_GUESTS = (
    "guest|visitor|гость|гостья|гість|госць|гост|gast|invité|invitado|invitada|ospite|convidado|hóspede|gość|oaspete|vendég"
    "|gäst|gæst|gjest|gestur|vieras|külaline|viesis|svečias|misafir|konuk|επισκέπτης|ضيف|زائر|مهمان|אורח|अतिथि|अतिथी"
    "|অতিথি|விருந்தினர்|ผู้เยี่ยมชม|khách|访客|訪客|游客|遊客|来宾|來賓|嘉宾|ゲスト|게스트|손님"
)
"""What the page calls newcomers, in languages in which people may read it so."""
_NUMBERED = regex.compile(r"(?P<word>.*\p{L})(?:[\W_]*[\p{N}\p{So}]+|[\W_]+(?P<number>[\p{L}\p{N}|]+))")
_NUMBER = regex.compile(r"[o1-9]+|c{0,3}(?:xc|x1|1?x{0,3})(?:[i1]x|[i1]v|v?[i1]{0,3})")
"""The keys of digits, of letters that look like some, and of Roman numbers."""
_REMEMBERED = 10_000


def tidy_name(name: str) -> str:
    """The name as it can be shown in one line: visible characters alone, at most 32 code points.

    Raises:
        ValueError: nothing is left, or the bot's can be read in it; a sentence for the person.
    """
    tidy = shown(name, _LONGEST_NAME)
    if not tidy:
        raise ValueError("A name needs at least one letter.")
    if passes_for(tidy, BOT_NAME):
        raise ValueError(f"{BOT_NAME} is the bot's own name; please take another one.")
    if _is_guests(tidy):
        raise ValueError("Names of guests are given out by the page; please take another one.")
    return tidy


def _is_guests(name: str) -> bool:
    """Whether people may read the name of a guest in it, in whatever language and with whatever numbers."""
    if any(_GUEST.fullmatch(each) for each in bare_keys(name)):
        return True
    found = _NUMBERED.fullmatch(name)
    if found is None or _guests().isdisjoint(bare_keys(found["word"])):
        return False
    return found["number"] is None or any(_NUMBER.fullmatch(each) for each in bare_keys(found["number"]))


@cache
def _guests() -> frozenset[str]:
    return frozenset(key for word in _GUESTS.split("|") for key in bare_keys(word))


class Guests:
    """Gives newcomers names: "Guest 1", "Guest 2". However many come, each costs one look and no write.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, posts: Posts, clock: Callable[[], float] = time.time) -> None:
        self._posts = posts
        self._clock = clock
        self._seen: OrderedDict[str, None] = OrderedDict()
        """Who was noted as seen lately, by person and day."""
        self._unstored: OrderedDict[str, str] = OrderedDict()
        """What those are called who have done nothing yet."""
        self._last: int | None = None
        self._counting = asyncio.Lock()

    async def name_for(self, person: str) -> str:
        """The person's name; somebody new becomes the next free guest. Raises StorageError."""
        known = await self._posts.name_of(person)
        if known is not None:
            await self._note(person)
            return known
        name = self._unstored.get(person)
        if name is None:
            name = self._unstored.setdefault(person, await self._free())
            if len(self._unstored) > _REMEMBERED:
                self._unstored.popitem(last=False)
        return name

    async def keep(self, person: str, name: str) -> str:
        """Store what a guest is called who does something; return it.

        It is another name if somebody else has taken this one meanwhile (another process gives out names, too). The
        storage is asked each time: a name is erased while a page is open, by this process or another.

        Args:
            name: what `name_for` has said.

        Raises:
            StorageError: it cannot be stored.
        """
        if (known := await self._posts.name_of(person)) is not None:
            return known
        if not _is_guests(name):  # one that the person chose, and has had erased
            name = await self._free()
        while not await self._posts.put_name(person, name):
            name = await self._free()
        self._unstored.pop(person, None)
        return name

    async def _free(self) -> str:
        attempts = 0
        while not await self._posts.is_free(guest := f"Guest {await self._next(attempts)}"):
            attempts += 1
        return guest

    async def _note(self, person: str) -> None:
        """A name is kept for as long as its owner comes: that is noted once a day."""
        key = f"{person} {self._clock() // 86_400:.0f}"
        if key not in self._seen:
            await self._posts.saw(person)
            self._seen[key] = None
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)

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
        raise ValueError(f"Somebody here is called {tidy} already, or nearly so. Please take another name.")
    return tidy
