"""A fence within a fence of the same length ends it, on every platform and wherever it is cut (decision 034)."""

from __future__ import annotations

import pytest

from adapters.delivery.composing.chunker import Chunker
from adapters.delivery.markdown.block_parser import BlockParser
from adapters.delivery.markdown.commonmark import parse
from tests.conformance.test_random_documents import MEASURES, READERS

README = "# T\n\n{inner}py\nx = 1 * 2 * 3\n{inner}\n\nSome text.\n\n{inner}sh\nls\n{inner}\n\nEnd.\n"
EQUAL = [("```", "```"), ("~~~", "~~~"), ("````", "````"), ("```", "````")]
"""The outer and the inner one; the last has the longer inside, which closes it too."""
LONGER = [("````", "```"), ("~~~", "```"), ("```", "~~~"), ("~~~~", "~~~")]


def _answer(outer: str, inner: str) -> str:
    return f"Here it is:\n\n{outer}markdown\n{README.format(inner=inner)}{outer}\n\nThat is all.\n"


def _fence_lines(markdown: str) -> list[bool]:
    """Of each line, whether a fence is open behind it, as the chunker reads it."""
    blocks, opened = BlockParser(), []
    for line in markdown.removesuffix("\n").split("\n"):
        blocks.read_line(line)
        opened.append(blocks.fence is not None)
    return opened


@pytest.mark.parametrize("platform", ["page", "discord", "telegram"])
@pytest.mark.parametrize(("outer", "inner"), EQUAL)
def test_the_first_inner_end_is_the_end(platform: str, outer: str, inner: str) -> None:
    shown, _ = READERS[platform](_answer(outer, inner))
    assert shown.blocks[0].rstrip() == f"# T\n\n{inner}py\nx = 1 * 2 * 3"
    assert shown.blocks[1].rstrip() == "ls"
    assert not any("Some text." in block for block in shown.blocks)


@pytest.mark.parametrize("platform", ["page", "discord", "telegram"])
@pytest.mark.parametrize(("outer", "inner"), LONGER)
def test_with_another_fence_outside_it_is_one_block(platform: str, outer: str, inner: str) -> None:
    shown, _ = READERS[platform](_answer(outer, inner))
    assert [block.rstrip() for block in shown.blocks] == [README.format(inner=inner).rstrip()]


@pytest.mark.parametrize(("outer", "inner"), EQUAL + LONGER)
def test_chunker_and_parser_agree_and_no_line_is_lost(outer: str, inner: str) -> None:
    answer = _answer(outer, inner)
    lines = answer.removesuffix("\n").split("\n")
    within = [False] * len(lines)
    for token in parse(answer):
        if token.type == "fence" and token.map:
            first, end = token.map
            closed = set(lines[end - 1]) == set(token.markup[0]) and end - 1 > first
            within[first : end - closed] = [True] * (end - closed - first)
    assert _fence_lines(answer) == within
    for platform, measure in MEASURES.items():
        chunker = Chunker(lambda _: 60, measure)
        chunker.feed(answer)
        chunker.finish()
        shown = "".join(READERS[platform](chunk.markdown)[0].text for chunk in (*chunker.frozen, chunker.live()))
        for word in ("Here it is:", "# T", "x = 1 * 2 * 3", "Some text.", "ls", "End.", "That is all."):
            assert "".join(word.split()) in "".join(shown.split()), (platform, word)
    assert all(line in READERS["terminal"](answer)[0].text.split("\n") for line in lines)
