"""The commands, the same on every platform, and how a message is read as one. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

# A name must be followed by a blank or the end: "/usr/bin/env" is a path, not a command.
_COMMAND = re.compile(r"\s*/([A-Za-z][A-Za-z0-9_-]{0,31})(?:@\w+)?(?:\s+(.*))?\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """What a command is called, what follows it, and what it does in a few words."""

    name: str
    usage: str
    summary: str


COMMANDS = (
    Command("code", "/code what it should do", "Write code in a fenced block"),
    Command("ask", "/ask your question", "Ask anything, about a picture too"),
    Command("caption", "/caption with a picture", "Describe a picture; “a photo of” begins the caption"),
    Command("settings", "/settings, /settings name value, /settings reset", "See and change your settings"),
    Command("temperature", "/temperature 0.7", "How adventurous answers are, 0.1 to 1.0"),
    Command("top_p", "/top_p 0.9", "How large the pool of words is, 0.1 to 1.0"),
    Command("max_tokens", "/max_tokens 200", "How long an answer may get"),
    Command("preset", "/preset precise", "Precise, balanced or creative"),
    Command("thinking", "/thinking hide", "Show, hide or attach a model's reasoning"),
    Command("seed", "/seed 42", "The same seed gives the same answer again; off draws anew"),
    Command("reset", "/reset", "Begin a new conversation"),
    Command("stop", "/stop", "Stop what is being written for you"),
    Command("regenerate", "/regenerate", "Answer your last question anew"),
    Command("continue", "/continue", "Go on where the last answer ended"),
    Command("stats", "/stats, /stats 30 dark", "What you used, as a picture"),
    Command("privacy", "/privacy, /privacy export, /privacy erase", "What is kept of you, as a file, or erased"),
    Command("link", "/link, /link CODE, /link off", "Share your settings between two accounts of yours"),
    Command("examples", "/examples", "Prompts to try"),
    Command("help", "/help", "What can be done here"),
)
NAMES = tuple(command.name for command in COMMANDS)
ASKING = ("ask", "code", "caption", "regenerate", "continue")
"""What is answered by the model, or by the captioner."""


@dataclass(frozen=True, slots=True)
class Called:
    """A command as somebody wrote it; the name is in lower case and may be unknown."""

    name: str
    argument: str

    @property
    def known(self) -> bool:
        return self.name in NAMES

    @property
    def suggestion(self) -> str | None:
        """The known name that was probably meant."""
        close = difflib.get_close_matches(self.name, NAMES, n=1)
        return close[0] if close else None


def read(text: str) -> Called | None:
    """The command in a message; None for a plain message."""
    # A long message is no command, and must not cost a regular expression's time.
    if text.lstrip()[:1] != "/":
        return None
    match = _COMMAND.match(text)
    if match is None:
        return None
    name = match[1].lower().replace("-", "_")
    return Called(name, (match[2] or "").strip())


def is_stop(text: str) -> bool:
    called = read(text)
    return called is not None and called.name == "stop"


def asks(text: str) -> bool:
    """Whether the message asks for an answer of the model's, or a caption: it is a plain one, or such a command."""
    called = read(text)
    return called is None or called.name in ASKING


def shown(text: str) -> str:
    """What everybody may read of a message where what people write is there for all: as on the page.

    What a command says beside its name is between its author and the bot, such as the code of `/link`, unless it asks
    for an answer that everybody sees.
    """
    called = read(text)
    if called is None or called.name in ASKING:
        return text
    return f"/{called.name} …" if called.argument else f"/{called.name}"


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt to try; `kind` is the heading that it stands under."""

    kind: str
    text: str


EXAMPLES = (
    Example("Plain", "/code reverse a string in Python"),
    Example("Plain", "Explain quantum mechanics to a beginner."),
    Example("Plain", "What is the square root of 3,456?"),
    Example("With constraints", "/code a Python function that checks for palindromes, with type hints and no loops"),
    Example("With constraints", "Write a four-line poem about a lonely robot."),
    Example("With constraints", "Describe a Japanese dish in one sentence of words that begin with S."),
    Example("One word", "Dragons"),
    Example("One word", "Creativity"),
    Example("Picture", "/caption"),
)
