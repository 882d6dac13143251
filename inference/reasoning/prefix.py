"""What is written behind a prompt so that a model goes on from its own words, in the marks of its family. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from inference.reasoning.formats import CLOSE, OPEN, THINK, Format
from inference.reasoning.splitter import PartKind, Splitter, merged


@dataclass(frozen=True, slots=True)
class PrefixPiece:
    """A piece of it; `mark`: the model's own mark, which is a control token where it has one for it."""

    text: str
    mark: bool = False


def resume(prompt: str, prefix: str, format: Format | None = None) -> list[PrefixPiece]:
    """What to write behind the rendered `prompt` so that the model goes on from `prefix`.

    `prefix` is `<think>reasoning</think>answer`, the answer alone, or what the model wrote, in the marks of its family.
    A template that has opened the reasoning must not open it twice, and an answer without reasoning must not begin
    inside it.
    """
    if not prefix:
        return []
    format = format or THINK
    opened = format.opened_by(prompt)
    splitter = Splitter(format)
    parts = merged(splitter.feed(prefix) + splitter.close())
    said: list[PrefixPiece] = []
    now: PartKind | None = None
    for index, (kind, text) in enumerate(parts):
        if kind == "mark":
            last: PartKind = "thinking" if splitter.thinking else "answer"
            then = parts[index + 1][0] if index + 1 < len(parts) else last
            gap = text[len(text.rstrip()) :] if format.gap else ""
            said += _between(now, then, gap, format, opened=opened)
            now = then
            continue
        if now is None:
            said += _between(None, kind, format.gap, format, opened=opened, bare=True)
        said.append(PrefixPiece(text.lstrip("\n") if opened and not said else text))
        now = kind
    return [piece for piece in said if piece.text]


def _between(
    now: PartKind | None, then: PartKind, gap: str, format: Format, *, opened: bool, bare: bool = False
) -> list[PrefixPiece]:
    """The marks from one kind of text to another; `bare`: at the beginning, where the text has none."""
    opening, closing, heading = (
        PrefixPiece(mark, mark=True) for mark in (format.opening, format.closing, format.answer)
    )
    if now == then:
        return []
    if then == "thinking":
        turn = [closing] if now is not None and format.answer else []
        return [] if opened and now is None else [*turn, opening]
    if now == "thinking":
        return [closing, heading, PrefixPiece(gap)]
    if opened:
        return [PrefixPiece("\n"), closing, heading, PrefixPiece(gap)]
    return [heading] if bare or format.answer else [opening, closing, PrefixPiece(gap)]


def text_of(said: list[PrefixPiece]) -> str:
    return "".join(piece.text for piece in said)


def handed_on(thinking: str, answer: str) -> str:
    """Reasoning that is over, and an answer, as `ChatRequest.prefix`."""
    # On a line of its own it is a mark, whatever code the reasoning left open.
    return f"{OPEN}{thinking.rstrip()}\n{CLOSE}\n\n{answer}"
