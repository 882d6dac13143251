"""LaTeX as plain characters, where those say exactly the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_LONGEST = 400
_DEEPEST = 8
_ENVIRONMENT = re.compile(
    r"\\begin\{((?:align(?:ed)?|equation|gather(?:ed)?|multline|split)\*?)\}(.*)\\end\{\1\}", re.DOTALL
)
"""Lines, one below the other: where they are aligned is their look alone."""
ROW_END = re.compile(r"\\\\(?![A-Za-z])(?:\[-?[\d.]+ ?(?:pt|em|ex|mm|cm)\])?")
_ALIGNMENT = re.compile(r"(?<!\\)&")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_SUPERSCRIPTS = dict(
    zip(
        "0123456789+-−=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVWαβγδεθφχ*′∘°",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵅᵝᵞᵟᵋᶿᵠᵡ*′°°",
        strict=True,
    )
)
_SUBSCRIPTS = dict(zip("0123456789+-−=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))
_VULGAR = {
    ("1", "2"): "½", ("1", "3"): "⅓", ("2", "3"): "⅔", ("1", "4"): "¼", ("3", "4"): "¾", ("1", "5"): "⅕",
    ("2", "5"): "⅖", ("3", "5"): "⅗", ("4", "5"): "⅘", ("1", "6"): "⅙", ("5", "6"): "⅚", ("1", "7"): "⅐",
    ("1", "8"): "⅛", ("3", "8"): "⅜", ("5", "8"): "⅝", ("7", "8"): "⅞", ("1", "9"): "⅑", ("1", "10"): "⅒",
}  # fmt: skip
_ROOTS = {"": "√", "2": "√", "3": "∛", "4": "∜"}
_RADICALS = frozenset("√∛∜")
_SPACES = {"\\,": " ", "\\;": " ", "\\:": " ", "\\ ": " ", "~": " ", "\\!": "", "\\quad": "  ", "\\qquad": "    "}
_ESCAPED = {"\\%": "%", "\\$": "$", "\\#": "#", "\\&": "&", "\\_": "_", "\\{": "{", "\\}": "}", "\\|": "‖"}
_FUNCTIONS = frozenset((
    "arccos", "arcsin", "arctan", "arg", "cos", "cosh", "cot", "coth", "csc", "deg", "det", "dim", "exp", "gcd",
    "hom", "inf", "ker", "lg", "lim", "liminf", "limsup", "ln", "log", "max", "min", "Pr", "sec", "sin", "sinh",
    "sup", "tan", "tanh",
))  # fmt: skip
_WORDS = frozenset((
    "\\text", "\\textrm", "\\textbf", "\\textit", "\\texttt", "\\mathrm", "\\operatorname", "\\mbox",
))  # fmt: skip
_SIZES = frozenset((
    "\\left", "\\right", "\\middle", "\\big", "\\Big", "\\bigg", "\\Bigg", "\\bigl", "\\bigr", "\\Bigl", "\\Bigr",
    "\\biggl", "\\biggr", "\\displaystyle", "\\textstyle", "\\limits", "\\nolimits",
))  # fmt: skip
_ACCENTS = {
    "\\hat": "\u0302",
    "\\bar": "\u0304",
    "\\vec": "\u20d7",
    "\\dot": "\u0307",
    "\\ddot": "\u0308",
    "\\tilde": "\u0303",
}
_OWN = {
    "\\dfrac": "\\frac",
    "\\tfrac": "\\frac",
    "\\cfrac": "\\frac",
    "\\lvert": "|",
    "\\rvert": "|",
    "\\colon": ":",
    "\\setminus": "∖",  # the library's is in hardly any font
}
_LETTERS = frozenset(("\\mathbb", "\\mathbf", "\\mathcal", "\\mathfrak", "\\mathit", "\\boldsymbol", "\\mathscr"))
_AFTER_SCRIPT = frozenset(("", "}", "^", "_", *"+-=<>()[]|,.;:!?/"))
_MARKS = re.compile(r"\\(?:over|under|wide|x)[a-z]+|\\(?:check|breve|acute|grave|mathring|dddot|ddddot|not)$")
"""What is written over or under an argument."""
_TIGHT = frozenset("√∛∜∑∏∫∬∭∮∂∇∞¬∀∃∄")
"""Mathematical symbols that stand without spaces around them."""


def unicode_math(source: str, display: bool = False) -> str | None:
    """What `source` says in characters of Unicode; None where a part of it has no exact form.

    Several lines only where it is on lines of its own (`display`).
    """
    if display and (environment := _ENVIRONMENT.fullmatch(source.strip())):
        source = _ALIGNMENT.sub(" ", environment[2])
    if len(source) > _LONGEST or "&" in source.replace("\\&", ""):
        return None
    rows = ROW_END.split(source.strip())
    try:
        lines = [_line(line) for line in (rows if rows[-1] else rows[:-1])]
    except _Inexact:
        return None
    return "\n".join(lines) if "" not in lines and (display or len(lines) == 1) else None


class _Inexact(Exception):
    """There are no characters for it."""


def _line(source: str) -> str:
    reader = _Reader(source)
    return re.sub(r"(?<=\S) {2}(?=\S)", " ", reader.group("").strip())


class _Reader:
    """Reads TeX token by token; `atom` is what a script or a command applies to."""

    def __init__(self, source: str) -> None:
        self._tokens: Iterator[str] = iter(_TOKEN.findall(source))
        self._next = next(self._tokens, "")
        self._depth = 0

    def _take(self) -> str:
        token, self._next = self._next, next(self._tokens, "")
        return token

    def group(self, end: str) -> str:
        """Reads until `end` ("" for the end of the formula)."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Inexact
        parts: list[_Part] = []
        while self._next != end:
            if not self._next:
                raise _Inexact
            self._part(parts)
        self._take()
        self._depth -= 1
        return _joined(parts)

    def _part(self, parts: list[_Part]) -> None:
        token = self._take()
        if token in ("^", "_"):
            base = parts[-1] if parts else _Part("")
            script = self._script(token)
            if script[0] in "^_" and not base.text.strip():
                raise _Inexact  # nothing that it would stand at
            if (base.compound and base.text) or base.text.strip()[:1] in _RADICALS:
                base = _Part(f"({base.text})")
            parts[-1:] = [_Part(base.text + script)]
        elif token == "'":
            parts.append(_Part("′"))
        else:
            parts.append(self._atom(token))

    def _script(self, token: str) -> str:
        written = self._argument().text.replace(" ", "")
        characters = _SUPERSCRIPTS if token == "^" else _SUBSCRIPTS
        if not written:
            raise _Inexact
        if all(char in characters for char in written):
            return "".join(characters[char] for char in written)
        # As in UnicodeMath (Unicode Technical Note 28), where there are no small characters for it.
        alone = len(written) == 1 and (self._next.isspace() or self._next in _AFTER_SCRIPT)
        return f"{token}{written}" if alone else f"{token}({written})"

    def _argument(self) -> _Part:
        while self._next.isspace():
            self._take()
        return self._atom(self._take())

    def _atom(self, token: str) -> _Part:
        if not token or token in ("}", "^", "_", "\\begin", "\\end", "%"):
            raise _Inexact
        if token == "{":
            inner = self.group("}").strip()
            return _Part(inner, compound=_is_compound(inner))
        if token.isspace():
            return _Part(" ")
        if token in _SPACES or token in _ESCAPED:
            return _Part(_SPACES[token] if token in _SPACES else _ESCAPED[token])
        return self._command(_OWN.get(token, token)) if token[0] == "\\" else _Part(token)

    def _command(self, token: str) -> _Part:
        if token[0] != "\\":
            return _Part(token)
        if token == "\\frac":
            return _fraction(self._argument(), self._argument())
        if token == "\\sqrt":
            root = _ROOTS.get(self._option())
            inner = self._argument()
            if root is None:
                raise _Inexact
            return _Part(
                f"{root}({inner.text})" if len(inner.text) > 1 and not inner.text.isdigit() else root + inner.text
            )
        if token == "\\boxed":
            return _Part(f"[{self._argument().text}]")
        if token == "\\mathrm":
            return self._argument()
        if token in _WORDS:
            return _Part(self._words())
        if token in _SIZES:
            return self._delimiter() if "text" not in token and "display" not in token else _Part("")
        if token in _ACCENTS:
            inner = self._argument()
            if len(inner.text) != 1 or not inner.text.isalpha():
                raise _Inexact
            return _Part(inner.text + _ACCENTS[token])
        if token in _LETTERS:
            return _Part(_symbol(f"{token}{{{self._words()}}}"))
        if token[1:] in _FUNCTIONS:
            return _Part(f"{token[1:]}{'' if self._next in ('^', '_', '(') else ' '}")
        return _operator(_symbol(token))

    def _delimiter(self) -> _Part:
        """What has a size: a dot is an invisible one."""
        if self._next in ("^", "_", ""):
            return _Part("")
        part = self._argument()
        return _Part("" if part.text == "." else part.text.strip())

    def _option(self) -> str:
        option = ""
        if self._next == "[":
            self._take()
            while self._next and self._next != "]":
                option += self._take()
            self._take()
        return option

    def _words(self) -> str:
        """A braced argument of letters as they are."""
        words = ""
        if self._take() != "{":
            raise _Inexact
        while self._next != "}":
            if not self._next or self._next[0] in "\\{$^_~%":
                raise _Inexact
            words += self._take()
        self._take()
        return words


