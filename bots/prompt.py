"""What goes to the model: the person's words with the least instruction that makes the answer usable. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bots.ports import Turn
from inference.api import Message, ModelInfo

CODE = (
    "Answer with complete code in one fenced Markdown block that names its language, such as ```python, and then one "
    "or two sentences about it."
)
# The model card of DeepSeek-R1 recommends this sentence for mathematics.
MATHEMATICS = "Please reason step by step, and put your final answer within \\boxed{}."

_QUESTION_WORDS = re.compile(
    r"(what|who|whom|whose|where|when|why|how|which|is|are|was|were|do|does|did|can|could|would|should|"
    r"tell me|explain|compare|count|list|name)\b",
    re.IGNORECASE,
)
_ARITHMETIC = re.compile(
    r"\d\s*[-+*/×÷^=]\s*\(?\d|√|\b(square root|solve|equation|integral|derivative|calculate|compute|sum of|"
    r"product of|percent of|probability)\b|\b(how many|how much)\b.*\d|\d.*\b(how many|how much)\b",
    re.IGNORECASE | re.DOTALL,
)
# Mathematics is recognised by how a question begins; the rest of a long text must not cost a search.
_LOOKED_AT = 2000


def is_question(text: str) -> bool:
    """Whether words beside a picture ask something, rather than begin its caption."""
    text = text.strip()
    return text.endswith(("?", "？", "؟")) or bool(_QUESTION_WORDS.match(text))


def is_mathematics(text: str) -> bool:
    return bool(_ARITHMETIC.search(text[:_LOOKED_AT]))


def for_code(text: str) -> str:
    return f"{text}\n\n{CODE}"


def for_text(text: str, info: ModelInfo) -> str:
    return f"{text}\n\n{MATHEMATICS}" if info.reasoning and is_mathematics(text) else text


def for_pictures(text: str, captions: Sequence[str]) -> str:
    if len(captions) == 1:
        return f"A picture shows this: {captions[0]}.\n\n{text}"
    shown = "\n".join(f"{number}. {caption}" for number, caption in enumerate(captions, 1))
    return f"{len(captions)} pictures show this:\n{shown}\n\n{text}"


def messages(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """The conversation as the model gets it: thinking left out, answers without a word too."""
    return tuple(Message(turn.role, turn.prompt or turn.text) for turn in turns if turn.prompt or turn.text)
