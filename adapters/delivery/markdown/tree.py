"""Markdown as a small typed tree, which all renderers walk: blocks that hold blocks or inlines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from adapters.delivery.markdown.autolinks import without_entities
from adapters.delivery.markdown.commonmark import parse
from adapters.delivery.markdown.syntax import DISPLAY

if TYPE_CHECKING:
    import regex
    from markdown_it.token import Token

_DEEPEST = 16
"""Levels of emphasis; what is nested deeper has no marks of its own."""
_TASK = re.compile(r"\[([ xX])\][ \t]+")
_PLAIN = re.compile(r"(?!www\.)[a-z](?:[a-vx-z0-9 ,.;?!%'\"()/-]|w(?!ww\.))*+", re.IGNORECASE | re.ASCII)
"""What has no markup in it: most beginnings of an answer."""
_LANGUAGE = re.compile(r"[\w+#.-]{1,32}(?=[\s:,;{(]|$)")
_BLANK_MATH = re.compile(
    r"\\[hvm]?phantom\s*\{[^{}]*\}|\\[hv]space\*?\s*\{[^{}]*\}|\\m?k(?:ern|ip)\s*[-\d.]+\s*\w\w"
    r"|\\(?:q?quad|\w*space|\w*strut|[hv]fill?|null|boxed|text\w*|math\w+|operatorname|[fhm]box)(?![a-zA-Z])|\\[\W\d_]|[{}~&]"
)
"""Commands of LaTeX that draw nothing by themselves."""
_KINDS: dict[str, Style] = {"strong": "bold", "em": "italic", "s": "strike"}

Style: TypeAlias = Literal["bold", "italic", "strike"]
Alignment: TypeAlias = Literal["left", "center", "right", ""]


@dataclass(frozen=True, slots=True)
class TextRun:
    """Words without a line end, escapes and entities resolved."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    code: str


@dataclass(frozen=True, slots=True)
class Math:
    """LaTeX as it was written, between `opening` and `closing`, which are both empty for a bare `\\boxed{}`."""

    source: str
    opening: str
    closed: bool = True
    """What never closes is shown as it was written."""

    @property
    def closing(self) -> str:
        return {"\\(": "\\)", **DISPLAY}.get(self.opening, self.opening) if self.closed else ""

    @property
    def written(self) -> str:
        return f"{self.opening}{self.source}{self.closing}"


@dataclass(frozen=True, slots=True)
class Break:
    """The end of a line within a block."""


@dataclass(frozen=True, slots=True)
class Styled:
    style: Style
    mark: str
    """As it was written: `*`, `__`, `~~`."""
    children: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A link, or a picture (which is shown as one). `bare`: its label is the address as it was written."""

    address: str
    title: str
    children: tuple[Inline, ...]
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Footnote:
    """The mark of a footnote: in the text, or where it is defined."""

    label: str
    defines: bool


Inline: TypeAlias = "TextRun | Code | Math | Break | Styled | Link | Footnote"
Inlines: TypeAlias = tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    children: Inlines
    tight: bool = False
    """In a list without blank lines between its items."""


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    children: Inlines


@dataclass(frozen=True, slots=True)
class Quote:
    children: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """`marker` as it was written: `-`, `007)`. `checked` is None where there is no box."""

    marker: str
    children: tuple[Block, ...]
    checked: bool | None = None


@dataclass(frozen=True, slots=True)
class List:
    ordered: bool
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class CodeBlock:
    code: str
    info: str = ""
    """The whole line after the fence."""

    @property
    def language(self) -> str:
        """What the info begins with: `python` of `python:src/app.py`."""
        found = _LANGUAGE.match(self.info)
        return found[0] if found else ""

    @property
    def caption(self) -> str:
        """What stands there beside the language: a title, a path."""
        return self.info[len(self.language) :].strip().removeprefix(":")


@dataclass(frozen=True, slots=True)
class MathBlock:
    math: Math
    after: str = ""
    """Punctuation that follows the closing."""


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` begin with the header; each has as many cells as there are `alignments`."""

    alignments: tuple[Alignment, ...]
    rows: tuple[tuple[Inlines, ...], ...]


