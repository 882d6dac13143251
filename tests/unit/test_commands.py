"""How a message is read as a command, and what the prompts are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.commands.registry import COMMANDS, Called, read, shown
from bots.conversation import prompt
from bots.conversation.prompt import for_code, is_mathematics, language, opening


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("/code a web server", "code", "a web server"),
        ("/CODE x", "code", "x"),
        ("/top-p 0.5", "top_p", "0.5"),
        ("  /help  ", "help", ""),
        ("/code@partyline_bot x", "code", "x"),
        ("/code\nline one\n line two", "code", "line one\n line two"),
        ("/temperature", "temperature", ""),
        ("/wibble 3", "wibble", "3"),
    ],
)
def test_commands(text: str, name: str, argument: str) -> None:
    assert read(text) == Called(name, argument)


@pytest.mark.parametrize("text", ["", "hello", "/", "//", "/usr/bin/env python", "a /code b", "/ code", "1/2", "/é"])
def test_plain_messages(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("hello /link ABCDE-23456", "hello /link ABCDE-23456"),
        ("/code a web server", "/code a web server"),
        ("/link ABCDE-23456 yes", "/link …"),
        ("  /LINK\nABCDE-23456", "/link …"),
        ("/privacy", "/privacy"),
        ("/wibble 3", "/wibble …"),
    ],
)
def test_a_command_says_its_name_to_everybody(text: str, seen: str) -> None:
    assert shown(text) == seen


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    called = read(text)
    assert called is None or text.lstrip().startswith("/")


@pytest.mark.parametrize(("typo", "meant"), [("cod", "code"), ("temprature", "temperature"), ("tempe", "temperature")])
def test_a_typo_gets_a_suggestion(typo: str, meant: str) -> None:
    assert Called(typo, "").suggestion == meant


def test_nonsense_gets_none() -> None:
    assert Called("zzzzqqq", "").suggestion is None


def test_every_usage_is_of_its_command() -> None:
    for command in COMMANDS:
        assert command.usage.startswith(f"/{command.name}")
        assert read(command.usage.split(",")[0]) is not None


@pytest.mark.parametrize("text", ["What is the square root of 3,456?", "2 + 2", "3 pears, how many halves?", "solve x"])
def test_mathematics(text: str) -> None:
    assert is_mathematics(text)


@pytest.mark.parametrize("text", ["a poem about a robot", "reverse a string in Python", "the year 2026", "how many?"])
def test_no_mathematics(text: str) -> None:
    assert not is_mathematics(text)


@pytest.mark.parametrize("piece", ["1", "how many ", "how much", "in ", "1 + "])
def test_a_question_is_looked_at_in_linear_time(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the event loop. With a search that begins anew at every digit this takes a quarter of an hour."""
    monkeypatch.setattr(prompt, "_LOOKED_AT", 200_000)
    is_mathematics(piece * (200_000 // len(piece)) + "x")
    language(piece * (200_000 // len(piece)) + "x")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("reverse a string in Python", "python"),
        ("a C++ class", "cpp"),
        ("hello world in C", "c"),
        ("a loop in C#", "csharp"),
        ("sort in JS", "javascript"),
        ("JavaScript promise", "javascript"),
        ("quicksort in go", "go"),
        ("go home", None),
        ("a pythonic poem", None),
        ("vitamin c", None),
    ],
)
def test_the_language_that_a_request_names(text: str, name: str | None) -> None:
    assert language(text) == name
    assert opening(for_code(text)) == (f"```{name}\n" if name else "")


@given(st.text())
def test_words_of_a_person_open_nothing(text: str) -> None:
    assert opening(text) == "" or "begins with ```" in text
