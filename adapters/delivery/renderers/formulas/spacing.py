"""The spaces of drawn mathematics: around named functions, bars and signs, as TeX sets them."""

from __future__ import annotations

from html import unescape
from xml.etree.ElementTree import Element

_ROWS = frozenset(("math", "mrow", "mtd", "msqrt", "mstyle", "mpadded", "mphantom", "menclose"))
_SCRIPTED = frozenset(("msub", "msup", "msubsup", "munder", "mover", "munderover"))
_CLOSING = frozenset(")]}⟩⌋⌉|‖!′")
_SIGNS = frozenset("+−-±∓")
_THIN = "0.167em"


def space(element: Element, deepest: int) -> None:
    """Sets the spaces within `element` and what it holds, down to `deepest` levels; no sign is changed."""
    if deepest <= 0:
        return
    for child in element:
        space(child, deepest - 1)
    if element.tag not in _ROWS:
        return
    before: Element | None = None
    spaced = list[Element]()
    for child in element:
        core = _core(child)
        _operator(core, before)
        if before is not None and _is_apart(before, core):
            spaced.append(Element("mspace", width=_THIN))
        spaced.append(child)
        before = core
    element[:] = spaced


def _core(element: Element) -> Element:
    """What the scripts stand at."""
    while element.tag in _SCRIPTED and len(element):
        element = element[0]
    return element


def _operator(core: Element, before: Element | None) -> None:
    if core.tag == "mi" and _text(core) in ("±", "∓"):
        core.tag = "mo"
    if core.tag != "mo" or "form" in core.attrib:
        return
    if _text(core) in ("|", "‖", "∅") or _is_name(core):
        core.set("lspace", "0em")
        core.set("rspace", "0em")
    elif _text(core) in _SIGNS and (before is None or (before.tag == "mo" and not _is_closing(before))):
        core.set("form", "prefix")


def _is_apart(before: Element, after: Element) -> bool:
    """Whether a thin space is between the two: a function and what it is of, or a factor before it."""
    if _is_name(before):
        return after.tag != "mo" or _is_name(after)
    return _is_name(after) and (before.tag != "mo" or _is_closing(before))


def _is_name(element: Element) -> bool:
    text = _text(element)
    return element.tag in ("mi", "mo") and len(text) > 1 and text.isalpha() and "mathvariant" not in element.attrib


def _is_closing(operator: Element) -> bool:
    return _text(operator) in _CLOSING or operator.get("form") == "postfix"


def _text(element: Element) -> str:
    """What the converter writes as numbers is characters."""
    return unescape(element.text or "")
