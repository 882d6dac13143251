"""One answer, from its place in the line to its last word: captions, prompt, stream, and what is kept of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from bots import wording
from bots.conversation import ledger, model_request, person_queue
from bots.conversation.coming import Coming, Sent
from bots.conversation.pending import Pending
from bots.conversation.reply_claim import ReplyClaim
from bots.messages import (
    Action,
    CaptionReady,
    Ended,
    Failed,
    Incoming,
    Picture,
    QueueUpdate,
    Relabelled,
    ReplyEvent,
    Started,
    TextDelta,
    ThinkingDelta,
)
from bots.ports import Storage, Turn, TurnState
from bots.profile.preferences import Profile
from inference.api import (
    Busy,
    Cancelled,
    Caption,
    CaptionRequest,
    ChatRequest,
    Event,
    Filtered,
    Finished,
    Inference,
    InferenceError,
    Interrupted,
    Message,
    Queued,
    Reason,
    Reclassified,
    Sampling,
    Text,
    Thinking,
    Timings,
    Usage,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
_Ending = TypeVar("_Ending", bound=Ended | Failed)
_ASK_AGAIN_S = 1.0
"""How soon an answer of before a restart is asked for again where the queue was full."""

AFTER: dict[str, tuple[Action, ...]] = {
    "stop": (Action.REGENERATE,),
    "length": (Action.CONTINUE, Action.REGENERATE),
    "cancelled": (Action.CONTINUE, Action.REGENERATE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be answered: new words, pictures, or an older answer once more.

    Args:
        question: the user's turn; its `prompt` is filled in here when pictures come first.
        new: the question is new; without a parent it follows whatever was said last when its turn has come.
        begins: it does not, but begins a conversation.
        pictures: captioned first; where nothing is asked about them, the captions are the answer.
        caption_begins: the first words of each caption.
        asks: whether the language model is asked at all.
        resumes: the answer that goes on growing, in the messages `message_ids`.
        anew: another answer is wanted to a question that has one, so a fixed seed would only repeat it.
        asked: what an earlier process asked the model for this answer, and did not live to see answered.
    """

    question: Turn
    pictures: tuple[Picture, ...] = ()
    caption_begins: str = ""
    asks: bool = True
    new: bool = False
    begins: bool = False
    resumes: Turn | None = None
    message_ids: tuple[str, ...] = ()
    anew: bool = False
    asked: ledger.LedgerRequest | None = None

    @property
    def captions_begun(self) -> int:
        """How many pictures of it an earlier process has captioned, and did not live to count."""
        return len(self.resumes.captions) if self.resumes and self.asked and not self.asked.before else 0


