"""Cookies make people, and names are theirs alone."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web.memory import MemoryPosts
from adapters.web.people import Guests, is_secret, new_secret, person_id, rename, tidy_name


def test_the_public_id_does_not_tell_the_secret() -> None:
    secret = new_secret()
    assert is_secret(secret)
    assert secret not in person_id(secret)
    assert person_id(secret) == person_id(secret) != person_id(new_secret())


@pytest.mark.parametrize("cookie", [None, "", "x" * 48, "0" * 47, "0" * 48 + "\n"])
def test_anything_else_is_no_secret(cookie: str | None) -> None:
    assert not is_secret(cookie)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [(" Ada  Lovelace ", "Ada Lovelace"), ("a\u202eb\0c", "a b c"), ("x" * 40, "x" * 32), ("Ａｄａ", "Ada")],
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


@pytest.mark.parametrize("typed", ["", " \u200b\n", "PARTYLINE"])
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
        await asyncio.sleep(0)  # the others come meanwhile
        return await super().put_name(person, name)

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


async def test_each_of_many_newcomers_costs_one_write() -> None:
    posts = CountedPosts()
    guests = Guests(posts)
    names = await asyncio.gather(*(guests.name_for(f"web:{number}") for number in range(400)))
    assert set(names) == {f"Guest {number}" for number in range(1, 401)}
    assert posts.calls == {"put_name": 400, "count_names": 1}


async def test_names_of_earlier_days_hold_up_no_newcomer() -> None:
    posts = CountedPosts()
    for number in range(2, 1000, 2):  # people who are called so, and others who have gone
        await posts.put_name(f"web:{number}", f"Guest {number}")
        await posts.put_name(f"web:x{number}", f"Guest {500 + number}")
    posts.calls.clear()
    assert (await Guests(posts).name_for("web:new")).startswith("Guest ")
    assert posts.calls["put_name"] < 20


async def test_a_taken_name_is_refused() -> None:
    posts = MemoryPosts()
    assert await rename(posts, "web:a", " Ada ") == "Ada"
    with pytest.raises(ValueError, match="called ada already"):
        await rename(posts, "web:b", "ada")
