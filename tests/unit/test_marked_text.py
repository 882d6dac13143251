"""What people mark in a Telegram app reaches the model as Markdown: the app sends it beside the text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telegram import MessageEntity, Update, User

from adapters.telegram.updates.marked_text import marked_text
from adapters.telegram.updates.parsing import IncomingMessage, read_update

ME = User(4711, "Party", is_bot=True, username="party_bot")
ANN, BOB = {"id": 1, "is_bot": False, "first_name": "Ann"}, {"id": 2, "is_bot": False, "first_name": "Bob"}
HERE = {"id": 1, "type": "private", "first_name": "Ann"}


def entity(text: str, part: str, kind: str, **fields: Any) -> dict[str, Any]:
    """As an app counts: in UTF-16 units."""
    begin = len(text[: text.index(part)].encode("utf-16-le")) // 2
    return {"type": kind, "offset": begin, "length": len(part.encode("utf-16-le")) // 2} | fields


def read(text: str, *entities: dict[str, Any], **fields: Any) -> str:
    """What is asked in a private chat."""
    message = {"message_id": 7, "date": int(time.time()), "chat": HERE, "from": ANN, "text": text} | fields
    asked = read_update(Update.de_json({"update_id": 1, "message": message | {"entities": entities}}, None), ME)
    assert isinstance(asked, IncomingMessage)
    return asked.with_quote().text


CODE = "def f(x):\n    return x * 2"


@pytest.mark.parametrize(
    ("before", "after"),
    [("", ""), ("Why?\n", "\nThanks"), ("Why? ", " Thanks"), ("\N{GRINNING FACE} ", " \N{GRINNING FACE}")],
)
def test_a_block_of_code_is_a_fence_on_lines_of_its_own(before: str, after: str) -> None:
    text = f"{before}{CODE}{after}"
    said = read(text, entity(text, CODE, "pre", language="python"))
    fence = f"```python\n{CODE}\n```"
    assert fence in said.splitlines(keepends=False) or f"\n{fence}\n" in f"\n{said}\n"
    assert said.replace(fence, "").split() == f"{before}{after}".split()


def test_an_entity_that_cuts_a_character_in_two_costs_no_answer() -> None:
    text = "\N{GRINNING FACE} hi \N{GRINNING FACE}"
    for kind in ("mention", "bold", "code", "bot_command"):
        for offset, length in ((0, 1), (1, 1), (1, 6), (-3, 2), (90, 7)):
            assert "hi" in read(text, {"type": kind, "offset": offset, "length": length})


def test_code_that_holds_backticks_is_between_more_of_them() -> None:
    for text, said in (("a`b", "`` a`b ``"), ("total_sum", "`total_sum`")):
        assert read(text, entity(text, text, "code")) == said
    text = "```\nx\n```"
    assert read(text, entity(text, text, "pre")) == f"````\n{text}\n````"


def test_the_address_of_a_link_with_words_of_its_own_is_said() -> None:
    text = "What does \N{GRINNING FACE} our site say?"
    link = entity(text, "our site", "text_link", url="https://shop.example/returns?a=1")
    bold = entity(text, "site", "bold")
    assert read(text, link, bold) == "What does \N{GRINNING FACE} [our site](https://shop.example/returns?a=1) say?"


def test_the_name_of_the_bot_still_goes() -> None:
    text = "@party_bot what is x_y?"
    said = read(text, entity(text, "@party_bot", "mention"), entity(text, "x_y", "code"))
    assert said == "what is `x_y`?"


def test_what_is_asked_about_is_marked_too() -> None:
    text = f"Look:\n{CODE}"
    other = {"message_id": 5, "date": 1, "chat": HERE, "from": BOB, "text": text}
    other |= {"entities": [entity(text, CODE, "pre")]}
    said = read("why?", reply_to_message=other)
    assert said.splitlines() == ["why?", "", "> Look:", "> ```", *(f"> {line}" for line in CODE.splitlines()), "> ```"]


@given(
    st.text(max_size=40),
    st.lists(st.tuples(st.sampled_from(["code", "pre", "text_link", "bold"]), st.integers(0, 40), st.integers(1, 20))),
)
def test_no_letter_is_lost_whatever_is_marked(text: str, marks: list[tuple[str, int, int]]) -> None:
    """Entities that overlap and end beyond the text, too: a server of one's own may send them."""
    entities = {MessageEntity(kind, offset, length, url="u"): "" for kind, offset, length in marks}
    said = marked_text(text, entities, lambda *_: False)
    letters = iter(said)
    assert all(letter in letters for letter in text)
