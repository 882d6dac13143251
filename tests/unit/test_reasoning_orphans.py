"""An end of reasoning that nothing opened: where it is one, and where it is a word (docs/decisions/018)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.reasoning.formats import FORMATS, Format
from inference.reasoning.splitter import Splitter, reclassified

FAMILIES = {format.name: format for format in FORMATS}
TAGGED = [format for format in FORMATS if format.may_lack_opening and not format.control]
CLOSINGS = st.sampled_from([format.closing for format in TAGGED])
WORD = st.from_regex(r"[A-Za-zäöéßж中]{1,9}", fullmatch=True)
SENTENCE = st.builds(
    lambda words, end: " ".join(words) + end, st.lists(WORD, min_size=1, max_size=9), st.sampled_from(".?!")
)
"""Prose without marks, code and headings."""
PROSE = st.lists(st.tuples(SENTENCE, st.sampled_from([" ", "\n", "\n\n"])), min_size=1, max_size=6).map(
    lambda pairs: "".join(sentence + gap for sentence, gap in pairs).strip()
)


def apart(text: str, format: Format | None = None) -> tuple[str, str]:
    """(reasoning, answer)."""
    splitter = Splitter(format, orphans=True)
    parts = reclassified(splitter.feed(text) + splitter.close())
    thinking, answer = ("".join(words for kind, words in parts if kind == wanted) for wanted in ("thinking", "answer"))
    return thinking, answer


@given(PROSE, st.sampled_from(["{}", "\n{}", "\n\n{}", " {}"]), CLOSINGS, st.sampled_from(["\n", "\n\n"]), PROSE)
def test_behind_a_sentence_it_ends_reasoning(reasoning: str, stands: str, mark: str, gap: str, answer: str) -> None:
    """As models write it: behind the last word, or alone on a line; also where a server put a blank before it."""
    assert apart(reasoning + stands.format(mark) + gap + answer)[1] == answer


@given(PROSE, CLOSINGS, st.sampled_from(["", " "]), PROSE)
def test_the_answer_may_follow_on_the_same_line(reasoning: str, mark: str, gap: str, answer: str) -> None:
    assert apart(f"{reasoning}{mark}{gap}A{answer}") == (reasoning, f"A{answer}")


MENTIONS = st.sampled_from(
    ["`{}`", '"{}"', "“{}”", "({})", "[{}]", "**{}**", "- {} is it", "| {} | x |", "the tag {} is it", "it writes {}.",
     "{} closes it", "{}, as they say", "> {} is it", "so:\n\n```\n{}\n```", "it ends by: {}",
     "so:\n\n~~~xml\nx\n{}\n~~~"]
)  # fmt: skip


@given(PROSE, st.lists(st.tuples(MENTIONS, CLOSINGS, PROSE), min_size=1, max_size=4))
def test_an_answer_that_speaks_of_it_keeps_every_word(first: str, mentions: list[tuple[str, str, str]]) -> None:
    said = "\n\n".join(f"{where.format(mark)}\n\n{prose}" for where, mark, prose in mentions)
    assert apart(f"{first}\n\n{said}") == ("", f"{first}\n\n{said}")


@given(PROSE, MENTIONS, CLOSINGS, PROSE)
def test_reasoning_that_speaks_of_it_ends_where_models_end_it(before: str, where: str, mark: str, answer: str) -> None:
    text = f"{before}\n\n{where.format(mark)}\n\n{before}"
    assert apart(f"{text}\n{mark}\n\n{answer}") == (f"{text}\n", answer)


@given(PROSE, CLOSINGS, st.sampled_from(FORMATS), PROSE)
def test_where_the_family_is_known_the_ends_of_others_are_words(
    before: str, mark: str, format: Format, after: str
) -> None:
    text = f"{before}\n{mark}\n\n{after}"
    assert (apart(text, format)[1] == after) is (mark == format.closing and format.may_lack_opening)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("hm </think>\n\nthe answer", "the answer"),
        ("hm. </think>\nthe answer", "the answer"),
        ("hm\n</think>\n\nthe answer", "the answer"),
        ("hm</think>the answer", "the answer"),
        ("**hm**</think>\n\nthe answer", "the answer"),
        ('"hm"</think>\n\nthe answer', "the answer"),
        ("(hm)</think>\n\nthe answer", "the answer"),
        ("## Hm\n\nhm</think>\n\nthe answer", None),
        ("hm </think>\nthe answer", None),
        ("hm </think>", None),
        ("hm</think>", ""),
        ("It begins.\n</think> closes it.", None),
        ("1. </think>\n\nthen", None),
        ("write <think>, then\n</think>\n\nthen more", None),
        ("Of `<think>`: hm </think>\n\nmore", None),
        ("<think>a</think>b\n</think>\n\nc", "b\n</think>\n\nc"),
        ("a</think>b</think>c", "b</think>c"),
    ],
)
def test_cases(text: str, answer: str | None) -> None:
    assert apart(text)[1] == (text if answer is None else answer)


@given(st.lists(st.sampled_from(["</think>", " ", "\n", "\t", "x", ".", "`", "\r"]), max_size=40).map("".join))
def test_what_decides_is_near(text: str) -> None:
    """Not more than a line's blanks are held back behind a mark."""
    splitter, told = Splitter(orphans=True), 0
    for at, letter in enumerate(text, 1):
        told += sum(len(words) for _, words in splitter.feed(letter))
        assert at - told <= len("</think>") + 18
