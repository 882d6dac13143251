"""Cookies make people, and names are theirs alone."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web.posts.guests import Guests, rename, tidy_name
from adapters.web.posts.memory import MemoryPosts

DAY_S = 86_400.0
INVISIBLE = ["\u3164", "\u2800\u2800", "\ufe0f", "\u115f\u1160", "\U000e0041", "\u00ad", "\U0001d159", "\ufffc", "..."]
BOTS = [
    "P\u0430rtyline",  # Cyrillic a
    "PartyIine",
    "Partyl1ne",
    "\u03c1artyline",  # Greek rho
    "\U0001d40fartyline",
    "P\ufe0fart\u034fyline",
    "Part y\u2800line",
    "Partyl\u00edne",
    "-- Partyline --",
]
LOOKALIKES = [
    "mia cooper 10",
    "M\u0456a C\u043eoper 10",  # Cyrillic
    "Mia Cooper lO",
    "rnia cooper 10",
    "Mia\u2060 Cooper\u3164 10",
    "Mia Cooper IO",
]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [(" Ada  Lovelace ", "Ada Lovelace"), ("a\u202eb\0c", "ab c"), ("x" * 40, "x" * 32), ("Ａｄａ", "Ada")],
)
def test_names_are_tidied(typed: str, shown: str) -> None:
    assert tidy_name(typed) == shown


@given(st.text(st.characters()))
def test_a_tidy_name_is_one_short_line_or_refused(typed: str) -> None:
    try:
        name = tidy_name(typed)
    except ValueError:
        return
    assert 0 < len(name) <= 32
    assert name == name.strip()
    assert name.isprintable()


@pytest.mark.parametrize("typed", ["", " \u200b\n", "PARTYLINE", *INVISIBLE, *BOTS])
def test_some_names_cannot_be_had(typed: str) -> None:
    with pytest.raises(ValueError, match="name"):
        tidy_name(typed)


class CountedPosts(MemoryPosts):
    """Counts what newcomers cost."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    async def put_name(self, person: str, name: str) -> bool:
        self.calls["put_name"] += 1
        return await super().put_name(person, name)

    async def is_free(self, name: str) -> bool:
        self.calls["is_free"] += 1
        await asyncio.sleep(0)  # the others come meanwhile
        return await super().is_free(name)

    async def count_names(self) -> int:
        self.calls["count_names"] += 1
        await asyncio.sleep(0)
        return await super().count_names()


async def test_newcomers_are_numbered_guests() -> None:
    posts = MemoryPosts()
    await posts.put_name("web:a", "Guest 2")
    guests = Guests(posts)
    assert await guests.name_for("web:b") == "Guest 3"
    assert await guests.name_for("web:b") == "Guest 3"
    assert await guests.name_for("web:a") == "Guest 2"


@pytest.mark.parametrize(
    "typed",
    [
        *(
            "Guest 7",
            "guest7",
            "GUEST  1O",
            "Gu\u0435st 44",
            "Guest 7.",
            "Guest #7",
            "Guest-7",
            "(Guest 7)",
            "Guest 7 \u2713",
        ),
        *("Guest 7\u0301", "Guest \u0667", "Guest \u096d", "Guest \u2466", "Guest \u4e03", "Guest \U0001f600 7"),
    ],
)
def test_nobody_takes_the_name_that_a_guest_may_have(typed: str) -> None:
    with pytest.raises(ValueError, match="given out by the page"):
        tidy_name(typed)


@pytest.mark.parametrize("typed", ["Guest", "Guest of honour", "Guestova", "Agent 47", "7", "Augustin 2"])
def test_a_name_that_only_begins_like_a_guests_can_be_had(typed: str) -> None:
    assert tidy_name(typed) == typed


@pytest.mark.parametrize(
    "typed",
    ["\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\u0dc1\u0dca\u200d\u0dbb\u0dd3", "\u0915\u094d\u200d\u0937"],
)
async def test_joiners_that_spell_a_name_are_shown_and_make_no_other_one(typed: str) -> None:
    posts = MemoryPosts()
    assert await rename(posts, "web:a", typed) == typed
    with pytest.raises(ValueError, match="nearly so"):
        await rename(posts, "web:b", typed.replace("\u200c", "").replace("\u200d", ""))


@pytest.mark.parametrize("typed", ["A\u200cda", "Ada\u200d", "\u200cAda", "A\u200d\u200cda", "A\u200b\u2060da"])
def test_joiners_that_spell_nothing_are_removed(typed: str) -> None:
    assert tidy_name(typed) == "Ada"


async def test_who_only_looks_is_not_stored_and_who_does_something_is() -> None:
    posts = CountedPosts()
    guests = Guests(posts)
    name = await guests.name_for("web:a")
    assert posts.calls["put_name"] == 0
    assert await posts.name_of("web:a") is None
    assert await guests.keep("web:a", name) == name == await posts.name_of("web:a")
    assert await guests.keep("web:a", name) == name
    assert posts.calls["put_name"] == 1
    assert await Guests(posts).name_for("web:a") == name, "after a restart, too"


