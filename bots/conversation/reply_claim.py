"""One event's row in the ledger, in the hands of the process that answers it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bots.conversation import ledger
from bots.messages import Attached, Ended, Failed, Notice, ReplyEvent, Started
from bots.ports import ReplyRecord, Storage, StorageError, Turn, taken_over
from bots.profile.personal import Spent
from bots.profile.tally import Tally
from inference.api import Interrupted

log = logging.getLogger(__name__)


class ReplyClaim:
    """`reply` is the row as it is kept; `again`: an earlier process may have had it, and shown something of it."""

    def __init__(self, storage: Storage, reply: ReplyRecord, *, new: bool) -> None:
        self.reply = reply
        self.again = not new
        self.started = False
        """A `Started` went out, so a failure has a message to be shown in."""
        self.tally: Tally | None = None
        """What the answer takes, which is counted with its ending."""
        self._storage = storage
        self._due = False
        """The row is still to be made."""

    async def claim(self) -> bool:
        """Whether there is something left to do for this event.

        Raises:
            Interrupted: it is another process's, which lives.
        """
        kept = await self._storage.claim(self.reply)
        if kept is None:
            raise Interrupted(f"event {self.reply.event_id} is another process's")
        if kept.shown:
            return False
        self.reply = kept
        return True

    def claim_soon(self) -> None:
        """For an event that nobody else has: what is first shown of its reply need not wait for the row."""
        self._due = True

    async def claimed(self) -> None:
        """There is a row. Raises Interrupted: it is another process's, which took this one for dead."""
        if self._due:
            self._due = False
            if not await self.claim():
                raise taken_over(self.reply)

    async def begin(
        self, asked: ledger.LedgerRequest, answer: Turn, question: Turn, *, new: bool, ending: Ended | None = None
    ) -> None:
        """Question, request and answer are kept at once; `new`: the question was not kept before.

        With an `ending` the answer is whole already: nobody finds it without, and goes on with it.
        """
        await self.claimed()
        self.reply = replace(
            self.reply,
            state=ledger.state_after(ending) if ending else "streaming",
            answer_id=answer.id,
            question_id=question.id,
            request=asked.written(),
            ending=ledger.written(ending) if ending else "",
        )
        turns = [question, answer] if new else [answer]
        with self._billed(ending) as spent:
            await self._storage.begin(self.reply, turns, answer.id, spent)

    def soon(self, answer: Turn) -> None:
        """The text has grown."""
        self._storage.keep_soon(answer)

    async def end(self, ending: ledger.Ending, answer: Turn | None = None) -> None:
        """The reply is whole: from now on it is never generated again."""
        await self.claimed()
        self.reply = replace(self.reply, state=ledger.state_after(ending), ending=ledger.written(ending))
        with self._billed(ending) as spent:
            await self._storage.end(self.reply, answer, spent)

    @contextmanager
    def _billed(self, ending: ledger.Ending | None) -> Iterator[Spent | None]:
        """What is to be counted with this ending; later, if that fails."""
        if self.tally is None or not isinstance(ending, Ended | Failed):
            yield None
            return
        spent = self.tally.bill(ending)
        try:
            yield spent
        except StorageError:
            if spent is not None:
                self.tally.take_back()
            raise

    async def say(self, own: Notice | Attached) -> Notice | Attached:
        """The bot's own words are all there is to this reply; a file or secret is made again, if need be."""
        own = replace(own, id=self.reply.answer_id, again=self.again)
        if isinstance(own, Notice) and not own.otherwise:
            await self.end(own)
        return own

    async def fail(self, sentence: str) -> Sequence[ReplyEvent]:
        """The reply ends with a sentence, which must not depend on a storage that may be why."""
        failed = Failed(sentence)
        try:
            await self.end(failed)
        except StorageError as error:
            log.error("event %s of %s: its end is not kept: %s", self.reply.event_id, self.reply.chat, error)
        return [failed] if self.started else [Started(answer_id=self.reply.answer_id, again=self.again), failed]
