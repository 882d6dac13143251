"""Splits a model's text into reasoning and answer while it is being written. Pure: no clock, no asyncio.

A mark is a mark only where a model would put it: an opening one at the beginning of an answer, and later only if the
model reasons; a closing one outside of code. Anywhere else it is text and stays as it was written. All parts
concatenated are the text, and how it is cut into deltas changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal

import regex

from inference.reasoning.formats import FORMATS, THINK, Format
from inference.reasoning.position import Position, following

PartKind = Literal["thinking", "answer", "mark", "orphan"]
Part = tuple[PartKind, str]
"""A "mark" is shown nowhere: tags, and the blank lines between reasoning and answer.

An "orphan" is a mark, too: the closing one of reasoning that nothing had opened. Every answer before it was reasoning.
"""


class Splitter:
    """Feed it deltas, it returns the parts; text that may yet become a mark is held back until the next delta.

    Args:
        format: the model's family, where it is known. Every family's opening is read at the beginning of an answer;
            marks in the middle of one count only in a known family, or after reasoning.
        inside: the text begins inside the reasoning; None where nobody can tell. Then all is held back until a mark
            tells, or the end.
        orphans: where `inside` is False, a closing mark that nothing opened tells otherwise: once, as long as there was
            no reasoning, in a family whose templates may open it, and where it is no word of the text
            (docs/decisions/018).
        apart: all of it is reasoning, which a server keeps apart; the marks that it begins with may be any family's.
    """

    def __init__(
        self,
        format: Format | None = None,
        *,
        inside: bool | None = False,
        orphans: bool = False,
        apart: bool = False,
    ) -> None:
        self._known = format
        self._format = format or THINK
        self._state: Literal["start", "thinking", "after", "answer"] = "thinking" if inside else "start"
        self._held, self._at = "", 0
        self._leading: list[str] = []
        """Blanks before the answer, or before its reasoning."""
        self._parts: list[Part] = []
        self._code = Position()
        self._bare = True
        """The reasoning has only blanks so far: another opening mark would be the same once more."""
        self._depth = 0 if inside is False else 1
        self._unsure = inside is None
        self._pending: list[Part] | None = [] if self._unsure else None
        """The answer as it seems, which a further closing mark would make reasoning."""
        self._reasons = bool(inside)
        """There was reasoning, so there may be more."""
        self._orphans = orphans and inside is False and (format is None or format.may_lack_opening)
        self._apart = apart and format is None
        self._opened_in_text = 0
        """Opening marks in an answer that nothing has closed: they and their ends are mere words."""
        self._spoken_of = False
        """Marks were words of the answer."""
        self._over = False
        self._any_end = False
        """What was said was handed on in marks that need not be the model's: those of any family may end it."""
        self.closed_unopened = False
        """Where nobody could tell, it was reasoning: its end came without a beginning."""

    @property
    def thinking(self) -> bool:
        """Whether the text so far ends inside the reasoning, as far as that can be said."""
        return self._state == "thinking" or self._unsure

    def feed(self, delta: str) -> list[Part]:
        """Returns what is certain now, in order, without empty parts."""
        self._held += delta
        while self._at < len(self._held) and self._step():
            pass
        self._held, self._at = self._held[self._at :], 0
        return self._take_parts()

    def close(self, *, cut: bool = False) -> list[Part]:
        """Returns what was held back: the text is over. `cut`: it was ended by a limit."""
        self._over = True
        while self._at < len(self._held) and self._step():
            pass
        self._put_leading("answer")
        self._put("thinking" if self._state == "thinking" else "answer", len(self._held) - self._at)
        self._held, self._at = "", 0
        if self._unsure and cut:
            self._was_reasoning()
            self._state = "thinking"
        return self.settle()

    def settle(self) -> list[Part]:
        """Returns what waits for a further closing mark: as far as the caller goes on, none will come."""
        self._settle()
        return self._take_parts()

    def take_any_end(self) -> None:
        """Where the family is not known, the marks of any end what was said so far, which was handed on in others."""
        self._any_end = self._known is None and self._state in ("thinking", "after")

    def enter(self) -> list[Part]:
        """Reasoning came by another way, so that blanks before it are no answer. Returns those.

        What may be the beginning of a mark, or of the answer, is held until more comes.
        """
        self._settle()
        self._reasons = True
        if self._state != "answer":
            self._put_leading("mark")
            if self._state == "thinking":
                self._put("thinking", len(self._held))
                self._held, self._at = "", 0
            self._state = "after"
        return self._take_parts()

    def _step(self) -> bool:
        """Takes some of what is held; False: more text must come first."""
        blank = _BLANK.match(self._held, self._at).end() if self._state in ("start", "after") else self._at
        if blank > self._at:
            self._take_blank(blank - self._at)
            return True
        return self._begin() if self._state in ("start", "after") else self._go_on()

    def _begin(self) -> bool:
        """At the first word of the answer, or the first after reasoning."""
        after = self._state == "after"
        used = self._format if after and not self._any_end else None
        marks = _marks(self._known, used, closing=after or self._unsure)
        found = marks.match(self._held, self._at, partial=True)
        if found is not None and found.partial:
            return False
        if found is None or not self._act_at_beginning(*_meaning(found), found.end() - self._at):
            self._put_leading("answer")
            self._state, self._any_end = "answer", False
        return True

    def _act_at_beginning(self, kind: str, format: Format, length: int) -> bool:
        if self._pending is not None and kind in ("opens", "closes") and not (self._unsure and kind == "opens"):
            return self._in_doubt(kind, format, length)
        self._put_leading("mark")
        if kind in ("opens", "answers"):
            self._settle()
        self._put("mark", length)
        if kind == "opens":
            self._think(format)
        elif kind == "answers":
            self._format, self._reasons, self._state = format, True, "after"
        return True

    def _go_on(self) -> bool:
        """Inside reasoning or answer: text up to the next mark."""
        kind: PartKind = "thinking" if self._state == "thinking" else "answer"
        marks = self._marks_here()
        found = marks.search(self._held, self._at, partial=True) if marks is not None else None
        self._put(kind, (len(self._held) if found is None else found.start()) - self._at)
        if found is None or found.partial or self._must_see_more(found):
            return False
        if not self._act(*_meaning(found), found.end() - self._at):
            self._put(kind, found.end() - self._at)
        return True

    def _marks_here(self) -> Any:
        """Pattern of the marks that count here; None: there are none."""
        if self._unsure or (self._apart and self._bare):
            return _marks(self._known, None, closing=True)
        if self._state == "thinking" or self._pending is not None or self._known is not None or self._reasons:
            return _marks(self._known, None if self._any_end else self._format, closing=True)
        return _orphan_marks(self._known) if self._orphans else None

    def _must_see_more(self, found: Any) -> bool:
        """Whether what a mark means follows from the text behind it, which is not there yet."""
        guesses = self._orphans and not self._reasons and self._state == "answer" and self._pending is None
        return guesses and following(self._held, found.end(), over=self._over) is None

    def _act(self, kind: str, format: Format, length: int) -> bool:
        """What a mark does; False: here it is text."""
        if self._state == "thinking":
            return self._in_reasoning(kind, format, length)
        if self._pending is not None and kind in ("opens", "closes"):
            return self._in_doubt(kind, format, length)
        is_tag = kind in ("opens", "closes")
        if self._orphans and not self._reasons and is_tag and self._is_orphan(kind, format, length):
            return True
        if self._known is None and not self._reasons:
            return False
        return self._in_answer(kind, format, length)

    def _in_reasoning(self, kind: str, format: Format, length: int) -> bool:
        if self._apart and self._bare and kind == "opens":
            self._format = format
        is_foreign = format is not self._format
        if (is_foreign and self._apart and format is not THINK) or (kind == "opens" and self._code.inside):
            return False
        if kind == "opens" and self._any_end and is_foreign:
            return False
        if kind == "opens" and not self._bare and not format.control:
            # One more end is to come, if this is no mere word.
            self._depth += 1
            return False
        if self._code.covers_mark:
            return False
        if kind in ("opens", "noise"):
            self._put("mark", length)
            return True
        self._depth = 0 if format.control or kind == "answers" else self._depth - 1
        self._format = format if self._any_end else self._format
        self._end_reasoning(length)
        return True

    def _in_doubt(self, kind: str, format: Format, length: int) -> bool:
        if kind == "opens":
            self._depth += not self._code.inside
            return False
        if self._code.covers_mark:
            return False
        if self._unsure:
            self.closed_unopened, self._format = True, format
        self._put_leading("thinking")
        self._was_reasoning()
        self._depth -= 1
        self._end_reasoning(length)
        return True

    def _in_answer(self, kind: str, format: Format, length: int) -> bool:
        if kind == "opens" and not self._code.inside and (format.control or self._code.begins_line):
            self._put("mark", length)
            self._think(format)
            return True
        shown = kind == "closes" and not format.control
        if kind != "opens" and not shown and not self._code.covers_mark:
            self._put("mark", length)
            return True
        return False

    def _is_orphan(self, kind: str, format: Format, length: int) -> bool:
        """Whether a mark in an answer ends reasoning that nothing had opened, and all before it was that."""
        if not self._ends_unopened(kind, format, length):
            self._spoken_of = True
            return False
        self._reasons, self._state, self._format = True, "after", format
        text = self._held[self._at : self._at + length]
        self._at += length
        self._parts.append(("orphan", text))
        self._code = Position()
        return True

    def _ends_unopened(self, kind: str, format: Format, length: int) -> bool:
        if self._code.inside or not format.may_lack_opening or self._known not in (None, format):
            return False
        if kind == "opens" or self._opened_in_text:
            self._opened_in_text += 1 if kind == "opens" else -1
            return False
        if format.control:
            return True
        blank, next = following(self._held, self._at + length, over=True) or (False, "")
        return self._code.ends_reasoning(blank, next, spoken_of=self._spoken_of)

    def _think(self, format: Format) -> None:
        self._state, self._format, self._depth, self._any_end = "thinking", format, 1, False
        self._bare, self._reasons = True, True
        self._code = Position()

    def _end_reasoning(self, length: int) -> None:
        self._pending = [] if self._depth > 0 else None
        self._state = "after"
        self._put("mark", length)
        self._code = Position()

    def _was_reasoning(self) -> None:
        """What is pending was reasoning after all."""
        self._parts += [("thinking", text) for _, text in self._pending or []]
        self._pending, self._unsure, self._reasons = None, False, True

    def _settle(self) -> None:
        """What is pending is what it seems."""
        self._parts += self._pending or []
        self._pending, self._unsure, self._depth = None, False, min(self._depth, 1)

    def _take_blank(self, length: int) -> None:
        """The blank lines between reasoning and answer belong to neither."""
        if self._state == "after":
            self._put("mark", length)
            return
        self._leading.append(self._held[self._at : self._at + length])
        self._at += length

    def _put_leading(self, kind: PartKind) -> None:
        blanks, self._leading = "".join(self._leading), []
        self._add(kind, blanks)

    def _put(self, kind: PartKind, length: int) -> None:
        """The next `length` characters are of this kind."""
        text = self._held[self._at : self._at + length]
        self._at += length
        self._add(kind, text)

    def _add(self, kind: PartKind, text: str) -> None:
        if not text:
            return
        (self._parts if self._pending is None else self._pending).append((kind, text))
        if kind != "mark":
            self._code.take(text)
            self._bare = self._bare and not text.strip()

    def _take_parts(self) -> list[Part]:
        parts, self._parts = self._parts, []
        return merged(parts)


