"""What goes to the model: the person's words with the least instruction that makes the answer usable. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from bots.ports import Turn
from inference.api import Message, ModelInfo

_CODE = "Answer with complete code in one fenced Markdown block that {begins}, and then one or two sentences about it."
_NAMED = "begins with ```"
# In a conversation that goes on from somebody else's answer.
UNSEEN = "(a question that only its author could see)"
UNSEEN_ANSWER = "(an answer that was deleted)"
UNSEEN_QUOTATION = "> (a message of somebody else)"
# The model card of DeepSeek-R1 recommends this sentence for mathematics.
MATHEMATICS = "Please reason step by step, and put your final answer within \\boxed{}."

_ARITHMETIC = re.compile(
    r"\d\s*[-+*/×÷^=]\s*\(?\d|√|\b(square root|solve|equation|integral|derivative|calculate|compute|sum of|"
    r"product of|percent of|probability)\b",
    re.IGNORECASE,
)
# Two searches: one pattern with anything between them would begin anew at every digit.
_AMOUNT, _NUMBER = re.compile(r"\b(how many|how much)\b", re.IGNORECASE), re.compile(r"\d")
_QUOTED = re.compile(r"^ {0,3}>.*(?:\n {0,3}>.*)*", re.MULTILINE)
# Names as people write them, and as a fence does. Those that are also words count only after "in".
_LANGUAGES = {
    "python": "python", "javascript": "javascript", "typescript": "typescript", "java": "java", "c++": "cpp",
    "c#": "csharp", "golang": "go", "rust": "rust", "ruby": "ruby", "php": "php", "swift": "swift", "kotlin": "kotlin",
    "sql": "sql", "bash": "bash", "html": "html", "css": "css", "lua": "lua", "perl": "perl", "scala": "scala",
    "haskell": "haskell", "powershell": "powershell", "julia": "julia",
}  # fmt: skip
_AMBIGUOUS = {"c": "c", "go": "go", "r": "r", "js": "javascript", "ts": "typescript", "shell": "bash"}
_LANGUAGE = re.compile(rf"(?<![\w+#])({'|'.join(map(re.escape, _LANGUAGES))})(?![\w+#])", re.IGNORECASE)
_IN_LANGUAGE = re.compile(rf"\bin ({'|'.join(_AMBIGUOUS)})(?![\w+#])", re.IGNORECASE)
_OPENING = re.compile(rf"{re.escape(_NAMED)}(\w+)")
# Mathematics is recognised by how a question begins; the rest of a long text must not cost a search.
_LOOKED_AT = 2000


def is_mathematics(text: str) -> bool:
    head = text[:_LOOKED_AT]
    return bool(_ARITHMETIC.search(head) or (_AMOUNT.search(head) and _NUMBER.search(head)))


def language(text: str) -> str | None:
    """The programming language that a request names, as a fence names it."""
    head = text[:_LOOKED_AT]
    if (named := _LANGUAGE.search(head)) is not None:
        return _LANGUAGES[named[1].lower()]
    ambiguous = _IN_LANGUAGE.search(head)
    return _AMBIGUOUS[ambiguous[1].lower()] if ambiguous else None


def for_code(text: str) -> str:
    named = language(text)
    return f"{text}\n\n{_CODE.format(begins=_NAMED + named if named else 'names its language')}"


def opening(question: str) -> str:
    """How the answer to this prompt must begin, if `for_code` said so; small models need to be held to it."""
    found = _OPENING.search(question[-len(_CODE) * 2 :])
    return f"```{found[1]}\n" if found else ""


def for_text(text: str, info: ModelInfo) -> str:
    return f"{text}\n\n{MATHEMATICS}" if info.reasoning and is_mathematics(text) else text


def for_pictures(text: str, captions: Sequence[str], *, answered: bool = False) -> str:
    """`answered`: the captions are answers to these very words, by a model that sees the pictures."""
    numbered = "\n".join(f"{number}. {caption}" for number, caption in enumerate(captions, 1))
    if len(captions) == 1:
        said = "Asked this, somebody who sees my picture says" if answered else "A picture shows this"
        return f"{said}: {captions[0]}.\n\n{text}"
    said = (
        f"Asked this, somebody who sees my {len(captions)} pictures says"
        if answered
        else f"{len(captions)} pictures show this"
    )
    return f"{said}:\n{numbered}\n\n{text}"


def without_quotations(text: str) -> str:
    """The text with a note in place of each quotation.

    Its words are a third person's, who may have deleted or edited them since without anybody being told.
    """
    return _QUOTED.sub(UNSEEN_QUOTATION, text)


def messages(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """The conversation as the model gets it: thinking left out, and questions that never got a word in answer.

    What is left alternates between user and assistant, as many chat templates insist.
    """
    spoken = [turn for turn in turns if turn.prompt or turn.text]
    answered = [turn for turn, after in pairwise(spoken) if turn.role != after.role]
    return tuple(Message(turn.role, turn.prompt or turn.text) for turn in [*answered, *spoken[-1:]])