@dataclass(frozen=True, slots=True)
class HorizontalRule:
    """A horizontal line."""


Block: TypeAlias = "Paragraph | Heading | Quote | List | CodeBlock | MathBlock | Table | HorizontalRule"


def read(markdown: str) -> tuple[Block, ...]:
    """The blocks of `markdown`."""
    if _PLAIN.fullmatch(markdown):
        return (Paragraph((TextRun(markdown.rstrip(" ")),)),)
    return _blocks(parse(markdown))


def plain(children: Inlines) -> str:
    """The words alone; line ends are spaces."""
    return "".join(_plain(child) for child in children)


def _plain(child: Inline) -> str:
    match child:
        case TextRun(text) | Code(text):
            return text
        case Math():
            return child.written
        case Break():
            return " "
        case Footnote(label):
            return f"[{label}]"
        case Styled() | Link():
            return plain(child.children)


def _can_be_seen(children: Inlines) -> bool:
    """Whether anything is drawn of a label. Blanks hide where their link leads."""
    return any(_is_drawn(child) for child in children)


def _is_drawn(child: Inline) -> bool:
    match child:
        case TextRun(text) | Code(text):
            return _drawn().search(text) is not None
        case Math(source, _, closed):
            return not closed or _drawn().search(_BLANK_MATH.sub("", source)) is not None
        case Break():
            return False
        case Footnote():
            return True
        case Styled() | Link():
            return _can_be_seen(child.children)


@cache
def _drawn() -> regex.Pattern[str]:
    """What has a shape: no white space, control, loose accent or blank of a script (Braille, music, hieroglyphs)."""
    import regex

    return regex.compile(
        r"[^\p{Z}\p{Cc}\p{Cf}\p{Cs}\p{M}\p{Default_Ignorable_Code_Point}\u2800\U0001d159\U00013441\U00013442]"
    )


class _Container:
    def __init__(self, token: Token | None) -> None:
        self.token = token
        self.children: list[Block] = []
        self.items: list[Item] = []
        self.has_box = False
        """It begins with a box as it is written, whose bracket is not escaped."""


def _blocks(tokens: Sequence[Token]) -> tuple[Block, ...]:
    stack = [_Container(None)]
    walk = iter(tokens)
    for token in walk:
        match token.type:
            case "paragraph_open" | "heading_open":
                inline = next(walk)
                stack[-1].has_box |= not stack[-1].children and bool(_TASK.match(inline.content))
                stack[-1].children.append(_leaf(token, inline))
            case "blockquote_open" | "bullet_list_open" | "ordered_list_open" | "list_item_open":
                stack.append(_Container(token))
            case "blockquote_close":
                stack[-2].children.append(Quote(tuple(stack.pop().children)))
            case "list_item_close":
                stack[-2].items.append(_item(stack.pop()))
            case "bullet_list_close" | "ordered_list_close":
                stack[-2].children.append(List(token.type[0] == "o", tuple(stack.pop().items)))
            case "fence" | "code_block":
                stack[-1].children.append(CodeBlock(token.content, _unescaped(token.info).strip()))
            case "math_block" | "math_open":
                math = Math(token.content, token.markup, closed=token.type == "math_block")
                stack[-1].children.append(MathBlock(math, token.info))
            case "table_open":
                stack[-1].children.append(_table(walk))
            case "hr":
                stack[-1].children.append(HorizontalRule())
    return tuple(stack[0].children)


def _unescaped(info: str) -> str:
    from markdown_it.common.utils import unescapeAll

    return unescapeAll(info)


def _leaf(opening: Token, inline: Token) -> Block:
    children = _inlines(inline.children or [])
    if opening.type == "heading_open":
        return Heading(int(opening.tag[1:]), children)
    if len(children) == 1 and isinstance(only := children[0], Math) and only.opening in DISPLAY:
        return MathBlock(only)
    return Paragraph(children, tight=opening.hidden)


