"""What the page may say, and what becomes of nonsense."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web.channel.protocol import (
    MAX_MESSAGE_BYTES,
    BadMessage,
    Changed,
    Dropped,
    Pressed,
    Renamed,
    Typed,
    clean,
    parse,
)
from bots.messages import Action


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"type": "message", "client_id": "c", "text": "hi"}, Typed(client_id="c", text="hi")),
        (
            {"type": "message", "client_id": "c", "text": "", "pictures": ["p"]},
            Typed(client_id="c", text="", pictures=("p",)),
        ),
        (
            {"type": "action", "action": "stop", "message_id": "m"},
            Pressed(client_id="", action=Action.STOP, message_id="m"),
        ),
        ({"type": "setting", "name": "seed", "value": "1"}, Changed(name="seed", value="1")),
        ({"type": "name", "name": "Ada"}, Renamed(name="Ada")),
        ({"type": "drop", "picture": "p"}, Dropped(picture="p")),
    ],
)
def test_messages_are_understood(said: object, meant: object) -> None:
    assert parse(json.dumps(said)) == meant


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "nonsense",
        "[]",
        "7",
        "{}",
        "[" * 100_000,
        '{"type":"message","text":"no id"}',
        '{"type":"message","client_id":"c","text":7}',
        '{"type":"message","client_id":"c","text":"","pictures":7}',
        '{"type":"action","action":"explode","message_id":"m"}',
        '{"type":"setting","name":"seed"}',
        '{"type":["message"]}',
    ],
)
def test_nonsense_is_a_sentence(raw: str) -> None:
    with pytest.raises(BadMessage, match="reload it"):
        parse(raw)


def test_a_hundred_kilobytes_pass_and_too_much_is_refused_by_name() -> None:
    text = "ä" * 100_000
    assert parse(json.dumps({"type": "message", "client_id": "c", "text": text}, ensure_ascii=False)) == Typed(
        client_id="c", text=text
    )
    with pytest.raises(BadMessage, match="256 kB") as refused:
        parse(json.dumps({"type": "message", "client_id": "c", "text": "x" * MAX_MESSAGE_BYTES}))
    assert refused.value.client_id == "c"


def test_what_no_database_keeps_is_replaced() -> None:
    assert clean("a\0b\ud800c") == "a\ufffdb\ufffdc"
    assert clean("\ud83d\ude00") == "😀"


@given(st.text(st.characters()))
def test_clean_text_can_be_encoded_and_ordinary_text_stays(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert "\0" not in cleaned
    if "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text):
        assert cleaned == text
