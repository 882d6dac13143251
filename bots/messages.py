"""What goes through the bot: an `Incoming` from any platform, and the reply events that answer it.

No platform's words, limits or markup are here. Text is Markdown (CommonMark) as the model wrote it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from bots.names import one_line
from inference.api import Loading, Reason, Timings, Usage

Holds = Callable[[str], Awaitable[bool]]
ThinkingMode = Literal["show", "hide", "file"]


@dataclass(frozen=True, slots=True)
class Person:
    """`id` is unique over all platforms ("telegram:4711"); `name` is what the platform shows, in one line."""

    id: str
    name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", one_line(self.name))


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as it was uploaded: hostile bytes under a name that somebody else chose, in one line."""

    data: bytes = field(repr=False)
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", one_line(self.name))


def _cannot_tell(person: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class ChatBudget:
    """What the platform lets the bot send to a chat: `calls_per_minute`, shared by every chat of that `name`.

    Args:
        waits_for: whether something for this person is on its way there; yes where that is not known.
    """

    name: str
    calls_per_minute: float
    waits_for: Callable[[str], bool] = field(default=_cannot_tell, compare=False)


@dataclass(frozen=True, slots=True)
class Permit:
    """The gate has let a call in.

    Args:
        account: the id that it is done for.
        quiet: it is done without a word, because the person is beyond the rate.
        moderates: the thing is somebody else's.
    """

    account: str
    quiet: bool = False
    moderates: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gate has refused a call; `silent`: only a platform that must answer every call says so."""

    sentence: str
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One message, command or pressed button of one person.

    Args:
        event_id: unique for the platform; the same event delivered twice carries the same id.
        chat: unique over all platforms ("discord:123456"), threads and topics included.
        text: what was written; a leading slash makes it a command, on every platform.
        reply_to: the platform's id of the bot's message that this replies to or whose button was pressed.
        places: keys under which bounds may be kept that hold here, such as a server's; and further names of the chat.
        direct: nobody else is in the chat.
        group: the group or server that the chat belongs to, with all its topics or channels; "" where there is none.
        instead_of: the person's answer whose place this one's takes, because the question was put differently.
        new: this process alone has the event, and has it for the first time: nothing is kept or shown of its reply.
        holds: asks the platform whether the author acts for the owner of an answer, too.
        moderates: the platform lets the author remove other people's messages in this chat.
        budget: what the chat can be sent; None where that is no limit.
        decision: what the gate has decided, if it was asked before.
        hidden: nobody else in the chat can see the text.
        shared: several people act under the author's id, such as the admins who write in the name of a channel.
    """

    event_id: str
    chat: str
    author: Person
    text: str = ""
    pictures: tuple[Picture, ...] = ()
    reply_to: str | None = None
    places: tuple[str, ...] = ()
    direct: bool = False
    group: str = ""
    instead_of: str | None = None
    new: bool = False
    holds: Holds | None = field(default=None, compare=False)
    moderates: bool = False
    budget: ChatBudget | None = None
    decision: Permit | Refusal | None = None
    hidden: bool = False
    shared: bool = False


class Action(StrEnum):
    """Buttons under an answer. A press comes back as an `Incoming` with the command of the same name."""

    STOP = "stop"
    REGENERATE = "regenerate"
    CONTINUE = "continue"

    @property
    def command(self) -> str:
        return f"/{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A streamed answer begins; from here on until `Ended` or `Failed` it can be stopped.

    `thinking_mode` is how this person wants to see the reasoning.
    When an older answer is continued, `answer_id` is that answer's, `text` and `thinking` are what it held already,
    `captions` stand above the text, and `message_ids` are the platform's ids of its visible chunks: the same messages
    go on growing. `again`: an earlier process may have begun this reply and sent more than it lived to record.
    `question_id` is the turn that is answered, where the question is new; it is kept with the answer, not before.
    """

    answer_id: str
    text: str = ""
    thinking: str = ""
    captions: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    thinking_mode: ThinkingMode = "show"
    again: bool = False
    question_id: str = ""


@dataclass(frozen=True, slots=True)
class QueueUpdate:
    """The answer waits for its turn: `position` 1 is next; `eta_s` in seconds, None while nothing is known.

    `position` 0: it waits for the model, which is away for a moment, or for what `loading` says.
    """

    position: int
    eta_s: float | None
    loading: Loading | None = None


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """More reasoning text (a delta)."""

    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More answer text (a delta)."""

    text: str


@dataclass(frozen=True, slots=True)
class Relabelled:
    """All text that was said until here was reasoning: what shows it becomes Thinking, and the answer comes next."""


@dataclass(frozen=True, slots=True)
class CaptionReady:
    """The captioner's words for picture `index` (0-based) of `count`; a complete answer or the ground for one."""

    text: str
    index: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The answer is complete.

    Args:
        model: the name of the model that wrote it (or of the captioner).
        settings: the person's settings that differ from the defaults, as (name, value) for people to read.
        thinking: how this person wants to see the reasoning.
    """

    reason: Reason
    usage: Usage
    timings: Timings
    model: str
    settings: tuple[tuple[str, str], ...] = ()
    actions: tuple[Action, ...] = ()
    thinking: ThinkingMode = "show"


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no (more) answer: one sentence for the person. Text that was said until then stays."""

    sentence: str
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """The bot's own words, complete in themselves; `private` ones are for the asker's eyes where a platform can.

    `refused`: the words say why what was asked for was not done. `otherwise` is said instead where others would see
    private words; such words are a secret, and not kept. `id` names them, so that they are said once; `again`: an
    earlier process may have said them.
    """

    text: str
    private: bool = False
    refused: bool = False
    otherwise: str = ""
    id: str = field(default="", compare=False)
    again: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Attached:
    """A file from the bot itself, complete, and the words that come before it.

    Args:
        name: with the extension that says what it is ("stats.png").
        private: for the asker's eyes where a platform can; `text` too.
        otherwise: said in place of the file and `text` where the platform takes no files, or where others would see a
            private one. "": `text` is said alone where there are no files, and others may see it.
        id, again: as of a `Notice`.
    """

    name: str
    data: bytes = field(repr=False)
    text: str = ""
    private: bool = False
    otherwise: str = ""
    id: str = field(default="", compare=False)
    again: bool = field(default=False, compare=False)


ReplyEvent = (
    Started | QueueUpdate | ThinkingDelta | TextDelta | Relabelled | CaptionReady | Ended | Failed | Notice | Attached
)