def _item(container: _Container) -> Item:
    token, children = container.token, container.children
    marker = f"{token.info}{token.markup}" if token else ""
    if container.has_box and isinstance(first := children[0], Paragraph) and first.children:
        text = first.children[0]
        if isinstance(text, TextRun) and (task := _TASK.match(text.text)):
            words = text.text[task.end() :]
            rest = (*((TextRun(words),) if words else ()), *first.children[1:])
            return Item(marker, (Paragraph(rest, first.tight), *children[1:]), checked=task[1] != " ")
    return Item(marker, tuple(children))


def _table(walk: Iterator[Token]) -> Table:
    rows: list[list[Inlines]] = []
    alignments: list[Alignment] = []
    for token in walk:
        match token.type:
            case "table_close":
                break
            case "tr_open":
                rows.append([])
            case "th_open":
                style = str(token.attrGet("style") or "").removeprefix("text-align:")
                alignments.append(style)  # type: ignore[arg-type]
            case "inline":
                rows[-1].append(_inlines(token.children or []))
    return Table(tuple(alignments), tuple(map(tuple, rows)))


class _Span:
    def __init__(self, token: Token | None) -> None:
        self.token = token
        self.children: list[Inline] = []

    def add(self, child: Inline) -> None:
        if isinstance(child, TextRun) and self.children and isinstance(last := self.children[-1], TextRun):
            self.children[-1] = TextRun(last.text + child.text)
        elif not isinstance(child, TextRun) or child.text:
            self.children.append(child)


def _inlines(tokens: Sequence[Token]) -> Inlines:
    stack = [_Span(None)]
    too_deep = 0
    for token in tokens:
        name, _, edge = token.type.rpartition("_")
        if edge == "open" and (name == "link" or name in _KINDS):
            if len(stack) > _DEEPEST and name != "link":
                too_deep += 1
            else:
                stack.append(_Span(token))
        elif edge == "close" and too_deep and name in _KINDS:
            too_deep -= 1
        elif edge == "close" and name in _KINDS:
            span = stack.pop()
            stack[-1].add(Styled(_KINDS[name], token.markup, tuple(span.children)))
        elif token.type == "link_close":
            span = stack.pop()
            for child in _linked(_link(span)):
                stack[-1].add(child)
        elif token.type == "image":
            for child in _linked(_image(token)):
                stack[-1].add(child)
        else:
            stack[-1].add(_single(token))
    return tuple(stack[0].children)


def _single(token: Token) -> Inline:
    match token.type:
        case "softbreak" | "hardbreak":
            return Break()
        case "code_inline":
            return Code(token.content)
        case "math_inline":
            return Math(token.content, token.markup)
        case "footnote":
            return Footnote(token.content, token.info == ":")
    return TextRun(token.content)


def _linked(link: Link) -> Inlines:
    """The link, or what it says where it leads nowhere: no platform has a link without an address."""
    return (link,) if link.address else link.children


def _image(token: Token) -> Link:
    address = str(token.attrGet("src"))
    children = _inlines(token.children or [])
    visible = _can_be_seen(children)
    title = str(token.attrGet("title") or "")
    return Link(address, title, children if visible else (TextRun(address),), bare=not visible)


def _link(span: _Span) -> Link:
    token, children = span.token, tuple(span.children)
    address = str(token.attrGet("href")) if token else ""
    title = str(token.attrGet("title") or "") if token else ""
    if token is not None and token.markup == "autolink":  # where the parser leaves entities as they are
        address, children = without_entities(address), (TextRun(without_entities(plain(children))),)
    visible = _can_be_seen(children)
    bare = not visible or (token is not None and (token.markup in ("linkify", "autolink") or token.info == "auto"))
    return Link(address, title, children if visible else (TextRun(address),), bare)
