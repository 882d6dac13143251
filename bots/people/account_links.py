"""`/link`: a one-time code, and a yes on both sides, make one person of the same person's ids on two platforms."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bots import wording
from bots.messages import Notice
from bots.ports import StorageError
from bots.profile import personal
from bots.profile.preferences import UserError

LIFETIME_S = 600.0
MAX_GUESSES = 5
GUESSING_S = 3600.0
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_LENGTH = 10
"""50 bits. SECURITY.md counts what those reach who have many accounts."""
_REMEMBERED_GUESSERS = 10_000
_REMEMBERED_NAMES = 1000


def new_code() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def _readable(code: str) -> str:
    return f"{code[: len(code) // 2]}-{code[len(code) // 2 :]}"


def tidy(code: str) -> str:
    """The code without what people add when they copy one."""
    return "".join(code.upper().replace("-", " ").split())


def is_code(tidied: str) -> bool:
    """Whether it could be a code; nothing else can be a guess."""
    return len(tidied) == _LENGTH and set(tidied) <= set(_ALPHABET)


@dataclass(slots=True)
class Guesses:
    """Who tried wrong codes lately. Pure: `now` is in seconds of one clock.

    Nobody is locked for what others guess. Of those who are locked and of the others, so many are remembered each, and
    the oldest ones forgotten: what that gives away is counted into the length of a code.
    """

    _few: OrderedDict[str, list[float]] = field(default_factory=OrderedDict)
    _many: OrderedDict[str, list[float]] = field(default_factory=OrderedDict)
    """Those with as many as one may have, in the order of their newest ones."""
    remembered: int = _REMEMBERED_GUESSERS

    def __len__(self) -> int:
        return len(self._few) + len(self._many)

    def locked_s(self, person: str, now: float) -> float:
        """How long this person may not try, in seconds; 0 for those who may."""
        recent = [time for time in self._many.get(person, ()) if now - GUESSING_S < time <= now]
        return recent[0] + GUESSING_S - now if len(recent) >= MAX_GUESSES else 0.0

    def missed(self, person: str, now: float) -> None:
        wrong = [*self._forget(person), now][-MAX_GUESSES:]
        alike = self._many if len(wrong) == MAX_GUESSES else self._few
        alike[person] = wrong
        if len(alike) > self.remembered:
            alike.popitem(last=False)

    def take_back(self, person: str) -> None:
        """The newest guess was right, or nobody could say whether it was."""
        if wrong := self._forget(person)[:-1]:
            self._few[person] = wrong

    def _forget(self, person: str) -> list[float]:
        return self._few.pop(person, None) or self._many.pop(person, None) or []


class Linking:
    """The command.

    Args:
        now: seconds since the epoch.
        code: makes codes that nobody can foresee.
    """

    def __init__(self, links: personal.Links, now: Callable[[], float], code: Callable[[], str] = new_code) -> None:
        self._links = links
        self._now = now
        self._code = code
        self._guesses = Guesses()
        self._names: OrderedDict[str, str] = OrderedDict()
        """What those who used the command lately are called where they did."""

    async def do(self, person: str, argument: str, name: str = "") -> Notice:
        """The answer to `/link`, `/link CODE`, `/link CODE yes`, `/link yes`, `/link no`, `/link data on` and so on.

        Both sides are asked: whoever enters the code, and then whoever gave it. The words name accounts, so they are
        for this person alone.

        Args:
            name: what the person is called there, for the question on the other side.

        Raises:
            Refused: the code is wrong, or too many were; or there is nothing to agree to or to undo.
        """
        self._note_name(person, name)
        words = argument.lower().split()
        match words:
            case []:
                said = await self._begin(person)
            case ["yes"]:
                said = await self._accept(person)
            case ["no"]:
                if not await self._links.decline(person):
                    raise UserError(wording.nothing_to_link())
                said = wording.link_declined()
            case ["off"]:
                if not await self._links.unlink(person):
                    raise UserError(wording.not_linked())
                said = wording.unlinked()
            case ["data", ("on" | "off") as switch]:
                said = await self._share_data(person, on=switch == "on")
            case _:
                said = await self._enter(person, words)
        return Notice(said, private=True, otherwise=wording.link_where_alone())

    def _note_name(self, person: str, name: str) -> None:
        self._names[person] = name
        self._names.move_to_end(person)
        if len(self._names) > _REMEMBERED_NAMES:
            self._names.popitem(last=False)

    def forget(self, person: str) -> None:
        """Drop the name that the person had here."""
        self._names.pop(person, None)

    async def _begin(self, person: str) -> str:
        now = self._now()
        others = [each for each in await self._links.people(person) if each != person]
        if (other := await self._links.requested(person, now)) is not None:
            return wording.link_asked(other, self._names.get(other, ""))
        code = self._code()
        await self._links.put_code(code, person, now + LIFETIME_S)
        return wording.link_code(_readable(code), LIFETIME_S, others)

    async def _enter(self, person: str, words: Sequence[str]) -> str:
        """Ask whether this account is to be linked to the code's, and hear the yes."""
        agrees = len(words) > 1 and words[-1] == "yes"
        code = tidy(" ".join(words[:-1] if agrees else words))
        if not is_code(code):  # a word like "help" is no guess
            raise UserError(wording.wrong_code())
        now = self._now()
        if locked_s := self._guesses.locked_s(person, now):
            raise UserError(wording.too_many_guesses(locked_s))
        # Noted before the look, so that many at once are not more than one by one.
        self._guesses.missed(person, now)
        try:
            if agrees:
                giver = await self._links.request(code, person, now, now + LIFETIME_S)
            else:
                giver = await self._links.giver(code, person, now)
        except StorageError:
            self._guesses.take_back(person)
            raise
        if giver is None:
            raise UserError(wording.wrong_code())
        self._guesses.take_back(person)
        if agrees:
            return wording.link_half(giver, LIFETIME_S)
        return wording.link_ask(giver, _readable(code), self._names.get(giver, ""))

    async def _accept(self, person: str) -> str:
        other = await self._links.accept(person, self._now())
        if other is None:
            raise UserError(wording.nothing_to_link())
        return wording.linked([each for each in await self._links.people(person) if each != person])

    async def _share_data(self, person: str, *, on: bool) -> str:
        if not await self._links.share_data(person, on):
            raise UserError(wording.not_linked())
        shared = [each for each in await self._links.sharing(person) if each != person]
        return wording.data_shared(shared) if on else wording.data_kept()

    async def news(self, person: str) -> str:
        """What others have done to this person's links, in words, once; "" where there is nothing."""
        return "\n\n".join(wording.link_news(who, what) for who, what in await self._links.take_news(person))
