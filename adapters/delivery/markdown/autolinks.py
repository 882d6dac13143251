"""Bare addresses, read before escapes and emphasis, which would take letters out of them.

An address ends where GitHub ends it: at white space, at `<`, and before punctuation of the sentence. Unlike there it
also ends at a bracket that it did not open, at typographic quotes and at the marks of the emphasis around it.
"""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.rules_inline import StateInline

_MARKUP = r"[\n!$&*<\[\\\]_`~]"
_ADDRESS = r"(?<![a-z0-9])(?:https?://|www\.)(?=[^\s.])|(?<![\w.+@/-])[a-z0-9][\w.+-]{0,63}@(?=[a-z0-9])|(?<=[a-z0-9+.-])://(?=\S)"
TEXT_END = {False: re.compile(_MARKUP), True: re.compile(f"{_MARKUP}|{_ADDRESS}", re.IGNORECASE)}
"""Where plain text may end: at markup, or, where there may be one, at the beginning of an address."""
MAY_HAVE_ADDRESS = re.compile(r"://|@|www\.", re.IGNORECASE)

_SCHEME_END = re.compile(r"[a-z][a-z0-9+.-]{0,20}$", re.IGNORECASE)
_EMAIL = re.compile(r"[a-z0-9][\w.+-]{0,63}@(?:[a-z0-9][a-z0-9-]{0,62}\.){1,8}[a-z]{1,63}(?![\w@-])", re.IGNORECASE)
_MAIL_QUERY = re.compile(r"\?[\w.+%&=@:;/~!*'-]*[\w%=/+]")
_REMOTE_PATH = re.compile(r":(?![^\s<>/]*://)[^\s<>`|/]*/[^\s<>`|]*[\w/]")
"""What makes `git@github.com:user/project` of an e-mail address."""
_ENDS = (
    r"\s\x00-\x1f\x7f-\x9f<>\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff"
    r"«»‹›“”„‟\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
"""For a class: white space, controls, quotes, and the punctuation of texts without spaces."""
_BRACKETS = r"()\[\]{}"
_SINGLE = rf"[^{_ENDS}{_BRACKETS}\\]|\\[^{_ENDS}{_BRACKETS}]"
_PLACEHOLDER = rf"<[a-z_][\w.-]{{0,40}}>(?=[/?#&=.:;_%+~<@-]|[{_ENDS}]|$)"
"""`<id>`, which goes on as an address does."""
_SENTENCE = frozenset(".,;:!?*…،؛؟۔।॥’")
"""What stands after an address and not in it."""
_PAIRED = frozenset("\"'`$")
"""An odd one at the end belongs to the text around."""
_BEFORE = 300
"""How many characters before an address are searched for emphasis that it may end."""
_UNDERSCORES = re.compile("_+")
_OTHERS = re.compile(
    r"\\\(.+?\\\)|\\boxed\{(?:[^{}]|\{[^{}]*\})*\}|(?<![^\W_])(?<![$\\])\$[^\s$][^$]*\$"
    r"|\\.|(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)|(?:[a-z][a-z0-9+.-]{0,20}://|www\.)\S*?(?=[_*~)\]>|.,;:!?\"'\\]*(?:\s|$))",
    re.IGNORECASE | re.DOTALL,
)
"""Formulas, escapes, code and other addresses, whose underscores are no emphasis."""
_CODE = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|\w{2,31});")
_ENTITY_END = re.compile(r"&\w+$")


def _path() -> str:
    """A path, query or fragment: brackets in pairs, up to four levels of them."""
    groups = ""
    for _ in range(4):
        inner = f"(?:{_SINGLE}{groups})*+"
        groups = rf"|\\?\({inner}\\?\)|\\?\[{inner}\\?\]|\\?\{{{inner}\\?\}}"
    return rf"(?:[/?#](?:{_SINGLE}{groups}|{_PLACEHOLDER})*+)?"


@cache
def _host_and_path() -> re.Pattern[str]:
    """What may follow `https://`."""
    from linkify_it import LinkifyIt

    parts = LinkifyIt().re
    return re.compile(parts["src_auth"] + parts["src_host_port_strict"] + _path(), re.IGNORECASE)


@cache
def _any_host_and_path() -> re.Pattern[str]:
    """What may follow `://` where no link is made: any authority, `[::1]` and `<host>` too."""
    authority = rf"(?:[^{_ENDS}()\[\]`\"'|/?#]|\[[\w:. -]{{2,45}}\]|<[a-z_][\w.-]{{0,40}}>)*+"
    return re.compile(authority + _path(), re.IGNORECASE)


def address(state: StateInline, silent: bool) -> bool:
    """A bare `https://…`, `www.…` or e-mail address, to the character. With `<id>` in it, the link ends there."""
    start, text = state.pos, state.src
    found = TEXT_END[True].match(text, start)
    if not found or len(found[0]) == 1:
        return False
    if found[0] == "://":
        return _unlinked(state, silent)
    if found[0].endswith("@"):
        return _email(state, silent)
    has_scheme = "/" in found[0]
    whole = _host_and_path().match(text, found.end() if has_scheme else start, _furthest(text, start))
    if not whole:
        return False
    written = _ended(text, start, start, whole.end())
    linked = _ended(text, start, start, start + written.find("<")) if "<" in written else written
    if len(linked) <= len(found[0]) or not (has_scheme or "." in linked[4:]):
        return False
    shown = _unescaped(linked)
    _link(state, silent, linked, shown, shown if has_scheme else f"http://{shown}")
    if len(linked) < len(written):
        _literal(state, silent, written[len(linked) :])
    return True


