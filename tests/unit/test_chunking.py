"""The laws of chunking: lossless, balanced, within the limit, frozen for good, independent of how the text arrived."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.delivery.composing.chunker import Chunk, Chunker
from adapters.delivery.composing.line_breaks import grapheme_boundary, word_boundary
from adapters.delivery.markdown.block_parser import BlockParser
from adapters.delivery.markdown.commonmark import parse
from tests.commonmark import examples

PIECES = [
    "word ", "words and words ", "\n", "\n\n", "```python\n", "```\n", "````\n", "~~~ text\n", "~~~\n", "```text\n",
    "- item\n", "  - nested\n", "    - deeper\n", "1. first\n", "2) second\n", "> quote\n", "> > inner\n", "> ```c\n",
    "> ```\n", "- ```js\n", "  ```\n", "      ```\n", "    code\n", "      more code\n", "# Title\n", "---\n", "***\n",
    "===\n", "| a | b |\n|---|:-:|\n", "| 1 | 2 |\n", "`code span` ", "``a ` b`` ", "**bold words here** ", "_soft_ ",
    "[link text](https://example.org/a_b) ", "![alt](https://example.org/x.png)", "~~gone~~ ", "<think>", "<b>",
    "@everyone", "\\", "\\*", "&amp;", "`", "```", "~", "*", "_", "[", "](", ">", "#", "-", "+", "1.", "|", "\t", " ",
    "    ", "> - > \t", "> > > > - ", ">> > \t~~~\n", "2) ", "           ",
    "\r\n", "\r", "\x00", "\ud800", "\u202e", "\u200b", "👩\u200d👩\u200d👧", "🇩🇪",
    "👍🏽", "e\u0301", "\u0300" * 5, "שלום ", "한국어 ", "字" * 7,
    "\\[\n", "\\]\n", "$$\n", "\\[ x_1 \\]\n", "\\(a*b\\) ", "$x^2 + y$ ", "a + b &= c \\\\\n", "$5 ",
    "\\begin{align}\n",
    "\\end{align}\n", "https://example.org/__a__ ", "www.a.b/*c* ", "[^1]: note\n", "- [ ] task\n",
    "def f(x):\n    return x\n", "x" * 40, "`" * 20 + "\n", "~" * 40,
]  # fmt: skip
NESTED = [
    "> ", ">", "- ", "  ", "    ", "\t", "1. ", "10) ", "* ", "> - ", "- > ", "- - ", "   ", " ", "+\n", "-\n", "\n",
    "```\n", "~~~\n", "```py\n", "~~~~\n", "`````\n", "  ```\n", "    ```\n", "\t```\n", "===\n", "---\n", "# h\n",
    "\n\n", "text\n", "word ", "x\ty\n", "a | b\n", "---|---\n",
]  # fmt: skip
NESTED_DOCUMENTS = range(300_000, 400_000 if os.environ.get("SOAK") else 301_000)
markdown_texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.text(max_size=300),
    st.text(alphabet="`~>-*_ \n\t#|[]()1.ab\\", max_size=300),
)
limits = st.sampled_from([100, 120, 160, 250])


def code_units(markdown: str) -> int:
    return len(markdown.encode("utf-16-le", "surrogatepass")) // 2


def escaped_units(markdown: str) -> int:
    """A rendering that lengthens some characters and shortens some spans: neither additive nor monotone."""
    return len(markdown) + 4 * markdown.count("*") + 3 * markdown.count("_") - 20 * markdown.count("](https://")


def chunker(limit: int = 120, measure: object = code_units) -> Chunker:
    return Chunker(lambda _: limit, measure)  # type: ignore[arg-type]


def chunks_of(text: str, limit: int = 120, measure: object = code_units) -> list[Chunk]:
    whole = chunker(limit, measure)
    whole.feed(text)
    whole.finish()
    return [*whole.frozen, whole.live()]


def unclosed_fences(markdown: str) -> list[str]:
    """The fences that the parser, an independent reader, finds without a closing line."""
    lines = markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    unclosed = []
    for token in parse(markdown):
        if token.type == "fence" and token.map:
            last = lines[token.map[1] - 1].lstrip(" \t>").rstrip(" \t")
            if token.map[1] - 1 == token.map[0] or last.strip(token.markup[0]) or len(last) < len(token.markup):
                unclosed.append(markdown[-200:])
    return unclosed


def visible_differences(chunk: Chunk) -> bool:
    """Whether a chunk's middle differs from its source in more than list indentation, escapes and fence lines."""
    middle = chunk.markdown[len(chunk.opened) : len(chunk.markdown) - len(chunk.closed)]
    return _lines(middle) != _lines(chunk.source)


