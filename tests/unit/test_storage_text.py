"""The escaping that lets a column hold any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.storage.sql.text import decode, encode

ANY_TEXT = st.text(st.characters())  # with categories unrestricted: surrogates and NUL too


@given(ANY_TEXT)
def test_any_text_comes_back(text: str) -> None:
    assert decode(encode(text)) == text


@given(ANY_TEXT)
def test_what_is_stored_suits_every_database(text: str) -> None:
    stored = encode(text)
    assert "\0" not in stored
    stored.encode("utf-8")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_ordinary_text_is_stored_as_it_is(text: str) -> None:
    assert encode(text) == text


@pytest.mark.parametrize("text", ["\x10", "\x100000", "\x10\x10", "\0", "\ud83d\ude00", "a\udfffb", "\x10d83d"])
def test_the_mark_itself_and_halves_of_pairs_come_back(text: str) -> None:
    assert decode(encode(text)) == text


@given(ANY_TEXT, ANY_TEXT)
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert (encode(one) == encode(other)) == (one == other)
