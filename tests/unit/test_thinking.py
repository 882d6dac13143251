"""The laws of splitting reasoning from answer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.thinking import Splitter, open_prefix, opened_by

FRAGMENTS = [
    "<think>",
    "</think>",
    "<",
    "think",
    ">",
    "\n",
    "```",
    "`",
    "~~~",
    " ",
    "words ",
    "é",
    "😀",
    "<think",
    "</",
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)


def split(text: str, cuts: list[int] | None = None, *, inside: bool = False) -> tuple[str, str]:
    """(thinking, answer) of a text that is fed in pieces cut at `cuts`."""
    splitter = Splitter(inside=inside)
    bounds = [0, *sorted(cuts or []), len(text)]
    parts = [part for a, b in pairwise(bounds) for part in splitter.feed(text[a:b])]
    parts += splitter.close()
    assert all(words for _, words in parts), "no part is empty"
    thinking = "".join(words for kind, words in parts if kind == "thinking")
    return thinking, "".join(words for kind, words in parts if kind == "answer")


@given(TEXTS, st.lists(st.integers(0, 100), max_size=20), st.booleans())
def test_how_the_text_is_cut_changes_nothing(text: str, cuts: list[int], inside: bool) -> None:
    assert split(text, [min(cut, len(text)) for cut in cuts], inside=inside) == split(text, inside=inside)


@given(TEXTS, st.booleans())
def test_nothing_is_lost_but_one_pair_of_tags_and_blanks(text: str, inside: bool) -> None:
    thinking, answer = split(text, inside=inside)
    joined = "".join((thinking + answer).split())
    original = "".join(text.split())
    tags = ["", "<think>", "</think>", "<think></think>"]
    assert any(len(joined) + len(tag) == len(original) for tag in tags)
    assert original.endswith("".join(answer.split()))


@given(st.text().filter(lambda text: not text.lstrip().startswith("<")))
def test_an_answer_without_reasoning_is_left_alone(text: str) -> None:
    assert split(text) == ("", text)


@pytest.mark.parametrize(
    ("text", "inside", "thinking", "answer"),
    [
        ("<think>a</think>\n\nb", False, "a", "b"),
        ("\n <think>\na\n</think>b", False, "\na\n", "b"),
        ("a\n</think>\n\nb", True, "a\n", "b"),
        ("never closed", True, "never closed", ""),
        ("<think>never closed </thin", False, "never closed </thin", ""),
        ("Use the tag <think> in code", False, "", "Use the tag <think> in code"),
        ("```xml\n<think>x</think>\n```", False, "", "```xml\n<think>x</think>\n```"),
        ("<think>say `</think>` in code</think>b", False, "say `</think>` in code", "b"),
        ("<think>\n```\nprint('</think>')\n```\n</think>b", False, "\n```\nprint('</think>')\n```\n", "b"),
        ("<think>\n```\nunclosed fence\n</think>b", False, "\n```\nunclosed fence\n", "b"),
        ("<think></think>b </think> c", False, "", "b </think> c"),
        ("<thinking>no tag of ours", False, "", "<thinking>no tag of ours"),
    ],
)
def test_cases(text: str, inside: bool, thinking: str, answer: str) -> None:
    assert split(text, inside=inside) == (thinking, answer)


@pytest.mark.parametrize("prompt", ["<｜Assistant｜><think>\n", "x<think>"])
def test_a_prefix_fits_a_template_that_opened_the_reasoning(prompt: str) -> None:
    assert opened_by(prompt)
    assert open_prefix(prompt, "") == ""
    assert open_prefix(prompt, "<think>\na</think>b") == "a</think>b"
    assert open_prefix(prompt, "answer") == "\n</think>\n\nanswer"


def test_a_prefix_after_an_ordinary_template_is_itself() -> None:
    assert open_prefix("<|im_start|>assistant\n", "<think>a</think>b") == "<think>a</think>b"


def test_many_brackets_are_split_at_once() -> None:
    """Each was taken by itself before, with a copy of all that followed; a million of them take minutes like that."""
    splitter = Splitter(inside=True)
    parts = splitter.feed("<" * 1_000_000 + "</think>done") + splitter.close()
    assert [(kind, len(text)) for kind, text in parts] == [("thinking", 1_000_000), ("answer", 4)]
