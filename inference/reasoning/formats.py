"""How each family of models writes its reasoning, as data, and which family a model belongs to.

Sources: the chat templates and model cards of the families, and for gpt-oss OpenAI's description of the harmony format.
`openai-harmony` is not used: it downloads its vocabulary when it is loaded, so it fails on a machine without that host.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """The marks of one family.

    Args:
        opening, closing: as they are written into a prompt, to go on from reasoning or to end it.
        answer: what begins an answer, in families whose answers have a heading.
        gap: written between `closing` and an answer.
        opens, closes, answers: patterns of the marks as models vary them; empty: the literals above. Each has a
            bounded length, and none is the beginning of a longer one: how a stream is cut must change nothing.
        noise: pattern of further marks that are never shown.
        tokens: the control tokens in the marks. A model whose vocabulary has them all belongs to the family.
        control: the marks are control tokens that nobody writes by accident, so they count anywhere outside code; the
            marks of other families count at the beginning of an answer or of a line.
        certain: the opening is known at the beginning of any model's answer, and not only of the family's.
        in_template: a template may open the reasoning, which in other families only the model does.
        phrase: a template with this phrase belongs to the family, which has no control tokens.
        names: pattern of model names, for servers that show neither template nor vocabulary.
    """

    name: str
    opening: str
    closing: str
    answer: str = ""
    gap: str = "\n\n"
    opens: str = ""
    closes: str = ""
    answers: str = ""
    noise: str = ""
    tokens: tuple[str, ...] = ()
    control: bool = False
    certain: bool = True
    in_template: bool = True
    phrase: str = ""
    names: str = ""

    @property
    def may_lack_opening(self) -> bool:
        """Whether a text may hold the end of reasoning without its beginning, and show it by its mark."""
        return self.certain and self.in_template

    def opened_by(self, prompt: str) -> bool:
        """Whether a rendered prompt ends inside the reasoning, as newer templates of DeepSeek-R1 do."""
        return prompt.rstrip().endswith(self.opening.rstrip())

    def closed_by(self, prompt: str) -> bool:
        """Whether a rendered prompt ends behind reasoning that the template left empty: the model will not reason."""
        return prompt.rstrip().endswith(self.closing)


def _tag(name: str, **more: str) -> Format:
    opening, closing = f"<{name}>", f"</{name}>"
    # Some write <THINK>.
    return Format(
        name=name,
        opening=opening,
        closing=closing,
        opens=f"(?i:{re.escape(opening)})",
        closes=f"(?i:{re.escape(closing)})",
        tokens=(opening, closing),
        names=more.get("names", ""),
    )


_HEADING = r"[^<]{0,80}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>"

THINK = _tag("think")
HARMONY = Format(
    name="harmony",
    opening="<|channel|>analysis<|message|>",
    closing="<|end|><|start|>assistant",
    answer="<|channel|>final<|message|>",
    gap="",
    # The commentary channel is for calls of tools, which do not exist here; only "final" is meant for people.
    opens=rf"<\|channel\|>\s?(?!final)\w{_HEADING}",
    closes=r"<\|(?:end|return|call)\|>",
    answers=rf"<\|channel\|>\s?final{_HEADING}",
    noise=r"<\|start\|>(?:assistant|(?=[^a]))|<\|(?:end|return|call)\|>",
    tokens=("<|start|>", "<|channel|>", "<|message|>", "<|end|>"),
    control=True,
    in_template=False,
)
FORMATS = (
    THINK,
    HARMONY,
    # gpt-oss at a server that leaves control tokens out of the text.
    Format(
        name="harmony without marks",
        opening="analysis",
        closing="assistantfinal",
        gap="",
        opens=r"analysis(?=[A-Z])",
        certain=False,
        in_template=False,
        names=r"gpt-oss",
    ),
    Format(
        name="magistral",
        opening="[THINK]",
        closing="[/THINK]",
        gap="",
        tokens=("[THINK]", "[/THINK]"),
        names="magistral",
    ),
    Format(
        name="gemma",
        opening="<|channel>thought\n",
        closing="<channel|>",
        gap="",
        opens=r"<\|channel>[ \t]?[a-z]{0,20}[ \t]?\n",
        noise=r"<channel\|>",
        tokens=("<|channel>", "<channel|>"),
        control=True,
        in_template=False,
        names=r"gemma-?4",
    ),
    Format(
        name="command",
        opening="<|START_THINKING|>",
        closing="<|END_THINKING|>",
        answer="<|START_RESPONSE|>",
        gap="",
        noise=r"<\|(?:END_RESPONSE|START_TEXT|END_TEXT)\|>",
        tokens=("<|START_THINKING|>", "<|END_THINKING|>"),
        control=True,
        names=r"command-a-reasoning",
    ),
    Format(name="kimi", opening="◁think▷", closing="◁/think▷", names=r"kimi-?(?:vl|k1)"),
    _tag("seed:think", names=r"seed-oss"),
    Format(
        name="openthoughts",
        opening="<|begin_of_thought|>",
        closing="<|end_of_thought|>",
        answers=r"<\|begin_of_solution\|>",
        noise=r"<\|end_of_solution\|>",
    ),
    Format(
        name="granite",
        opening="Here is my thought process:",
        closing="Here is my response:",
        opens=r"Here(?: is|'s) my thought process:",
        closes=r"Here(?: is|'s) my response:",
        certain=False,
        phrase="Here is my thought process:",
        names=r"granite-3\.[23]",
    ),
    _tag("thinking"),
    _tag("thought"),
    _tag("reasoning"),
)
# In this form reasoning is handed from room to room, whatever family the model is of.
OPEN, CLOSE = THINK.opening, THINK.closing


def format_of(template: str, prompt: str, is_token: Callable[[str], bool]) -> tuple[Format | None, bool]:
    """The family of a model, and whether it reasons as it is asked here.

    That a template speaks of `<think>` says little: many only take the reasoning out of earlier turns. A model reasons
    if its template opens the reasoning, or if it has tokens for it of which its template speaks.

    Args:
        template: the text of the chat template.
        prompt: a question, rendered by it.
        is_token: whether a text is one control token of the model.
    """
    for format in FORMATS:
        if format.opened_by(prompt):
            return format, True
    for format in FORMATS:
        if not format.tokens or not all(map(is_token, format.tokens)):
            continue
        if any(token in template for token in format.tokens):
            return format, not format.closed_by(prompt)
        if format.control:
            return format, False
    return next((format for format in FORMATS if format.phrase and format.phrase in template), None), False


def opened_by(prompt: str) -> Format | None:
    """The family whose reasoning a rendered prompt has opened."""
    return next((format for format in FORMATS if format.opened_by(prompt)), None)


def named(model: str) -> Format | None:
    """The family that a model's name tells."""
    return next((format for format in FORMATS if format.names and re.search(format.names, model, re.IGNORECASE)), None)