def _email(state: StateInline, silent: bool) -> bool:
    text, start = state.src, state.pos
    found = _EMAIL.match(text, start)
    if not found:
        return False
    if path := _REMOTE_PATH.match(text, found.end()):
        return _literal(state, silent, text[start : path.end()])
    query = _MAIL_QUERY.match(text, found.end()) if text[max(0, start - 7) : start].lower() == "mailto:" else None
    written = text[start : query.end() if query else found.end()]
    return _link(state, silent, written, written, f"mailto:{written}")


def _unlinked(state: StateInline, silent: bool) -> bool:
    """`ftp://…`, `s3://…`, `https://[::1]/…`: from `://` on text to the character, but no link."""
    text, start = state.src, state.pos
    scheme = _SCHEME_END.search(text, max(0, start - 21), start)
    whole = scheme and _any_host_and_path().match(text, start + 3, _furthest(text, scheme.start()))
    if not scheme or not whole:
        return False
    written = _ended(text, scheme.start(), start, whole.end())
    return len(written) > 3 and _literal(state, silent, written)


def _unescaped(address: str) -> str:
    return without_entities(_ESCAPE.sub(r"\1", address))


def without_entities(address: str) -> str:
    """`&amp;` and its kin are the characters that they stand for."""
    return _ENTITY.sub(lambda entity: unescape(entity[0]), address)


def _furthest(text: str, begin: int) -> int:
    """Where an address that begins there must end: at a mark that was opened before it."""
    before = text[max(0, begin - _BEFORE) : begin]
    words = _CODE.sub("", before) if "`" in before else before
    marks = [mark for mark in ("**", "~~") if words.count(mark) % 2]
    if before[-1:] in ('"', "'"):
        marks.append(before[-1])
    return min((place for mark in marks if (place := text.find(mark, begin)) >= 0), default=len(text))


def _ended(text: str, begin: int, start: int, end: int) -> str:
    """The address from `start` on, whose scheme begins at `begin`, without what at its end belongs to the text."""
    before, address = text[max(0, begin - _BEFORE) : begin], text[start:end]
    if address.count("`") % 2 and "`" in text[start + len(address) : start + len(address) + _BEFORE]:
        address = address[: address.rindex("`")]  # it begins code
    if before[-2:-1] == "\\" and address.endswith(before[-2:]):
        address = address[:-2]
    address = address[: _last_of(address, before)]
    if text.startswith(";", start + len(address)):
        address = _ENTITY_END.sub("", address)
    return address


def _last_of(address: str, before: str) -> int:
    """Where the marks begin that stand at the end of the address and belong to the text."""
    end = len(address)
    marks = len(address.rstrip("*_~"))
    tail = address[marks:]
    if ("**" in tail or "~~" in tail) and not address.endswith("\\", 0, marks):
        # They end emphasis that an earlier message began, and so do underscores before them that have no partner here.
        underscores = tail[: len(tail) - len(tail.lstrip("_"))]
        end = marks + (len(underscores) if underscores in address[:marks] else 0)
    left = {"_": _open_underscores(before), "~": len(before) - len(before.rstrip("~"))}
    while end and address[end - 2 : end - 1] != "\\":
        last = address[end - 1]
        if left.get(last, 0):
            left[last] -= 1
        elif address[:end].endswith("~~"):  # struck out since an earlier message, perhaps; GitHub leaves them out, too
            end -= 1
        elif last not in _SENTENCE and not (last in _PAIRED and address.count(last, 0, end) % 2):
            break
        end -= 1
    return end


def _open_underscores(before: str) -> int:
    """How many underscores the emphasis has that is open at the end of `before`."""
    words, length = _OTHERS.sub(lambda other: "x" if other[0][0].isalpha() else ".", before), 0
    for found in _UNDERSCORES.finditer(words):
        left, right = words[found.start() - 1 : found.start()], words[found.end() : found.end() + 1]
        if length and left.strip() and not right.isalnum():
            length = 0
        elif not left.isalnum() and not right.isspace():
            length = len(found[0])
    return length


def _link(state: StateInline, silent: bool, written: str, shown: str, target: str) -> bool:
    if not silent:
        if state.linkLevel == 0:
            state.push("link_open", "a", 1).attrs = {"href": target}
            state.tokens[-1].markup = "linkify"
        state.push("text", "", 0).content = shown
        if state.linkLevel == 0:
            state.push("link_close", "a", -1).markup = "linkify"
    state.pos += len(written)
    return True


def _literal(state: StateInline, silent: bool, written: str) -> bool:
    if not silent:
        state.push("text", "", 0).content = _unescaped(written)
    state.pos += len(written)
    return True