_BLANK: Any = regex.compile(r"\s*")
_KINDS = ("opens", "answers", "closes", "noise")


@lru_cache
def _marks(known: Format | None, used: Format | None, *, closing: bool) -> Any:
    """Pattern of the marks that count: of the known family and the one in use, and without one in use of all.

    Args:
        closing: closing marks count, too.
    """
    # Earlier reasoning is handed on between the tags of THINK, whatever the model's own are.
    formats = [format for format in FORMATS if format.certain] if used is None else [THINK, used]
    formats += [known] if known is not None else []
    kinds = _KINDS if closing else ("opens", "answers", "noise")
    found = {
        f"{kind}_{FORMATS.index(format)}": pattern
        for kind in kinds
        for format in formats
        if (pattern := _pattern(format, kind))
    }
    return regex.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in found.items()))


@lru_cache
def _orphan_marks(known: Format | None) -> Any:
    """Pattern of what opens and closes reasoning in the known family, or in all whose templates may open it."""
    formats = [known] if known is not None else [each for each in FORMATS if each.may_lack_opening]
    return regex.compile(
        "|".join(
            f"(?P<{kind}_{FORMATS.index(format)}>{_pattern(format, kind)})"
            for kind in ("opens", "closes")
            for format in formats
        )
    )


def _pattern(format: Format, kind: str) -> str:
    literals = {"opens": format.opening, "closes": format.closing, "answers": format.answer}
    return getattr(format, kind) or re.escape(literals.get(kind, ""))


def _meaning(found: Any) -> tuple[str, Format]:
    kind, _, index = found.lastgroup.partition("_")
    return kind, FORMATS[int(index)]


def reclassified(parts: Sequence[Part]) -> list[Part]:
    """The parts, where an orphan has said that the answer before it was reasoning."""
    at = next((index for index, (kind, _) in enumerate(parts) if kind == "orphan"), -1)
    before: list[Part] = [("thinking" if kind == "answer" else kind, text) for kind, text in parts[: at + 1]]
    return [("mark" if kind == "orphan" else kind, text) for kind, text in [*before, *parts[at + 1 :]]]


def merged(parts: Iterable[Part]) -> list[Part]:
    """Neighbours of one kind as one part."""
    runs: list[tuple[PartKind, list[str]]] = []
    for kind, text in parts:
        if runs and runs[-1][0] == kind:
            runs[-1][1].append(text)
        else:
            runs.append((kind, [text]))
    return [(kind, "".join(texts)) for kind, texts in runs]
