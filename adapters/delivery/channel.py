"""The port that a platform implements: one chat of one bot account, as the outbox sees it. Small on purpose.

A `Frame` is what one platform message should show at one moment. It is structured, so that each platform renders it in
its own means: an expandable quote or a `<details>` for thinking, buttons or nothing for actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from adapters.delivery.pacing.rate_budget import Rate
from bots.messages import Action


@dataclass(frozen=True, slots=True)
class ThinkingView:
    """The reasoning beside an answer: `seconds` so far (or in all, once `done`). `text` is empty where it is hidden.

    `label` is the bot's own line for it ("Thinking, 12 s", "Thought for 12 s").
    """

    text: str
    seconds: float
    done: bool
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The whole content of one platform message.

    Args:
        markdown: this chunk of the answer, well formed by itself (every fence that it opens is closed).
        status: the bot's own line while there is nothing better to show ("2nd in the queue, about 8 s").
        growing: more will come into this message: platforms may show a cursor.
        thinking: shown before the text, in the first chunk only.
        failure: one sentence, shown after the text.
        footer: small print after the last chunk of a finished answer.
        notice: the frame is the bot's own words, not an answer.
        private: only the asker should see it; platforms that cannot show it to one person show it to all.
    """

    markdown: str = ""
    status: str = ""
    growing: bool = False
    thinking: ThinkingView | None = None
    failure: str = ""
    footer: str = ""
    actions: tuple[Action, ...] = ()
    notice: bool = False
    private: bool = False


ONE_A_SECOND = Rate(1, 1.0, burst=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the platform allows, in its own unit of length (see `Channel.measure`).

    Args:
        message_units: the longest message, after rendering.
        upload_bytes: the largest file; 0 where files cannot be sent.
        private_files: a private file reaches the asker alone, and private words do: nobody else is in the chat, or the
            channel can whisper.
        rate: the calls in this chat, as far as they are known; what penalties say is stricter counts.
        edit_rate: of edits, where the platform counts them apart; None: `rate` is for all calls.
        max_chunks: an answer of more messages than this also comes as a file.
        most_messages: the platform takes no more messages of one reply; the rest comes as a file. 0: any number.
        typing_s: how long one `typing` shows; 0 where the platform has none. It does not count as a call in the chat.
        growing_s: how long a growing message may be left alone before it has to be shown again; 0: for ever.
        account: chats of one account share its budget; chats without an account have none to share.
        account_rate: of all calls of the account, in whatever chats; None: any number.
    """

    message_units: int
    upload_bytes: int = 0
    private_files: bool = False
    rate: Rate = ONE_A_SECOND
    edit_rate: Rate | None = None
    max_chunks: int = 5
    most_messages: int = 0
    typing_s: float = 0.0
    growing_s: float = 0.0
    account: str = ""
    account_rate: Rate | None = None


class ChannelError(Exception):
    """A call did not do its work. Subclasses say what that means for the message."""


class RetryAfter(ChannelError):
    """The platform's penalty: not applied, and nothing may be sent to this chat for `retry_after_s` seconds.

    `of_chat`: False where it is for the whole account, and tells nothing of the chat's limit.
    """

    def __init__(self, retry_after_s: float, *, of_chat: bool = True) -> None:
        super().__init__(f"retry after {retry_after_s:g} s")
        self.retry_after_s, self.of_chat = retry_after_s, of_chat


class Later(ChannelError):
    """Not applied: this message may not be shown or edited for `retry_after_s` seconds. All other calls may go."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"not to be shown for {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class Unsent(ChannelError):
    """A passing fault, and the call was certainly not applied (refused connection, 5xx before processing)."""


class UnknownOutcome(ChannelError):
    """The connection broke or timed out after the call went out: it may or may not have been applied."""


class MessageGone(ChannelError):
    """The message to edit was deleted by a person."""


class Forbidden(ChannelError):
    """The bot may not write here any more (blocked, kicked, no permission)."""


class Rejected(ChannelError):
    """The platform refuses this content for good; sending it again cannot help."""


SENDING = "sending:"
"""What begins the name under which a message is recorded before it is sent; its id replaces it."""


class Channel(Protocol):
    """Every method except `measure` may raise any `ChannelError`; `send` and `upload` return the message's id."""

    @property
    def limits(self) -> Limits: ...

    def measure(self, frame: Frame) -> int:
        """The length of the rendered frame, in the unit that the platform counts (UTF-16 units on Telegram)."""
        ...

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        """Posts a new message. `nonce` names the attempt: platforms that know nonces apply it once."""
        ...

    def sending(self, reply_to: str | None, nonce: str) -> str | None:
        """A name, beginning with `SENDING`, for what `send` or `upload` is about to make; None if `find` needs none.

        It says where to look for it. A process that finds it recorded in place of an id passes it to `edit`, which
        shows the frame in the message if it was sent, and sends it if not; that of a file it passes to `find`.
        """
        ...

    async def find(self, nonce: str) -> str | None:
        """The id of the message that a `send` or `upload` with that nonce made, None if there is none or no telling.

        In place of the nonce, the name under which an earlier process announced it (see `sending`).
        """
        ...

    async def edit(self, message_id: str, frame: Frame) -> str | None:
        """Shows the frame in that message; returns the message's id if it has another one from now on."""
        ...

    async def delete(self, message_id: str) -> None: ...

    async def typing(self) -> None: ...

    async def upload(self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False) -> str:
        """Posts a file of at most `limits.upload_bytes`; a `private` one for the asker alone, if `private_files`."""
        ...
