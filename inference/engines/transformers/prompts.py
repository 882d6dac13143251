"""Messages to token ids, by the model's own chat template, so that what people wrote is text whatever they wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from inference.api import Message, Unavailable
from inference.engines.placeholders import Placeholders
from inference.engines.port import RequestRejected
from inference.engines.surrogates import encodable
from inference.reasoning.formats import FORMATS, format_of
from inference.reasoning.prefix import PrefixPiece, resume

# Written in the templates of DeepSeek-R1 and its distilled models, whose makers ask for no system prompt.
_R1_USER = "<｜User｜>"


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """Token ids: the first `head` are the template's before any message, the last `said` the text to go on from."""

    ids: list[int]
    said: int
    thinking: bool
    head: int = 0


class Prompts:
    """The prompts of one model.

    Args:
        tokenizer: of transformers, with a chat template. Used in one thread at a time.

    Raises:
        Unavailable: there is no chat template, or it cannot be used.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_vocab()
        # Runs of blanks are in the vocabulary of some models to save tokens, and are text.
        self._controls = [text for text in added if len(text.strip()) > 1]
        self._template = _template(tokenizer)
        self._system_is_text = _R1_USER in self._template
        probe = "".join(self._render([Message("user", "x")])[0])
        self.format, self.reasoning = format_of(self._template, probe, added.__contains__)
        marks = FORMATS if self.format is None else (self.format,)
        self.marks = frozenset(added[mark] for format in marks for mark in format.tokens if mark in added)
        """Ids of the marks of reasoning, some of which the library counts among the tokens that are never shown."""

    def encode(self, messages: Sequence[Message], prefix: str) -> TokenizedPrompt:
        """Control tokens count in the template alone; in people's text and in what the model said they are text."""
        messages = without_system(messages) if self._system_is_text else messages
        template, messages = self._render(messages)
        rendered = "".join(template)
        ids = self._ids(template[0])
        head = len(ids)
        for message, after in zip(messages, template[1:], strict=True):
            ids += self._plain(message.content) + self._ids(after)
        # The model's own marks, which it wrote as control tokens, are those again.
        said = self._said(resume(rendered, prefix, self.format))
        opened = self.format is not None and self.format.opened_by(rendered)
        return TokenizedPrompt(ids + said, len(said), thinking=not prefix and opened, head=head)

    def _render(self, messages: Sequence[Message]) -> tuple[list[str], list[Message]]:
        """The template's own text around the messages, and these in its order: see `Placeholders.apart`."""
        marks = Placeholders(messages)
        try:
            rendered = self._tokenizer.apply_chat_template(marks.turns(), tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template is a program of strangers and raises what it likes
            raise RequestRejected(f"the model's chat template refuses these messages: {error}") from error
        return marks.apart(str(rendered))

    def _plain(self, text: str) -> list[int]:
        """Ids of text in which no control token counts: each is cut behind its first character."""
        text = encodable(text)
        found = "|".join(re.escape(control) for control in self._controls if control in text)
        # A look ahead, because control tokens may overlap.
        cuts = [match.start() + 1 for match in re.finditer(f"(?={found})", text)] if found else []
        cuts = [0, *cuts, len(text)]
        return [token for start, end in pairwise(cuts) for token in self._ids(text[start:end])]

    def _said(self, said: Sequence[PrefixPiece]) -> list[int]:
        """Ids of what the model wrote: its marks of reasoning are its own, anything else is plain."""
        return [token for piece in said for token in (self._ids if piece.mark else self._plain)(piece.text)]

    def _ids(self, text: str) -> list[int]:
        if not text:
            return []
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The same instructions without a system turn: they open the first turn of the user."""
    system = [message.content for message in messages if message.role == "system"]
    rest = [message for message in messages if message.role != "system"]
    if not system or not rest:
        return rest or [Message("user", "\n\n".join(system))]
    if rest[0].role != "user":
        return [Message("user", "\n\n".join(system)), *rest]
    return [Message("user", "\n\n".join([*system, rest[0].content])), *rest[1:]]


def _template(tokenizer: Any) -> str:
    try:
        return str(tokenizer.get_chat_template())
    except (ValueError, AttributeError) as error:
        raise Unavailable(
            "the model has no chat template: choose one that was made for chat (Instruct, Chat, it)"
        ) from error