def _lines(text: str) -> list[str]:
    squeezed = [_squeezed(line) for line in text.replace("\r", "\n").split("\n")]
    return [line for line in squeezed if set(line.lstrip(">")) not in (set(), {"`"}, {"~"})]


def _squeezed(line: str) -> str:
    return re.sub(r"\\([-+*#>=_`~.)])", r"\1", line.replace(" ", "").replace("\t", ""))


@settings(derandomize=True)
@given(markdown_texts, limits, st.sampled_from([code_units, escaped_units]))
def test_chunks_are_lossless_balanced_and_within_the_limit(text: str, limit: int, measure: object) -> None:
    chunks = chunks_of(text, limit, measure)
    assert "".join(chunk.source for chunk in chunks) == text
    for chunk in chunks:
        assert measure(chunk.markdown) <= limit  # type: ignore[operator]
        assert not unclosed_fences(chunk.markdown)
        assert not visible_differences(chunk)


@pytest.mark.parametrize("mark", ["```", "````", "~~~"])
@pytest.mark.parametrize("before", ["", "> ", "- ", "1. - "])
def test_no_cut_is_within_the_marker_of_a_fence(mark: str, before: str) -> None:
    """Wherever the limit falls: in what opens the fence, after a short line and a long one, and in what closes it."""
    indent = ">".join(" " * len(part) for part in before.split(">"))
    for filler in range(1, 130):
        for text in (
            f"{'w' * filler}\n{before}{mark}python\n{indent}x = 1\n{indent}y = 2\n{indent}{mark}\n\nafter",
            f"{before}{mark}python\n{indent}{'w' * filler}\n{indent}{mark}\n\nafter",
            f"short\n\n{before}{mark}python title={'t' * filler}\n{indent}x = 1\n{indent}{mark}\n\nafter",
        ):
            chunks = chunks_of(text, 100)
            assert "".join(chunk.source for chunk in chunks) == text
            code = [token.content for chunk in chunks for token in parse(chunk.markdown) if token.type == "fence"]
            assert "" not in code or filler > 44, (text, chunks)  # then its marker and one line fill a message
            assert "after" in [token.content for token in parse(chunks[-1].markdown)], (text, chunks)
            fences = [chunk for chunk in chunks if mark[:2] in chunk.source]
            assert all(mark in chunk.source for chunk in fences), (text, chunks)


def test_blanks_on_a_blank_line_of_code_in_a_list_are_the_code_s() -> None:
    for filler in range(40, 100):
        text = f"- {'w' * filler}\n\n  ```py\n  a = 1\n      \n  b = 2\n  ```\n"
        code = [
            token.content for chunk in chunks_of(text, 100) for token in parse(chunk.markdown) if token.type == "fence"
        ]
        assert code == ["a = 1\n    \nb = 2\n"], filler


def test_a_language_of_tildes_does_not_lengthen_the_marker() -> None:
    chunks = chunks_of("~~~ ~~\n" + "word\n" * 60 + "~~~\n", 120)
    assert len(chunks) > 2
    for chunk in chunks:
        assert not unclosed_fences(chunk.markdown)


