"""Random answers of which it is known what they say: everything in them is put together, so nothing has to be read.

Each word has a number of its own, so it can be seen whether it is shown, once and in order.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

Kind = Literal["word", "code", "address", "formula", "block", "number", "info", "title"]


@dataclass(frozen=True)
class Atom:
    """What must survive.

    Args:
        kind: a "word" and "code" within a line are shown to the letter; an "address" can be followed, too; a "block" is
            code on lines of its own.
        text: what is to be seen.
        written: what stands in the Markdown.
        token: the part of it that nothing else in the document has.
        tabular: it is in a table: chats may show it in another order, more than once, and as mere text.
    """

    kind: Kind
    text: str
    written: str
    token: str = ""
    tabular: bool = False


@dataclass
class Piece:
    """Lines of Markdown and what they say, in order."""

    lines: list[str]
    atoms: list[Atom] = field(default_factory=list)
    is_list: bool = False


@dataclass(frozen=True)
class Document:
    markdown: str
    atoms: list[Atom]
    pieces: list[Piece]


_SYLLABLES = (
    "ko", "Ma", "é", "ß", "да", "Ж", "שלום", "مرحبا", "字", "かな", "한국", "ไทย", "हिन्दी", "👩\u200d👩\u200d👧",
    "ñ", "İ",
    "e\u0301", "𝒳", "🇩🇪",
)  # fmt: skip
_LITERALS = (
    (r"{w}\_a\_b", "{w}_a_b"), (r"{w}\*", "{w}*"), ("{w}&amp;z", "{w}&z"), (r"{w}\<b\>", "{w}<b>"),
    ("2*3*4{w}", "2*3*4{w}"), ("snake_case_{w}", "snake_case_{w}"), ("@{w}", "@{w}"), ("/{w}", "/{w}"),
    ("#{w}", "#{w}"), (r"C:\{w}\x", r"C:\{w}\x"), ("{w}<y>z", "{w}<y>z"),
    ("<think>{w}</think>", "<think>{w}</think>"), ("[{w}]", "[{w}]"), ("~{w}", "~{w}"), (r"\`{w}\`", "`{w}`"),
    (r"{w}\|x", "{w}|x"), ("{w}.md", "{w}.md"), ("{w}:", "{w}:"), ("({w})", "({w})"), ("“{w}”", "“{w}”"),
    (r"\[{w}\](x)", "[{w}](x)"), ("{w}&#124;y", "{w}|y"), (r"\#{w}", "#{w}"), ("&lt;{w}&gt;", "<{w}>"),
    ("{w}!", "{w}!"), ('<a href="{w}">', '<a href="{w}">'), ("x<{w}", "x<{w}"), (r"{w}\\n", r"{w}\n"),
    ("+{w}", "+{w}"), (r"\- {w}", "- {w}"), (r"\> {w}", "> {w}"), (r"1\. {w}", "1. {w}"), ("$5-{w}", "$5-{w}"),
    ("a:b::{w}", "a:b::{w}"),
)  # fmt: skip
"""As written and as meant; none has marks that could pair with others."""
_CODES = (
    "{w}", "x*{w}*y", "__{w}__", r"\{w}\n", "<b>{w}</b>", "@{w}", "${w}$", r"\({w}\)", "a `{w}` b", "`{w}",
    "[{w}](x)", "&lt;{w}", "https://e.org/_{w}_", "{w}  z", "**{w}", "{w} -> x", "#{w}", ">{w}",
)  # fmt: skip
_HOSTS = ("e.org", "docs.python.org", "localhost:3000", "user@host.org", "例え.jp", "127.0.0.1:8000", "a-b.co.uk")
_PATHS = (
    "{w}", "__{w}__", "{w}_(film)", "a*{w}*b", "?q=_{w}_&r=1", "#_{w}_", "~{w}", "%20{w}", "{w}/", "путь/{w}",
    "[{w}]", "@{w}",
)  # fmt: skip
_CLEAN_PATHS = ("{w}", "{w}/", "%20{w}", "?q={w}&r=1", "#{w}", "a(b)/{w}", "путь/{w}", "@{w}")
"""Without marks of emphasis."""
_FORMULAS = (
    r"x^{n}", r"a_{n}*b_2*c_3", r"\frac{{x_{n}}}{{y}}", r"\{{1,{n}\}}", r"\alpha_{n} \leq \beta", r"\sqrt{{{n}}}",
    r"x^2\,dx_{n}", r"\overline{{x_{n}}}", r"\int_0^{n} f(x)\,dx", r"\sum_{{i=1}}^{{{n}}} i",
    r"\text{{if }} x_{n} > 0", r"[a_{n}]", r"x_{n}'",
)  # fmt: skip
_LINES_OF_CODE = (
    "x = {n}", "    if a < {n} > b:", "\tgo({n})", "# T{n}", "> q{n}", "- a{n}", "1. b{n}", "$x_{n}$", r"\(y_{n}\)",
    "", "<b>{n}</b>", "**{n}**", "|a|b{n}|", "~~~", r"re.sub(r'\\*', '_{n}_')", "``{n}``", "\\", "  indented {n}",
    "x = `{n}`", "    ", "=====", "---", "[^{n}]: x", "@name{n} /cmd{n}", "日本 {n}", "x\ty{n}", "&amp; {n}",
    r"\begin{{align}}", "</think>", "https://e.org/_{n}_",
)  # fmt: skip
_INFOS = (
    "", "", "python", "python:src/app{n}.py", 'js title="a {n}.js"', "c++", "{{.r #x{n}}}", "mermaid", "diff a/{n}",
    "Text {n} here", "objective-c", "python3 {{1,{n}}}", "sh -x --name={n}", "a{n}:b:c", "jsonc // c{n}", "F#",
    "title={n}", ":{n}", "x" * 40 + "{n}", "日本語", "Язык{n}", "py*{n}*", r"a\_b{n}", "[x{n}](y)", "c&lt;{n}", "~{n}",
)  # fmt: skip
_NUMBERS: tuple[Callable[[int], str], ...] = (
    lambda index: f"{index + 1}.", lambda index: f"{index}.", lambda index: "1.", lambda index: f"{index + 1:03}.",
    lambda index: f"{index + 1})", lambda index: f"{(2, 3, 5, 7)[index % 4]}.", lambda index: f"{index + 99}.",
    lambda index: f"{index + 1:03})",
)  # fmt: skip


class Writer:
    """Writes one document by the dice."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._count = 0

    def document(self) -> Document:
        return put_together([self.block(0) for _ in range(self._dice.randint(1, 7))])

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _word(self) -> str:
        return f"{self._dice.choice(_SYLLABLES)}{self._number()}q"

    # Inlines

    def inlines(
        self, most: int, *, tabular: bool = False, breaks: bool = True, around: str = ""
    ) -> tuple[str, list[Atom]]:
        """`around`: the marks of the emphasis that they are in."""
        written, atoms = list[str](), list[Atom]()
        for index in range(self._dice.randint(1, most)):
            text, found = self._inline(tabular, around)
            if index:
                is_broken = breaks and self._dice.random() < 0.15
                written.append(self._dice.choice(("\n", "  \n", "\\\n")) if is_broken else " ")
            written.append(text)
            atoms += found
        return "".join(written), [replace(atom, tabular=True) for atom in atoms] if tabular else atoms

    def _inline(self, tabular: bool, around: str) -> tuple[str, list[Atom]]:
        roll = self._dice.random()
        if roll < 0.45:
            return self._plain()
        if roll < 0.57:
            return self._literal(around)
        if roll < 0.66:
            return self._code()
        if roll < 0.78:
            return self._emphasis(tabular, around)
        if roll < 0.92:
            return self._address(around)
        return self._formula()

    def _plain(self) -> tuple[str, list[Atom]]:
        word = self._word()
        return word, [Atom("word", word, word, word)]

    def _literal(self, around: str) -> tuple[str, list[Atom]]:
        written, meant = self._dice.choice([pair for pair in _LITERALS if not any(mark in pair[0] for mark in around)])
        word = self._word()
        written, meant = (text.replace("{w}", word) for text in (written, meant))
        return written, [Atom("word", meant, written, word)]

    def _code(self) -> tuple[str, list[Atom]]:
        word = self._word()
        code = self._dice.choice(_CODES).replace("{w}", word)
        ticks = "``" if "`" in code else self._dice.choice(("`", "``"))
        gap = " " if code[0] == "`" or code[-1] == "`" else ""
        return f"{ticks}{gap}{code}{gap}{ticks}", [Atom("code", code, code, word)]

    def _emphasis(self, tabular: bool, around: str) -> tuple[str, list[Atom]]:
        left = [mark for mark in ("**", "*", "~~", "_", "__", "***") if mark[0] not in around]
        if not left:
            return self._plain()
        mark = self._dice.choice(left)
        written, atoms = self.inlines(3, tabular=tabular, breaks=False, around=around + mark[0])
        return f"{mark}{written}{mark}", atoms

    def _address(self, around: str) -> tuple[str, list[Atom]]:
        path = self._dice.choice(_CLEAN_PATHS if around else _PATHS).replace("{w}", self._word())
        address = f"{self._dice.choice(('https', 'http'))}://{self._dice.choice(_HOSTS)}/{path}"
        atom = Atom("address", address, address, address)
        form = self._dice.choice(("bare", "bare", "bare", "angles", "label", "marked label", "angled", "picture"))
        if form == "bare":
            return address, [atom]
        if form == "angles":
            return f"<{address}>", [atom]
        label, words = self._plain()
        if form == "marked label" and not around:
            code, more = self._plain()
            label, words = f"**{label}** `{code}`", [*words, *more]
        if form == "angled":
            return f"[{label}](<{address}>)", [*words, atom]
        title = self._word() if self._dice.random() < 0.3 else ""
        titled, titles = (f' "{title}"', [Atom("title", title, title, title)]) if title else ("", [])
        return f"{'!' if form == 'picture' else ''}[{label}]({address}{titled})", [*words, atom, *titles]

    def _formula(self) -> tuple[str, list[Atom]]:
        source = self._dice.choice(_FORMULAS).format(n=self._number())
        opening, closing = self._dice.choice(((r"\(", r"\)"), ("$", "$"), (r"\boxed{", "}")))
        return f"{opening}{source}{closing}", [Atom("formula", source, source, source)]

    # Blocks

    def block(self, depth: int) -> Piece:
        kinds: list[Callable[[], Piece]] = [self.paragraph] * 4
        kinds += [self.fence, self.display, self.table] * 2 + [self.heading, self.rule, self.html, self.footnote]
        if depth < 4:
            kinds += [partial(each, depth) for each in (self.quote, self.bullets, self.numbers)] * 2
        return self._dice.choice(kinds)()

    def paragraph(self) -> Piece:
        written, atoms = self.inlines(12)
        return Piece(written.split("\n"), atoms)

    def heading(self) -> Piece:
        written, atoms = self.inlines(4, breaks=False)
        if self._dice.random() < 0.2:
            return Piece([written, self._dice.choice(("===", "---"))], atoms)
        return Piece([f"{'#' * self._dice.randint(1, 6)} {written}"], atoms)

    def rule(self) -> Piece:
        return Piece([self._dice.choice(("---", "***", "___", "- - -"))])

    def html(self) -> Piece:
        word = self._word()
        pattern = self._dice.choice(('<div class="x">{}</div>', "<b>{}</b>", "<!-- {} -->", "<br>{}<br>", "<{}>"))
        text = pattern.format(word)
        return Piece([text], [Atom("word", text, text, word)])

    def footnote(self) -> Piece:
        number, (word, atoms) = self._number(), self._plain()
        return Piece([f"[^{number}]: {word}"], [Atom("number", f"[{number}]:", f"[^{number}]:"), *atoms])

    def fence(self) -> Piece:
        mark = self._dice.choice(("```", "```", "````", "~~~", "~~~~~"))
        lines = [self._dice.choice(_LINES_OF_CODE).format(n=self._number()) for _ in range(self._dice.randint(1, 8))]
        if len(mark) > 3 and self._dice.random() < 0.5:
            lines += ["```py", f"y = {self._number()}", "```"]
        lines = [line for line in lines if set(line) != {mark[0]} or len(line) < len(mark)]
        code = "\n".join([f"begin {self._number()}", *lines, f"end {self._number()}"])
        info = self._dice.choice(_INFOS).format(n=self._number())
        meant = info.replace("&lt;", "<").replace("\\_", "_")
        infos = [Atom("info", meant, info)] if info else []
        gap = " " if info.startswith("~") or self._dice.random() < 0.1 else ""
        return Piece([f"{mark}{gap}{info}", *code.split("\n"), mark], [*infos, Atom("block", code, code)])

    def display(self) -> Piece:
        rows = [self._dice.choice(_FORMULAS).format(n=self._number()) for _ in range(self._dice.randint(1, 3))]
        opening, closing = self._dice.choice(((r"\[", r"\]"), ("$$", "$$"), (r"\begin{align}", r"\end{align}")))
        ends = [f"{row} \\\\" for row in rows[:-1]] + rows[-1:]
        atoms = [Atom("formula", row, row, row) for row in rows]
        if len(rows) == 1 and opening[-1] != "}" and self._dice.random() < 0.5:
            return Piece([f"{opening}{ends[0]}{closing}"], atoms)
        return Piece([opening, *ends, closing], atoms)

    def table(self) -> Piece:
        columns = self._dice.randint(1, 4)
        rows, atoms = list[str](), list[Atom]()
        for row in range(self._dice.randint(2, 5)):
            cells = []
            for _ in range(columns + (row > 0 and self._dice.random() < 0.1)):
                written, found = self.inlines(3, tabular=True, breaks=False)
                cells.append(written)
                atoms += found
            rows.append(f"| {' | '.join(cells)} |")
        rules = (self._dice.choice(("---", ":--", "--:", ":-:")) for _ in range(columns))
        return Piece([rows[0], f"|{'|'.join(rules)}|", *rows[1:]], atoms)

    def quote(self, depth: int) -> Piece:
        lines, atoms = _joined([self.block(depth + 1) for _ in range(self._dice.randint(1, 3))])
        return Piece([f"> {line}" if line else ">" for line in lines], atoms)

    def bullets(self, depth: int) -> Piece:
        mark = self._dice.choice("-*+")
        return self._list(depth, lambda _: mark, numbered=False)

    def numbers(self, depth: int) -> Piece:
        return self._list(depth, self._dice.choice(_NUMBERS), numbered=True)

    def _list(self, depth: int, marker: Callable[[int], str], *, numbered: bool) -> Piece:
        is_loose = self._dice.random() < 0.5
        lines, atoms = list[str](), list[Atom]()
        for index in range(self._dice.randint(1, 4)):
            mark, pieces = marker(index), [self.paragraph()]
            if is_loose:
                pieces += [self.block(depth + 1) for _ in range(self._dice.choice((0, 0, 1, 2)))]
            inner, found = _joined(pieces)
            if not numbered and self._dice.random() < 0.2:
                inner[0] = f"[{self._dice.choice(' xX')}] {inner[0]}"
            indent = " " * (len(mark) + 1)
            lines += [""] if is_loose and index else []
            lines += [f"{mark} {inner[0]}", *(f"{indent}{line}" if line else "" for line in inner[1:])]
            atoms += [Atom("number", mark, mark), *found] if numbered else found
        return Piece(lines, atoms, is_list=True)


def _joined(pieces: list[Piece]) -> tuple[list[str], list[Atom]]:
    """With an empty line between two blocks; a list does not go on with the items of the next one."""
    lines, atoms = list[str](), list[Atom]()
    for number, piece in enumerate(pieces):
        lines += [""] if number else []
        lines += ["and", ""] if number and piece.is_list and pieces[number - 1].is_list else []
        lines += piece.lines
        atoms += piece.atoms
    return lines, atoms


def put_together(pieces: list[Piece]) -> Document:
    lines, atoms = _joined(pieces)
    return Document("\n".join(lines) + "\n", atoms, pieces)


def document(seed: int) -> Document:
    return Writer(random.Random(seed)).document()