async def test_a_guest_whose_name_another_process_has_given_away_gets_another_one() -> None:
    posts = MemoryPosts()
    here, there = Guests(posts), Guests(posts)
    assert await here.name_for("web:a") == await there.name_for("web:b") == "Guest 1"
    assert await there.keep("web:b", "Guest 1") == "Guest 1"
    assert await here.keep("web:a", "Guest 1") == "Guest 2"


async def test_each_of_many_newcomers_costs_no_write() -> None:
    posts = CountedPosts()
    guests = Guests(posts)
    names = await asyncio.gather(*(guests.name_for(f"web:{number}") for number in range(400)))
    assert set(names) == {f"Guest {number}" for number in range(1, 401)}
    assert posts.calls == {"is_free": 400, "count_names": 1}


async def test_names_of_earlier_days_hold_up_no_newcomer() -> None:
    posts = CountedPosts()
    for number in range(2, 1000, 2):  # people who are called so, and others who have gone
        await posts.put_name(f"web:{number}", f"Guest {number}")
        await posts.put_name(f"web:x{number}", f"Guest {500 + number}")
    posts.calls.clear()
    assert (await Guests(posts).name_for("web:new")).startswith("Guest ")
    assert posts.calls["is_free"] < 20


@pytest.mark.parametrize("other", LOOKALIKES)
async def test_what_looks_like_anothers_name_is_refused(other: str) -> None:
    posts = MemoryPosts()
    await rename(posts, "web:a", "Mia Cooper 10")
    with pytest.raises(ValueError, match="nearly so"):
        await rename(posts, "web:b", other)
    assert await rename(posts, "web:a", other)  # one's own may change


@pytest.mark.parametrize(
    "pair", [("Neil", "Nell"), ("Ella", "Elia"), ("Gill", "Gili"), ("Alan", "Aian"), ("Mila", "Mlla")]
)
async def test_small_i_and_l_are_two_letters(pair: tuple[str, str]) -> None:
    posts = MemoryPosts()
    for name in pair:
        assert await rename(posts, f"web:{name}", name) == name
        with pytest.raises(ValueError, match="nearly so"):
            await rename(posts, "web:other", name.upper())


@pytest.mark.parametrize(
    ("name", "twin"), [("Nell", "NeIl"), ("Nell", "Ne|1"), ("Ian", "lan"), ("al", "aI"), ("Lia", "Iia")]
)
async def test_a_capital_i_is_no_way_to_be_called_like_somebody(name: str, twin: str) -> None:
    posts = MemoryPosts()
    await rename(posts, "web:a", name)
    with pytest.raises(ValueError, match="nearly so"):
        await rename(posts, "web:b", twin)


async def test_names_that_differ_may_both_be_had() -> None:
    posts = MemoryPosts()
    for name in ("José", "Jose", "Ann", "Nik", "Vik", "山田", "山口", "محمد", "Вера", "😀"):
        assert await rename(posts, f"web:{name}", name) == name


async def test_a_name_is_kept_while_its_owner_comes_and_then_free() -> None:
    now = 0.0
    posts = MemoryPosts(clock=lambda: now)
    guests = Guests(posts, clock=lambda: now)
    for person in ("web:stays", "web:comes"):
        await posts.put_name(person, person)
    now = 80 * DAY_S
    assert await guests.name_for("web:comes") == "web:comes"
    now = 100 * DAY_S
    assert await posts.forget_names(now - 90 * DAY_S, 10) == 1
    assert await posts.name_of("web:comes") == "web:comes"
    assert await rename(posts, "web:new", "web:stays") == "web:stays"


async def test_a_name_that_was_erased_while_its_owner_is_here_does_not_come_back() -> None:
    """Also by another process, or because nobody had come for long."""
    posts = MemoryPosts()
    guests = Guests(posts)
    for person, name in (("web:a", "Anna"), ("web:b", "Bela")):
        await rename(posts, person, name)
        assert await guests.name_for(person) == await guests.keep(person, name) == name
    assert await posts.forget_names(time.time() + DAY_S, 10) == 2
    assert (await guests.keep("web:a", "Anna")).startswith("Guest "), "what was chosen is chosen anew"
    assert await rename(posts, "web:d", "Bela") == "Bela"
    assert (await guests.keep("web:b", "Bela")).startswith("Guest ")


async def test_a_taken_name_is_refused() -> None:
    posts = MemoryPosts()
    assert await rename(posts, "web:a", " Ada ") == "Ada"
    with pytest.raises(ValueError, match="called ada already"):
        await rename(posts, "web:b", "ada")