def test_a_quote_that_follows_a_list_in_a_quote_does_not_go_on_with_the_list_s() -> None:
    text = "| a | b |\n|---|---|\n> > - > > > > > > ~~~\n  text\n> > >> >           > - > ```\n===\n"
    for chunk in chunks_of(text, 60):
        assert not unclosed_fences(chunk.markdown)
        assert not visible_differences(chunk)


@pytest.mark.skipif(not examples(), reason="make test downloads the specification's examples")
@pytest.mark.parametrize("limit", [100, 160, 400])
def test_the_examples_of_the_specification(limit: int) -> None:
    """Each by itself, and after filler so that it lies across a cut."""
    for example in examples():
        for text in (example, "filler " * (limit // 9) + "\n\n" + example * 3):
            chunks = chunks_of(text, limit)
            assert "".join(chunk.source for chunk in chunks) == text
            for chunk in chunks:
                assert code_units(chunk.markdown) <= limit
                assert not unclosed_fences(chunk.markdown), example
                assert not visible_differences(chunk), example


def test_documents_of_nothing_but_nesting() -> None:
    for seed in NESTED_DOCUMENTS:
        dice = random.Random(seed)
        text = "".join(dice.choices(NESTED + PIECES * (seed % 2), k=dice.randint(5, 80)))
        limit = dice.choice([100, 120, 160, 250])
        for chunk in chunks_of(text, limit):
            assert code_units(chunk.markdown) <= limit, seed
            assert not unclosed_fences(chunk.markdown), seed
            assert not visible_differences(chunk), seed


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("> ---|---\n---|---\n    > ~~~\n", 120),
        ("x\n10) a | b\n---|---\n     ```\n", 160),
        ("a | b\n---|---\n-\n    ```\n  ```\n", 250),
        ("|~~~~\n---\nx\n2) ~~~~\n", 120),
        ("a | b\n---|---\n    a | b\nx\ty\n2) `````\n", 160),
        ("- ---|---\n  ---|---\n---|---\n* \n    ```\n", 100),
        (f"| a | b |\n|---|---|\n{'`' * 20}\nx\n2) ===\n      ```\n", 160),
        ("- - - > - - - -     text\n===\n10) ```\n", 60),
        ("| a | b |\n|---|:-:|\nword ===\n+\n   👩\u200d👩\u200d👧- > 한국어 \r2) >- > > ```\n", 60),
        (f"{'w' * 49}\n-\n    > - `````\n>    > - \t```\n~~~~\ntext\n\n", 60),
    ],
)
def test_fences_in_what_readers_take_differently(text: str, limit: int) -> None:
    for chunk in chunks_of(text, limit):
        assert not unclosed_fences(chunk.markdown)
        assert not visible_differences(chunk)


READINGS = [
    "text\n", "words and more\n", "\n", "```py\n", "```\n", "~~~\n", "\\[\n", "\\]\n", "\\[ x \\]\n", "$$\n",
    "$$ x $$\n", "$$ x $$ y\n", "a | b\n", "|---|---|\n", "---|---\n", "| 1 | 2 |\n", "- item\n", "  more\n",
    "1. one\n", "> quote\n", "# h\n", "---\n", "===\n", "    code\n", "\\begin{align}\n", "\\end{align}\n", "x \\]\n",
    "\\[a](b)\n", "> \\[\n", "> \\]\n", "- $$\n", "  $$\n", "a + b\n", "- b\n", "[^1]: note\n", "text \\[\n", "|a|\n",
    "|-|\n", "\\\\[\n", "- \n", "`a | b` | c\n", "| $x|y$ |\n",
]  # fmt: skip


@settings(derandomize=True, max_examples=1_000)
@given(st.lists(st.sampled_from(READINGS), max_size=10))
def test_the_chunker_and_the_parser_read_every_document_alike(lines: list[str]) -> None:
    blocks, read = BlockParser(), []
    for line in lines:
        blocks.read(line)
        read.append("fence" if blocks.fence else "formula" if blocks.formula else "table" if blocks.table else "")
    assert read == open_after_each(lines)