class _Part:
    """`compound`: it needs parentheses where something is applied to it. `fraction`: also beside a factor."""

    __slots__ = ("compound", "fraction", "text")

    def __init__(self, text: str, *, compound: bool = False, fraction: bool = False) -> None:
        self.text, self.compound, self.fraction = text, compound, fraction


def _joined(parts: list[_Part]) -> str:
    for number, part in enumerate(parts):
        if part.fraction:
            before = "".join(one.text for one in parts[:number]).rstrip()[-1:]
            after = "".join(one.text for one in parts[number + 1 :]).lstrip()[:1]
            if _is_factor(before, ")") or _is_factor(after, "("):
                part.text = f"({part.text})"
    return re.sub(r" {2,}", lambda found: found[0] if len(found[0]) > 3 else " ", "".join(one.text for one in parts))


def _is_factor(char: str, bracket: str) -> bool:
    return char != "" and (char.isalnum() or char in _TIGHT or char == bracket or unicodedata.category(char)[0] == "M")


def _fraction(above: _Part, below: _Part) -> _Part:
    vulgar = _VULGAR.get((above.text, below.text))
    if vulgar:
        return _Part(vulgar, compound=True)
    if not above.text or not below.text:
        raise _Inexact
    top, bottom = (f"({one.text})" if one.compound else one.text for one in (above, below))
    return _Part(f"{top}/{bottom}", compound=True, fraction=True)


def _is_compound(text: str) -> bool:
    """More than one number or letter, its scripts aside."""
    return not re.fullmatch(r"\d+(?:\.\d+)?|[^\W\d](?:[\u0300-\u036f\u20d7⁰¹²³⁴-⁹₀-₉ⁿ′]|[^\W\d](?<=[ₐ-ₜᵢⱼᵣᵤᵥ]))*", text)


def _symbol(command: str) -> str:
    from latex2mathml.symbols_parser import convert_symbol

    if _MARKS.match(command) and command not in ("\\xi",):
        raise _Inexact
    code = convert_symbol(command)
    symbol = chr(int(code, 16)) if code else ""
    if not symbol or unicodedata.category(symbol)[0] in "MC":
        raise _Inexact
    return symbol


def _operator(symbol: str) -> _Part:
    """Relations and operators that are written as commands have a space on both sides."""
    is_spaced = (unicodedata.category(symbol) == "Sm" and symbol not in _TIGHT) or symbol == "·"
    return _Part(f" {symbol} " if is_spaced else symbol)
