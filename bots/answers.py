"""One answer, from its place in the line to its last word: captions, prompt, stream, and what is kept of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from bots import admission, conversations, prompt, wording
from bots.messages import (
    Action,
    Captioned,
    Ended,
    Failed,
    Incoming,
    Picture,
    ReplyEvent,
    Said,
    Started,
    Thought,
    Waiting,
)
from bots.ports import State, Storage, Turn
from bots.preferences import Profile
from inference.api import (
    Cancelled,
    CaptionRequest,
    ChatRequest,
    Finished,
    Inference,
    InferenceError,
    Queued,
    Reason,
    Sampling,
    Text,
    Thinking,
    Timings,
    Usage,
)

log = logging.getLogger(__name__)

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
        pictures: captioned first; alone, without a question about them, the captions are the answer.
        asks: whether the language model is asked at all.
        resumes: the answer that goes on growing, in the messages `message_ids`.
        anew: another answer is wanted to a question that has one, so a fixed seed would only repeat it.
    """

    question: Turn
    pictures: tuple[Picture, ...] = ()
    asks: bool = True
    new: bool = False
    resumes: Turn | None = None
    message_ids: tuple[str, ...] = ()
    anew: bool = False


class Answers:
    """Gives answers, one after the other for one person in one chat, and lets them be stopped."""

    def __init__(
        self, inference: Inference, storage: Storage, now: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._inference = inference
        self._storage = storage
        self._now = now
        self._new_id = new_id
        self._lines = admission.Lines()

    def waiting(self, chat: str, person: str) -> int:
        """How many messages of this person are being answered or wait in this chat."""
        return len(self._lines.of(chat, person))

    def stop(self, chat: str, person: str, answer_id: str | None) -> int | None:
        """Stops that answer, or all of the person's here; returns how many, None if it is not theirs."""
        places = self._lines.of(chat, person)
        if answer_id is not None:
            place = self._lines.find(answer_id)
            if place is not None and place.person != person:
                return None
            places = [place] if place is not None else []
        for place in places:
            place.stopped = True
            place.turn.set()
            self._inference.cancel(place.request_id)
        return len(places)

    async def give(self, incoming: Incoming, profile: Profile, task: Task) -> AsyncGenerator[ReplyEvent, None]:
        """Raises InferenceError."""
        old = task.resumes
        answer_id = old.id if old is not None else self._new_id()
        place = admission.Place(answer_id, incoming.chat, incoming.author.id, request_id=self._new_id())
        before = self._lines.join(place)
        try:
            yield Started(
                answer_id=answer_id,
                text=old.text if old else "",
                thinking=old.thinking if old else "",
                message_ids=task.message_ids,
                thinking_mode=profile.thinking,
            )
            if before:
                yield Waiting(before, None)
                await place.turn.wait()
            answer = _Answer(self._inference, self._storage, self._now, place, profile, task)
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
        place: admission.Place,
        profile: Profile,
        task: Task,
    ) -> None:
        self._inference = inference
        self._storage = storage
        self._now = now
        self._place = place
        self._profile = profile
        self._task = task
        self._text = task.resumes.text if task.resumes else ""
        self._thinking = task.resumes.thinking if task.resumes else ""
        self._captions: list[str] = []
        self._begun = now()

    async def events(self) -> AsyncGenerator[ReplyEvent, None]:
        if self._place.stopped:
            yield self._ended(_stopped())
            return
        await self._follow()
        async for caption in self._caption():
            yield caption
        if self._place.stopped or not self._task.asks:
            yield await self._end_with_captions()
            return
        async with aclosing(self._ask()) as events:
            async for event in events:
                yield event

    async def _follow(self) -> None:
        question = self._task.question
        if self._task.new and question.parent_id is None:
            head = await self._storage.head(question.chat, question.person)
            self._task = replace(self._task, question=replace(question, parent_id=head))

    async def _caption(self) -> AsyncGenerator[Captioned, None]:
        pictures = self._task.pictures
        begin = "" if self._task.asks else self._task.question.text
        for index, picture in enumerate(pictures):
            if self._place.stopped:
                return
            request = CaptionRequest(
                id=self._place.request_id, image=picture.data, prompt=begin, owner=self._profile.owner
            )
            try:
                caption = await self._inference.caption(request)
            except Cancelled:
                return
            self._captions.append(caption.text)
            yield Captioned(caption.text, index, len(pictures))

    async def _end_with_captions(self) -> Ended:
        self._text = "\n".join(self._captions)
        if self._text:
            what = self._task.question.text or "Describe the picture."
            await self._keep_question(replace(self._task.question, prompt=f"{what} (I sent a picture.)"))
            await self._keep_answer("stopped" if self._place.stopped else "done", None)
        reason: Reason = "cancelled" if self._place.stopped else "stop"
        timings = Timings(total_s=self._now() - self._begun)
        model = self._inference.info.captioner or ""
        return Ended(reason=reason, usage=Usage(), timings=timings, model=model)

    async def _ask(self) -> AsyncGenerator[ReplyEvent, None]:
        question = self._question()
        opening = self._opening(question)
        request = await self._request(question, self._sampling(), opening)
        if self._task.new:
            await self._keep_question(question)
        if self._task.resumes is None:
            # Whatever happens to this process, the answer can be asked for again.
            await self._keep_answer("streaming", None)
        finished: Finished | None = None
        failure: Failed | None = None
        if self._place.stopped:
            yield self._ended(_stopped())
            return
        try:
            async with aclosing(self._inference.stream(request)) as events:
                async for event in events:
                    match event:
                        case Queued(position, eta_s):
                            yield Waiting(position, eta_s)
                        case Thinking(text):
                            self._thinking += text
                            yield Thought(text)
                        case Text(text):
                            text, opening = opening + text, ""
                            self._text += text
                            yield Said(text)
                        case Finished():
                            finished = event
        except InferenceError as error:
            log.warning("request %s: %s", request.id, error)
            failure = Failed(wording.failure(error), AFTER["cancelled" if self._text else "stop"])
        finally:
            # Also when the stream failed or was given up: what was said is part of the conversation.
            await asyncio.shield(self._keep(finished))
        if finished is not None:
            yield self._ended(finished)
        elif failure is not None:
            yield failure

    def _sampling(self) -> Sampling:
        sampling = self._profile.sampling()
        return replace(sampling, seed=None) if self._task.anew else sampling

    def _question(self) -> Turn:
        question = self._task.question
        if self._captions:
            return replace(question, prompt=prompt.for_pictures(question.prompt or question.text, self._captions))
        return question

    def _opening(self, question: Turn) -> str:
        """A model that reasons first begins its answer itself."""
        info = self._inference.info
        if self._task.resumes is not None or info.reasoning or not info.holds_prefix:
            return ""
        return prompt.opening(question.prompt)

    async def _request(self, question: Turn, sampling: Sampling, opening: str) -> ChatRequest:
        earlier = []
        if question.parent_id is not None:
            earlier = list(await self._storage.branch(question.parent_id, conversations.MAX_TURNS))
        limit = conversations.prompt_limit(self._inference.info.context_tokens, sampling.max_new_tokens)
        turns = await conversations.fitting([*earlier, question], limit, self._inference.count_tokens)
        prefix = f"<think>{self._thinking}</think>\n\n{self._text}" if self._thinking else self._text + opening
        return ChatRequest(
            id=self._place.request_id, messages=turns, sampling=sampling, owner=self._profile.owner, prefix=prefix
        )

    async def _keep(self, finished: Finished | None) -> None:
        if finished is None:
            await self._keep_answer("failed", None)
        else:
            await self._keep_answer("stopped" if finished.reason == "cancelled" else "done", finished)

    async def _keep_question(self, question: Turn) -> None:
        await self._storage.put_turn(question)
        await self._storage.set_head(question.chat, question.person, question.id)

    async def _keep_answer(self, state: State, finished: Finished | None) -> None:
        question = self._task.question
        answer = Turn(
            id=self._place.answer_id,
            chat=question.chat,
            person=question.person,
            role="assistant",
            text=self._text,
            thinking=self._thinking,
            parent_id=question.id,
            state=state,
            reason=finished.reason if finished else None,
            created_at=self._now(),
        )
        await self._storage.put_turn(answer)
        await self._storage.set_head(question.chat, question.person, answer.id)

    def _ended(self, finished: Finished) -> Ended:
        return Ended(
            reason=finished.reason,
            usage=finished.usage,
            timings=finished.timings,
            model=self._inference.info.name,
            settings=self._profile.changed(),
            actions=AFTER[finished.reason] if self._text or self._thinking else (),
            thinking=self._profile.thinking,
        )


def _stopped() -> Finished:
    return Finished("cancelled", Usage(), Timings())