class Answers:
    """Gives answers, one after the other for one person in one chat, and lets them be stopped."""

    def __init__(
        self, inference: Inference, storage: Storage, now: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._inference = inference
        self._storage = storage
        self._now = now
        self._new_id = new_id
        self._lines = person_queue.PersonQueues()
        self.coming = Coming()
        """What has no place in a line yet."""

    def waiting(self, chat: str, person: str) -> int:
        """How many messages of this person are being answered or wait in this chat."""
        return len(self._lines.of(chat, person))

    def is_underway(self, answer_id: str) -> bool:
        """Whether that answer is being written, or waits for its turn."""
        return self._lines.find(answer_id) is not None

    def person_of(self, answer_id: str) -> str | None:
        """For whom that answer is being written or waits; None where it is not underway."""
        place = self._lines.find(answer_id)
        return place.person if place is not None else None

    def stop(self, chat: str, person: str, answer_id: str | None) -> int | None:
        """Stops that answer, or all of the person's here; returns how many, None if it is not theirs."""
        places = self._lines.asked_in(chat, person)
        if answer_id is not None:
            place = self._lines.find(answer_id)
            if place is not None and place.person != person:
                return None
            places = [place] if place is not None else []
        for place in places:
            place.stop()
            self._inference.cancel(place.request_id)
        return len(places)

    def door(self, incoming: Incoming) -> asyncio.Lock:
        """Held until the answer has its place in the line: messages line up as they came."""
        return self._lines.door(incoming)

    async def give(
        self, incoming: Incoming, profile: Profile, task: Task, entry: ReplyClaim, sent: Sent
    ) -> AsyncGenerator[ReplyEvent, None]:
        """Raises InferenceError."""
        old, here = task.resumes, incoming.chat
        answer_id = old.id if old is not None else entry.reply.answer_id
        place = person_queue.QueueEntry(answer_id, here, incoming.author.id, self._new_id(), incoming.group, sent.chat)
        before = self._lines.join(place)
        self.coming.remove(sent)
        if sent.is_taken_back:
            place.stop()
        try:
            if old is not None:
                yield ledger.taken_up(old, task.message_ids, profile.thinking, again=entry.again)
            else:
                shown = await self._storage.delivered(incoming.chat, answer_id) if entry.again else None
                yield Started(
                    answer_id=answer_id,
                    message_ids=shown.message_ids if shown else (),
                    thinking_mode=profile.thinking,
                    again=entry.again,
                    question_id=task.question.id if task.new else "",
                )
            if before:
                yield QueueUpdate(before, None)
                await place.turn.wait()
            answer = _Answer(self._inference, self._storage, self._now, place, profile, task, entry)
            async with aclosing(answer.events()) as events:
                async for event in events:
                    yield event
        finally:
            self._lines.leave(place)


class _Answer:
    """One answer while it is being written."""

    def __init__(
        self,
        inference: Inference,
        storage: Storage,
        now: Callable[[], float],
        place: person_queue.QueueEntry,
        profile: Profile,
        task: Task,
        entry: ReplyClaim,
    ) -> None:
        self._inference = inference
        self._storage = storage
        self._now = now
        self._place = place
        self._profile = profile
        self._task = task
        self._entry = entry
        self._text = task.resumes.text if task.resumes else ""
        self._thinking = task.resumes.thinking if task.resumes else ""
        self._captions = list(task.resumes.captions) if task.resumes else []
        self._begun = task.resumes.created_at if task.resumes and task.asked else now()
        self._spent: Usage | None = None
        """What the answer took before it was interrupted."""
        self._has_waited = False
        """For the model to be loaded, as everybody did: there may be no room for all at once."""

    async def events(self) -> AsyncGenerator[ReplyEvent, None]:
        async with aclosing(self._until_loaded()) as news:
            async for each in news:
                yield each
        if self._task.pictures and self._inference.info.captioner is None and not self._place.stopped:
            yield await self._end(Failed(wording.no_captioner()))
            return
        if self._task.asked is not None:
            async with aclosing(self._go_on(self._task.asked)) as events:
                async for event in events:
                    yield event
            return
        if self._place.stopped:
            yield await self._end(self._ended(_stopped()))
            return
        await self._follow()
        async with aclosing(self._caption()) as captions:
            async for caption in captions:
                yield caption
        if self._place.stopped or not self._task.asks:
            yield await self._end_with_captions()
            return
        async with aclosing(self._ask()) as events:
            async for event in events:
                yield event

    def _pending(self, work: Coroutine[Any, Any, T], what: Literal["model", "pictures"] = "model") -> Pending[T]:
        return Pending(self._inference, self._place, work, what)

    async def _until_loaded(self) -> AsyncGenerator[QueueUpdate, None]:
        """Nothing is known of the model before, not even how much it reads. Raises Interrupted."""
        if self._inference.loading() is not None:
            self._has_waited = True
            async with aclosing(self._pending(self._inference.ready()).news()) as news:
                async for each in news:
                    yield each

    async def _follow(self) -> None:
        question = self._task.question
        if self._task.new and question.parent_id is None and not self._task.begins:
            head = await self._storage.head(question.chat, question.person)
            self._task = replace(self._task, question=replace(question, parent_id=head))

    async def _caption(self) -> AsyncGenerator[CaptionReady | QueueUpdate, None]:
        pictures = self._task.pictures
        for index, picture in enumerate(pictures):
            if self._place.stopped:
                return
            request = CaptionRequest(
                id=self._place.request_id,
                image=picture.data,
                prompt=self._captioner_words(),
                owner=self._profile.owner,
                standing=self._profile.standing,
                group=self._place.group,
            )
            work = self._pending(self._captioned(request), "pictures")
            try:
                async with aclosing(work.news()) as news:
                    async for each in news:
                        yield each
            except Cancelled:
                return
            if (caption := work.result) is None:
                return
            self._captions.append(caption.text)
            yield CaptionReady(caption.text, index, len(pictures))

    async def _captioned(self, request: CaptionRequest) -> Caption:
        while True:
            try:
                return await self._inference.caption(request)
            except Busy as busy:
                await self._until_less_busy(busy)

    def _captioner_words(self) -> str:
        """What the captioner gets beside a picture: the caption's beginning, or the question, where it answers some."""
        if not self._inference.info.captioner_answers:
            return self._task.caption_begins
        return self._task.question.text if self._task.asks else ""

    async def _end_with_captions(self) -> Ended:
        self._text = "\n".join(self._captions)
        reason: Reason = "cancelled" if self._place.stopped else "stop"
        timings = Timings(total_s=self._now() - self._begun)
        model = self._inference.info.captioner or ""
        ended = Ended(reason=reason, usage=Usage(), timings=timings, model=model)
        if not self._text:
            return await self._end(ended)
        what = self._task.question.text or "Describe the picture."
        question = replace(self._task.question, prompt=f"{what} (I sent a picture.)")
        answer = self._turn("stopped" if self._place.stopped else "done")
        sampling = model_request.sampling(self._profile, anew=self._task.anew)
        asked = ledger.LedgerRequest(messages=(), sampling=sampling, opening="", model=model)
        await self._entry.begin(asked, answer, question, new=True, ending=ended)
        return ended

    async def _ask(self) -> AsyncGenerator[ReplyEvent, None]:
        info, task = self._inference.info, self._task
        question = model_request.about_pictures(model_request.worded(task.question, info), self._captions, info)
        opening = "" if task.resumes else model_request.opening(question, info)
        sampling = model_request.sampling(self._profile, anew=task.anew)
        said = model_request.prefix(self._text, self._thinking, cut_off=False)
        person = self._place.person
        work = self._pending(model_request.messages(question, person, sampling, said, self._storage, self._inference))
        async with aclosing(work.news()) as news:
            async for each in news:
                yield each
        if (messages := work.result) is None:
            yield await (self._end(self._ended(_stopped())) if task.resumes else self._end_with_captions())
            return
        # Whatever happens to this process, the next one can go on from here.
        asked = ledger.LedgerRequest(
            messages=messages,
            sampling=sampling,
            opening=opening,
            model=info.reference or info.name,
            revision=info.revision,
            before=len(self._text),
        )
        await self._entry.begin(asked, self._turn("streaming"), question, new=task.new)
        async with aclosing(self._answer(self._request(messages, sampling, opening), opening)) as events:
            async for event in events:
                yield event

    async def _go_on(self, asked: ledger.LedgerRequest) -> AsyncGenerator[ReplyEvent, None]:
        """The rest of an answer whose process died."""
        if (self._text or self._thinking) and not self._inference.info.continues:
            yield await self._end(Failed(wording.cut_off(), AFTER["stop"]))
            return
        work = self._pending(model_request.remaining(asked, self._text, self._thinking, self._inference.count_tokens))
        async with aclosing(work.news()) as news:
            async for each in news:
                yield each
        if (left := work.result) is None:
            yield await self._end(self._ended(_stopped()))
            return
        self._spent, opening = left.spent, "" if self._text else asked.opening
        async with aclosing(self._answer(self._request(asked.messages, left.sampling, opening), opening)) as events:
            async for event in events:
                yield event

    def _request(self, messages: tuple[Message, ...], sampling: Sampling, opening: str) -> ChatRequest:
        said = model_request.prefix(self._text, self._thinking, cut_off=self._task.asked is not None)
        return ChatRequest(
            id=self._place.request_id,
            messages=messages,
            sampling=sampling,
            owner=self._profile.owner,
            prefix=said + opening,
            standing=self._profile.standing,
            group=self._place.group,
        )

    async def _answer(self, request: ChatRequest, opening: str) -> AsyncGenerator[ReplyEvent, None]:
        if self._place.stopped:
            yield await self._end(self._ended(_stopped()))
            return
        ending: Ended | Failed | None = None
        given_up: TurnState = "failed"
        try:
            async with aclosing(self._stream(request)) as events:
                async for event in events:
                    match event:
                        case Queued(position, eta_s):
                            yield QueueUpdate(position, eta_s)
                        case Thinking(text):
                            self._thinking += text
                            self._entry.soon(self._turn("streaming"))
                            yield ThinkingDelta(text)
                        case Text(text):
                            text, opening = opening + text, ""
                            self._text += text
                            self._entry.soon(self._turn("streaming"))
                            yield TextDelta(text)
                        case Reclassified():
                            self._thinking, self._text = self._thinking + self._text, ""
                            # What is shown is told apart before it is kept so: a crash in between repeats it.
                            yield Relabelled()
                            self._entry.soon(self._turn("streaming"))
                        case Finished():
                            ending = self._ended(event)
        except Interrupted:
            given_up = "streaming"
            raise
        except InferenceError as error:
            log.warning("request %s: %s", request.id, error)
            can_go_on = bool(self._text) and not isinstance(error, Filtered)
            ending = Failed(wording.failure(error), self._actions("cancelled" if can_go_on else "stop"))
        finally:
            if ending is None:
                # Given up from outside: what was said is kept, and whoever gets the event again goes on from it.
                self._entry.soon(self._turn(given_up))
        if ending is not None:
            yield await self._end(ending)

    async def _stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """The answer's events, also where it has to be asked for several times."""
        has_begun = False
        while True:
            try:
                async with aclosing(self._inference.stream(request)) as events:
                    async for event in events:
                        has_begun |= not isinstance(event, Queued)
                        yield event
                return
            except Busy as busy:
                if has_begun:  # the same request would say it all once more
                    raise
                await self._until_less_busy(busy)
            if self._place.stopped:
                yield _stopped()
                return

    async def _until_less_busy(self, busy: Busy) -> None:
        """What was taken on before a restart, or a start, waits for its place, however many do. Raises Busy."""
        if not (self._entry.again or self._has_waited) or self._place.stopped:
            raise busy
        await asyncio.sleep(min(busy.retry_in_s, _ASK_AGAIN_S))

    async def _end(self, ending: _Ending) -> _Ending:
        state = ledger.state_after(ending)
        reason = ending.reason if isinstance(ending, Ended) else None
        await asyncio.shield(self._entry.end(ending, self._turn(state, reason) if self._is_kept() else None))
        return ending

    def _turn(self, state: TurnState, reason: Reason | None = None) -> Turn:
        question = self._task.question
        return Turn(
            id=self._place.answer_id,
            chat=question.chat,
            person=question.person,
            role="assistant",
            text=self._text,
            thinking=self._thinking,
            captions=tuple(self._captions),
            parent_id=question.id,
            state=state,
            reason=reason,
            created_at=self._begun,
        )

    def _is_kept(self) -> bool:
        """Whether question and answer are, so that a button finds them."""
        return self._entry.reply.question_id is not None

    def _actions(self, reason: Reason) -> tuple[Action, ...]:
        if not self._is_kept():
            return ()
        can = self._inference.info.continues and (self._text or self._thinking)
        return tuple(action for action in AFTER[reason] if can or action is not Action.CONTINUE)

    def _ended(self, finished: Finished) -> Ended:
        usage, timings = finished.usage, finished.timings
        if self._spent is not None:
            usage = replace(
                usage,
                completion_tokens=usage.completion_tokens + self._spent.completion_tokens,
                thinking_tokens=usage.thinking_tokens + self._spent.thinking_tokens,
            )
            timings = self._since_the_beginning(timings)
        return Ended(
            reason=finished.reason,
            usage=usage,
            timings=timings,
            model=self._inference.info.name,
            settings=self._profile.changed(),
            actions=self._actions(finished.reason),
            thinking=self._profile.thinking,
        )

    def _since_the_beginning(self, timings: Timings) -> Timings:
        """As the person has seen it: all but the work of this process was waiting."""
        total_s = max(timings.total_s, self._now() - self._begun)
        worked_s = timings.total_s - timings.queued_s
        return replace(timings, queued_s=total_s - worked_s, time_to_first_token_s=None, total_s=total_s)


def _stopped() -> Finished:
    return Finished("cancelled", Usage(), Timings())