def open_after_each(lines: list[str]) -> list[str]:
    """What the parser says is open after each line."""
    found = [""] * len(lines)
    for token in parse("".join(lines)):
        if not token.map:
            continue
        begin, end = token.map
        if token.type == "fence":
            last = lines[end - 1].strip(" >-\n") if begin < end - 1 < len(lines) else ""
            closed = bool(last) and set(last) == {token.markup[0]} and len(last) >= len(token.markup)
            found[begin : end - closed] = ["fence"] * (min(end, len(lines)) - closed - begin)
        elif token.type == "math_open":
            found[begin:end] = ["formula"] * (end - begin)
        elif token.type == "math_block" or token.meta.get("display"):
            found[begin : end - 1] = ["formula"] * (end - 1 - begin)
        elif token.type == "table_open":
            found[begin + 1 : end] = ["table"] * (end - begin - 1)
    return found


@pytest.mark.parametrize("formula", ["\\[\n{}\\]\n", "$$\n{}$$\n", "\\begin{{align}}\n{}\\end{{align}}\n"])
def test_a_formula_that_fits_is_not_cut(formula: str) -> None:
    block = formula.format("a_1 &= b * c \\\\\n" * 4)
    for filler in range(0, 120, 7):
        chunks = chunks_of("w" * filler + "\n\n" + block + "\nand words after it, " * 9, 160)
        assert any(block in chunk.source for chunk in chunks), filler


