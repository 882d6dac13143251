"""The rules of the ledger: every event is answered once, whichever process dies at whatever moment.

A reply is a row from before its first word. Its state says what a process that finds it has to do:

    accepted    nothing is kept of it but that the event is ours: it is answered from the beginning
    streaming   question, request and the text so far are kept: the text goes on
    done, stopped, failed   it has its ending: the delivery is completed from what is kept, nothing is generated
    shown       everything is visible: nothing is left to do

Pure but for `left_behind`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bots.messages import Action, Ended, Failed, Notice, ReplyEvent, Started, ThinkingMode
from bots.ports import Inbox, Received, ReplyRecord, StorageError, Turn, TurnState
from inference.api import Message, Sampling, Timings, Usage

log = logging.getLogger(__name__)

Ending = Ended | Failed | Notice
LOOK_EVERY_S = 2.0
"""How often a process looks for what a dead one has left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRequest:
    """What the model was asked: enough to ask for the rest of the answer.

    Args:
        opening: how the answer was made to begin; part of its text.
        model: the reference of the model that began it, or its name where that is all that is known.
        revision: of that model, "" where it is not known.
        before: how many characters of the text an older answer had already, when it was to be continued.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    opening: str
    model: str
    revision: str = ""
    before: int = 0

    def written(self) -> str:
        # Hundreds of messages by hand: `asdict` copies them deeply, on the event loop.
        messages = [{"role": each.role, "content": each.content} for each in self.messages]
        rest = {name: getattr(self, name) for name in ("opening", "model", "revision", "before")}
        document = {"messages": messages, "sampling": asdict(self.sampling), **rest}
        return json.dumps(document, separators=(",", ":"))


def read_asked(document: str) -> LedgerRequest:
    """The inverse of `LedgerRequest.written`."""
    raw = json.loads(document)
    sampling = raw["sampling"] | {"stop": tuple(raw["sampling"]["stop"])}
    return LedgerRequest(
        messages=tuple(Message(**each) for each in raw["messages"]),
        sampling=Sampling(**sampling),
        opening=raw["opening"],
        model=raw["model"],
        revision=raw.get("revision", ""),
        before=raw.get("before", 0),
    )


def answer_id(chat: str, event_id: str) -> str:
    """The name of what answers an event: whoever answers it after a crash calls it the same, and finds its messages."""
    return hashlib.blake2b(f"{chat}\n{event_id}".encode(errors="surrogatepass"), digest_size=16).hexdigest()


def written(ending: Ending) -> str:
    """The last event of a reply as a document."""
    return json.dumps({"kind": type(ending).__name__, **asdict(ending)}, separators=(",", ":"))


def read_ending(document: str) -> Ending:
    """The inverse of `written`."""
    raw = json.loads(document)
    kind = raw.pop("kind")
    if kind == "Notice":
        return Notice(**raw)
    raw["actions"] = tuple(map(Action, raw["actions"]))
    return Failed(**raw) if kind == "Failed" else _ended(raw)


def _ended(raw: dict[str, Any]) -> Ended:
    raw["usage"], raw["timings"] = Usage(**raw["usage"]), Timings(**raw["timings"])
    raw["settings"] = tuple((name, value) for name, value in raw["settings"])
    return Ended(**raw)


def state_after(ending: Ending) -> TurnState:
    """The state of a reply that ended so."""
    if isinstance(ending, Failed):
        return "failed"
    return "stopped" if isinstance(ending, Ended) and ending.reason == "cancelled" else "done"


def visible_text(answer: Turn) -> str:
    """The text without what is shown as captions: of an answer that is nothing but captions, nothing."""
    return "" if answer.captions and answer.text == "\n".join(answer.captions) else answer.text


def taken_up(answer: Turn, message_ids: Sequence[str], thinking_mode: ThinkingMode, *, again: bool) -> Started:
    """The beginning of an answer that goes on in the messages that show it."""
    return Started(
        answer_id=answer.id,
        text=visible_text(answer),
        thinking=answer.thinking,
        captions=answer.captions,
        message_ids=tuple(message_ids),
        thinking_mode=thinking_mode,
        again=again,
    )


def repeated(reply: ReplyRecord, answer: Turn | None, message_ids: Sequence[str]) -> list[ReplyEvent]:
    """The whole reply once more, for the delivery to complete: its messages are known, or found by their nonces."""
    ending = read_ending(reply.ending)
    if isinstance(ending, Notice):
        return [replace(ending, again=True)]
    mode = ending.thinking if isinstance(ending, Ended) else "show"
    if answer is None:
        return [Started(answer_id=reply.answer_id, message_ids=tuple(message_ids), again=True), ending]
    return [taken_up(answer, message_ids, mode, again=True), ending]


async def left_behind(inbox: Inbox, account: str) -> AsyncGenerator[Sequence[Received], None]:
    """Yield the events to resume: first all unanswered ones, later those of processes that terminate. Endless.

    The first batch is yielded even if it is empty, because the page listens only after it. Later ones are never empty.
    A storage that fails is asked again after `LOOK_EVERY_S`.
    """
    look = inbox.unanswered
    while True:
        try:
            found = await look(account)
        except Exception as error:  # whatever it is: a bot that no longer looks would leave people without an answer
            known = isinstance(error, StorageError)
            log.warning("%s: unanswered events cannot be read just now: %s", account, error, exc_info=not known)
        else:
            later, look = look == inbox.orphaned, inbox.orphaned
            if found and later:
                log.info("%s: %d events are taken over from a process that died", account, len(found))
            if found or not later:
                yield found
        await asyncio.sleep(LOOK_EVERY_S)