@pytest.mark.parametrize(
    "formula",
    [r"\(a + b = c_1 + c_2\)", "$x + y = z + w$", "$$a + b = c_1 + c_2$$", r"\boxed{\{a\} + {b} = \frac{c}{d}}"],
)
def test_a_formula_within_a_line_that_fits_is_not_cut(formula: str) -> None:
    for filler in range(0, 90, 5):
        chunks = chunks_of("word " * (filler // 5) + f"so {formula} is " + "more words " * 20, 60)
        assert any(formula in chunk.source for chunk in chunks), filler


def test_a_formula_that_does_not_fit_is_opened_again() -> None:
    chunks = chunks_of("\\[\n" + "a_1 + b * c \\\\\n" * 40 + "\\]\n\nafter", 160)
    assert len(chunks) > 3
    kinds = [next(token.type for token in parse(chunk.markdown)) for chunk in chunks]
    assert set(kinds[:-1]) == {"math_open"}
    assert kinds[-1] == "math_block"


def test_an_indented_line_of_a_paragraph_is_no_code_in_the_next_message() -> None:
    text = "word " * 20 + "\n" + "        indented words go on here\n" * 6
    for chunk in chunks_of(text, 100):
        assert next(token.type for token in parse(chunk.markdown)) == "paragraph_open"
    code = chunks_of("word " * 19 + "\nwords\n" * 3 + "\n    code\n", 100)[-1]
    assert parse(code.markdown)[-1].type == "code_block"


@settings(derandomize=True)
@given(markdown_texts, limits, st.data())
def test_the_pieces_in_which_text_arrives_do_not_matter(text: str, limit: int, data: st.DataObject) -> None:
    growing = chunker(limit)
    position, frozen = 0, list[Chunk]()
    while position < len(text):
        length = data.draw(st.integers(1, 90))
        growing.feed(text[position : position + length])
        position += length
        assert growing.frozen[: len(frozen)] == frozen, "a frozen chunk changed"
        frozen = list(growing.frozen)
        live = growing.live()
        assert code_units(live.markdown) <= limit
        assert not unclosed_fences(live.markdown)
    growing.finish()
    assert [*growing.frozen, growing.live()] == chunks_of(text, limit)


@settings(derandomize=True)
@given(markdown_texts, markdown_texts)
def test_an_answer_that_is_continued_keeps_its_chunks(old: str, more: str) -> None:
    before = chunks_of(old)
    again = chunker()
    again.feed(old)
    again.finish()
    again.feed(more)
    again.finish()
    assert again.frozen[: len(before) - 1] == before[:-1]
    assert "".join(chunk.source for chunk in [*again.frozen, again.live()]) == old + more


CODE = "".join(f"value_{n} = compute({n})  # {'x' * (n % 30)}\n" for n in range(200))


def code_in(chunks: Sequence[Chunk]) -> str:
    return "".join(token.content for chunk in chunks for token in parse(chunk.markdown) if token.type == "fence")


@pytest.mark.parametrize("fence", ["```", "````", "~~~"])
@pytest.mark.parametrize("prefix", ["", "  ", "> ", "> > "])
def test_code_is_reopened_with_its_language(fence: str, prefix: str) -> None:
    inner = CODE + "```text\n~~\n"
    lines = "".join(f"{prefix}{line}\n" for line in f"{fence}python\n{inner}{fence}".splitlines())
    chunks = chunks_of(f"Here:\n\n{lines}\nThat is it.", 300)
    assert len(chunks) > 20
    assert all(f"{fence}python" in chunk.markdown for chunk in chunks[1:-1])
    assert code_in(chunks).replace(" ", "") == inner.replace(" ", "")


@pytest.mark.parametrize("item", ["- ", "1. ", "  - ", "1)   "])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_code_in_lists_stays_code_in_every_chunk(item: str, levels: int) -> None:
    markers = "".join(f"{' ' * len(item) * level}{item}level\n" for level in range(levels))
    indent = " " * len(item) * levels
    inner = "".join(f"{indent}{line}\n" if line else "\n" for line in f"```python\n{CODE}```".split("\n"))
    chunks = chunks_of(f"{markers}\n{inner}\nafter", 300)
    assert code_in(chunks) == CODE
    assert "after" in [token.content for token in parse(chunks[-1].markdown)]


@pytest.mark.parametrize("item", ["- ", "1. ", "10. ", "- 1. "])
def test_tabs_of_code_in_lists_stay_tabs_in_every_chunk(item: str) -> None:
    code = "all: a.o\n" + "".join(f"\tcc -o out{n} a.o\n\t\techo\t{n}\n" for n in range(40))
    indent = " " * len(item)
    inner = "".join(f"{indent}{line}\n" for line in f"```make\n{code}```".split("\n"))
    assert code_in(chunks_of(f"{item}words\n\n{inner}", 300)) == code


@pytest.mark.parametrize("prefix", ["", "> ", "- item\n\n  ", "> 1. item\n>\n>    "])
def test_indented_code_that_is_cut_within_a_line_stays_code(prefix: str) -> None:
    first, _, indent = prefix.rpartition("\n")
    line = "if __name__ == '__main__': run(*args, **options) # " * 4
    text = f"{first}\n" * bool(first) + f"{indent}    {line}\n{indent}        {line}\n\nafter"
    tokens = [token for chunk in chunks_of(text, 100) for token in parse(chunk.markdown)]
    code = "".join(token.content for token in tokens if token.type == "code_block")
    assert "".join(code.split()) == "".join((line * 2).split())


def test_a_list_that_ends_within_a_reopened_fence_closes_it() -> None:
    text = "- ```\n" + "  some code here\n" * 20 + "not in the list any more\n"
    last = chunks_of(text)[-1]
    assert last.markdown.endswith("some code here\n```\nnot in the list any more\n")


def test_ends_between_blocks_where_it_can() -> None:
    paragraph = "Some words that make up a paragraph of text.\n\n"
    chunks = chunks_of(paragraph * 6)
    assert {chunk.source for chunk in chunks} == {paragraph * 2}


@pytest.mark.parametrize("indent", [1, 4, 12])
def test_a_line_of_code_is_not_cut_within_its_indentation(indent: int) -> None:
    long = " " * indent + "x" * 90
    for before in range(20, 80):
        chunks = chunks_of(f"```py\n{'y' * before}\n{long}\n{long}\n```\n", 120)
        assert not any(re.search(r"\n +$", chunk.source) for chunk in chunks)


def test_a_heading_stays_with_its_text() -> None:
    chunks = chunks_of("Words at first, quite some of them, so that it is late.\n\n## Heading\n\n" + "word " * 30)
    assert "## Heading\n\nword" in chunks[0].source


def test_links_emphasis_and_inline_code_stay_whole() -> None:
    for span in ("**bold words here**", "`code words here`", "[some linked words](https://example.org)"):
        for chunk in chunks_of(f"plain words {span} " * 40):
            assert chunk.source.count(span) == chunk.source.count(span[-6:])


def test_a_table_repeats_its_header() -> None:
    table = "| name | size |\n|---|---|\n" + "".join(f"| file{n} | {n} |\n" for n in range(40))
    chunks = chunks_of(table)
    assert len(chunks) > 3
    assert all(parse(chunk.markdown)[0].type == "table_open" for chunk in chunks)


@pytest.mark.parametrize("character", ["👩\u200d👩\u200d👧", "🇩🇪", "👍🏽", "e\u0301\u0300", "각", "1\ufe0f\u20e3"])
def test_characters_are_never_cut(character: str) -> None:
    chunks = chunks_of(character * 200)
    assert len(chunks) > 1
    assert all(chunk.source == character * (len(chunk.source) // len(character)) for chunk in chunks)


def test_an_amount_before_a_formula_opens_none() -> None:
    line = "It costs $5-x and more words, and ~~struck $a + b = c$ too~~ behind it. "
    for filler in range(0, 90, 5):
        chunks = chunks_of("word " * (filler // 5) + line + "more words " * 20, 60)
        assert any("$a + b = c$" in chunk.source for chunk in chunks), filler


def test_boundaries() -> None:
    assert grapheme_boundary("ab", 1) == 1
    assert grapheme_boundary("a" + "\u0301" * 500, 400) == 400
    assert word_boundary("one two three", 0) == len("one two ")
    assert word_boundary("one `two three", 0) == len("one ")
    assert word_boundary("one `two three", 5) == len("one `two ")
    assert word_boundary("onetwo", 0) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "\n" * 5_000, "```\n" * 2_000, "```", "~~~~", "`" * 50_000, "~" * 50_000, ">" * 100_000,
        "> " * 50_000, "*" * 100_000, "- " * 50_000, "[" * 50_000, "x" * 1_000_000, "字" * 100_000, "\u0301" * 50_000,
        " " * 100_000, "\t" * 50_000, "\x00" * 10_000, "\ud800" * 10_000, "\u200b\u202e" * 20_000, "# " * 50_000,
        "|" * 50_000, "a|b\n" + "-" * 50_000 + " " * 50_000 + "x", "|" + "-|" * 40_000 + "\n", "\\[\n" * 20_000,
        "\\[\n" + "a\n" * 20_000, "$$\n" + "a b " * 20_000, "$x " * 30_000, "\\(a " * 30_000,
        "\r" * 5_000, "\\" * 50_000, "a`" * 50_000, "```" + "x" * 10_000, "1. " * 30_000,
    ],
    ids=lambda text: f"{text[:3]!r}x{len(text)}",
)  # fmt: skip
def test_hostile_text_takes_linear_time(text: str) -> None:
    began = time.process_time()
    chunks = chunks_of(text, 2_000)
    assert time.process_time() - began < 12
    assert "".join(chunk.source for chunk in chunks) == text
    for chunk in chunks[:5]:
        assert code_units(chunk.markdown) <= 2_000
        assert not unclosed_fences(chunk.markdown)


def test_the_cost_of_a_piece_does_not_depend_on_the_length_of_the_reply() -> None:
    measured = 0

    def measure(markdown: str) -> int:
        nonlocal measured
        measured += len(markdown)
        return len(markdown)

    growing = Chunker(lambda _: 2_000, measure)
    costs = []
    for _ in range(10):
        measured = 0
        for _ in range(2_000):
            growing.feed("some words ")
        costs.append(measured)
    assert max(costs[1:]) < 1.3 * min(costs[1:])


@settings(derandomize=True, max_examples=20)
@given(st.integers(0, 2**32))
def test_long_random_documents(seed: int) -> None:
    dice = random.Random(seed)
    text = "".join(dice.choices(PIECES, k=800))
    chunks = chunks_of(text, 400)
    assert "".join(chunk.source for chunk in chunks) == text
    for chunk in chunks:
        assert code_units(chunk.markdown) <= 400
        assert not unclosed_fences(chunk.markdown)


@pytest.mark.parametrize("row", ["|-{}x", "|-{}|{}x", "|-{}|-{}|x"])
def test_what_is_nearly_a_row_of_delimiters_is_looked_at_in_linear_time(row: str) -> None:
    took = []
    for size in (4_000, 16_000):
        blocks = BlockParser()
        blocks.read("| a | b |\n")
        began = time.process_time()
        blocks.read(row.format(*[" " * size] * 2) + "\n")
        took.append(time.process_time() - began)
        assert not blocks.table
    assert took[1] < 8 * max(took[0], 0.02)


@pytest.mark.parametrize("opening", ["$$", "\\[", "\\begin{align}"])
def test_a_line_that_is_too_long_for_a_fence_is_part_of_the_formula(opening: str) -> None:
    """And so is what looks like a list behind it."""
    for marker in "`~":
        text = f"{opening}\n{marker * 17}\n- ```"
        for chunk in chunks_of(text, 1000, code_units):
            assert not unclosed_fences(chunk.markdown)


FORMULA_LINES = [
    "$$", "\\[", "\\begin{align}", "\\end{align}", "\\]", "x \\]", "x $$ word", "$$ x $$", "a + b", "~" * 17, "`" * 18,
    "~" * 17 + " \\]", "`" * 17 + "$$", "~" * 20 + "\\end{align}", "```", "~~~", "```py", "    ```", "    ~~~",
    "     " + "~" * 17, "- x", "1. y", "2. ```", "- ```", "> ```", "> ~~~", "> $$", "> \\[", "> " + "~" * 17,
    ">" + "`" * 17 + "\\]", "> x \\]", "", "    code", "===", "---", "# h", "| a | b |", "|---|---|", "- $$", "  $$",
    "  " + "~" * 17 + "$$", "``` a ` b", "\\[ ```", "> - $$",
]  # fmt: skip


@settings(derandomize=True)
@given(st.lists(st.sampled_from(FORMULA_LINES), max_size=9).map("\n".join), st.sampled_from([40, 60, 100, 1_000]))
def test_a_line_of_an_open_formula_is_read_as_the_parser_reads_it(text: str, limit: int) -> None:
    for chunk in chunks_of(text, limit):
        assert not unclosed_fences(chunk.markdown)


@pytest.mark.parametrize(
    "text",
    [
        "\\begin{align}\n" + "~" * 17 + "\\end{align}\n> ```",  # the formula ends in the line that is no fence
        "$$\n" + "`" * 17 + "$$\n> ~~~",
        "> \\[\n> " + "~" * 17 + "\\]\n> - ```",
        "$$\n    ```\n2. ```",  # code by indentation, which a list may follow
    ],
)
def test_an_open_formula_ends_where_the_parser_ends_it(text: str) -> None:
    for chunk in chunks_of(text, 1_000):
        assert not unclosed_fences(chunk.markdown)


@pytest.mark.parametrize("begins", ["- x\n\n  ", "> ", "# h\n\n   ", "1. x\n\n   # y\n\n   ", "> # h\n> "])
@pytest.mark.parametrize("mark", ["~~", "**", "_"])
def test_where_emphasis_begins_an_indented_line_it_is_cut_between_words(begins: str, mark: str) -> None:
    """And not within an address, because the indentation is the only blank outside of the emphasis."""
    address = f"https://example.org/{'a' * 40}"
    text = f"{begins}{mark}{'word ' * 12}{address}{mark} and more words"
    chunks = chunks_of(text, len(begins) + 80)
    assert len(chunks) > 1
    assert any(address in chunk.markdown for chunk in chunks)
