"""What the bot does, on any platform: one `Incoming` in, a stream of reply events out."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

from bots import wording
from bots.access.allow_list import Access
from bots.access.gate import Call, Gate, Unheard, call_of
from bots.access.standing import Standings
from bots.commands.picture_words import beginning_of_caption, wants_caption, wants_description
from bots.commands.registry import ASKING, Called, asks, is_stop, read
from bots.conversation import ledger, person_queue, prompt
from bots.conversation.answers import AFTER, Answers, Task
from bots.conversation.coming import Coming, Sent
from bots.conversation.reply_claim import ReplyClaim
from bots.messages import Attached, Failed, Incoming, Notice, Permit, Person, Refusal, ReplyEvent, Started
from bots.people import account
from bots.people.remembered import RememberedCaptions
from bots.people.usage import QuotaClaim
from bots.ports import ReplyRecord, Storage, StorageError, Turn
from bots.profile.preferences import BOUNDED, Profile, Setting, SettingBounds, UserError, change, settings_of, within
from inference.api import Inference, InferenceError, Interrupted

log = logging.getLogger(__name__)

_TAKEN_BACK_WITHIN_S = 2.0
"""How long a stop waits until the events that it takes back are closed: a restart does not find them again then."""
_LONGEST_NAME = 64
"""Of a setting that somebody may have meant: longer words are compared to none."""


class Bot:
    """The same bot for every platform.

    Args:
        now: seconds since the epoch; for the dates of what is kept.
        new_id: unique ids, for requests and turns.
        own: what people can see and do about their own data; without quotas and pictures if it is not given.
        access: who is served; None for everybody.
        standings: how well people are known; everybody is new where it is not given.
    """

    def __init__(
        self,
        inference: Inference,
        storage: Storage,
        *,
        bounds: SettingBounds,
        now: Callable[[], float],
        new_id: Callable[[], str],
        own: account.Account | None = None,
        access: Access | None = None,
        standings: Standings | None = None,
    ) -> None:
        self._inference = inference
        self._storage = storage
        self._bounds = bounds
        self._now = now
        self._new_id = new_id
        self._answers = Answers(inference, storage, now, new_id)
        self._seen = person_queue.SeenEvents()
        self._standings = standings or Standings()
        self.settings = settings_of(bounds)
        self.account = own or account.Account(storage, now=now)
        self.account.privacy.keeps(RememberedCaptions(inference))
        access = access or Access()
        self.owners = frozenset(access.owners)
        """The operators' accounts."""
        self.coming: Coming = self._answers.coming
        """Where platforms note what they have received before they do anything for it."""
        self._gate = Gate(access, now, self._owner_of, self.account.meter.spent)

    async def respond(self, incoming: Incoming) -> AsyncGenerator[ReplyEvent, None]:
        """Answers one message, command or pressed button; nothing at all for an event whose answer is shown.

        What an earlier process began and did not finish goes on, in the messages that show it.
        Every failure ends in one `Failed` event. Close the generator to give the answer up.

        Raises:
            Interrupted: the program is being stopped, or another process has the event now. Nothing is marked and
                nothing said: whoever gets the event next goes on, in the same messages.
        """
        if self._seen.before(incoming):
            raise Interrupted(f"event {incoming.event_id} is in other hands")
        whole = False
        noted = self.coming.find(incoming.event_id, incoming.chat)
        sent = noted or self._sent(incoming)
        try:
            async with aclosing(self._once(incoming, sent)) as events:
                async for event in events:
                    yield event
            whole = True
        finally:
            if noted is None:
                self.coming.remove(sent)
            if not whole:
                self._seen.forget(incoming)

    def _sent(self, incoming: Incoming) -> Sent:
        """The event as one that is on its way to its line, where its platform has nothing to do before that.

        What is not new counts as the oldest: a stop that a platform makes by itself takes nothing back.
        """
        at, is_asked = self._now() if incoming.new else float("-inf"), asks(incoming.text)
        return self.coming.add(incoming.event_id, incoming.chat, incoming.author.id, at, asks=lambda: is_asked)

    async def close(self, incoming: Incoming) -> AsyncGenerator[ReplyEvent, None]:
        """End the reply to an event that was left for too long: what is shown of it gets an end, nothing is generated.

        Yields nothing if nothing of it is shown.
        """
        kept = await self._storage.reply(incoming.chat, incoming.event_id)
        if kept is None or kept.shown:
            return
        entry = ReplyClaim(self._storage, kept, new=False)
        if not await entry.claim():
            return
        answer, shown = await self._kept(entry.reply)
        if not shown:
            return
        if not entry.reply.ending:
            await self._inference.ready()
            answer = replace(answer, state="failed", reason=None) if answer else None
            await entry.end(self._closing(entry.reply, answer), answer)
        for event in ledger.repeated(entry.reply, answer, shown):
            yield event

    def _closing(self, reply: ReplyRecord, answer: Turn | None) -> Failed:
        if answer is None or reply.question_id is None:
            return Failed(wording.too_late())
        if self._inference.info.continues and (answer.text or answer.thinking):
            return Failed(wording.interrupted(), AFTER["cancelled"])
        return Failed(wording.cut_off(), AFTER["stop"])

    async def _once(self, incoming: Incoming, sent: Sent) -> AsyncGenerator[ReplyEvent, None]:
        """Takes the event on, unless it is another process's, or goes on with what an earlier one began."""
        if _is_over(incoming, sent):
            return
        entry = ReplyClaim(self._storage, self._new_reply(incoming), new=incoming.new)
        try:
            incoming = await self._let_in(incoming)
            entry.reply = replace(entry.reply, person=incoming.author.id)
            async with aclosing(self._in_turn(incoming, entry, sent)) as events:
                async for event in events:
                    entry.started |= isinstance(event, Started)
                    if isinstance(event, Notice | Attached) and not event.id:
                        event = await entry.say(event)
                    yield event
        except Unheard:
            return
        except UserError as refusal:
            yield await entry.say(Notice(str(refusal), private=True, refused=True))
        except Interrupted as error:
            # Its platform has a line for it, and a stop may hit many.
            log.debug("event %s of %s is left to whoever takes it up: %s", incoming.event_id, incoming.chat, error)
            raise
        except InferenceError as error:
            log.info("event %s of %s: %s", incoming.event_id, incoming.chat, error)
            for event in await entry.fail(wording.failure(error)):
                yield event
        except Exception:
            # The edge where a defect becomes a sentence; the traceback goes to the log alone.
            log.exception("event %s of %s failed", incoming.event_id, incoming.chat)
            for event in await entry.fail(wording.broken()):
                yield event

    def _new_reply(self, incoming: Incoming) -> ReplyRecord:
        return ReplyRecord(
            chat=incoming.chat,
            event_id=incoming.event_id,
            answer_id=ledger.answer_id(incoming.chat, incoming.event_id),
            person=incoming.author.id,
            created_at=self._now(),
        )

    async def _let_in(self, incoming: Incoming) -> Incoming:
        """Return the message as it goes on behind the gate: in the name of the account that it is done for.

        Raises:
            Refused, Unheard: the gate refuses it.
        """
        decision = incoming.decision or await self._gate.decide(call_of(incoming))
        if isinstance(decision, Refusal):
            raise Unheard if decision.silent else UserError(decision.sentence)
        return replace(incoming, decision=decision, author=Person(decision.account, incoming.author.name))

    async def _in_turn(self, incoming: Incoming, entry: ReplyClaim, sent: Sent) -> AsyncGenerator[ReplyEvent, None]:
        async with AsyncExitStack() as door:
            if not is_stop(incoming.text):  # which finds what comes to the line, too, and waits for nothing
                await door.enter_async_context(self._answers.door(incoming))
            if incoming.new:
                entry.claim_soon()
            elif not await entry.claim():
                return
            async with aclosing(self._route(incoming, entry, sent)) as events:
                async for event in events:
                    # With its first event a reply has its place in the line.
                    await door.aclose()
                    yield event
                    await entry.claimed()

    async def profile(self, person: str, places: Sequence[str] = ()) -> Profile:
        """The person's settings, within the bounds that hold in these places."""
        known = await self._storage.known(person, places)
        settings = self.settings
        for bounds in known.places:
            settings = within(settings, bounds)
        standing = self._standings.of(known.people, known.since, self._now())
        return Profile(settings, known.settings, self._bounds, known.people, standing)

    async def is_known(self, person: str) -> bool:
        """Whether the person has had an answer on an earlier day, or was named by the operator."""
        return (await self.profile(person)).standing == "known"

    async def bound(self, place: str, name: str, value: str) -> str:
        """Sets the highest value of a setting in a place, none for "off"; returns the sentence that says so.

        Raises:
            Refused: there is no such setting to bound, or it cannot have this value.
        """
        setting = self._setting(name)
        if setting.name not in BOUNDED:
            raise UserError(wording.unknown_setting("", BOUNDED, None))
        bound = None if value == "off" else setting.parse(value)
        await self._storage.set_preferences(place, {setting.name: bound})
        return wording.place_bound(setting, bound)

    async def enter(self, call: Call) -> Permit:
        """Let somebody do something that is no message: whoever does it for them asks here first.

        Raises:
            Refused, Unheard: it must not be done.
            StorageError: it cannot be decided.
        """
        return await self._gate.enter(call)

    def is_stranger(self, incoming: Incoming) -> bool:
        """Whether the message will be refused, whatever it is: nothing need be looked up for it."""
        return self._gate.is_stranger(call_of(incoming))

    async def admit(self, incoming: Incoming, *, files: bool = False) -> Incoming:
        """Return the message with the gate's decision, for a platform that does something before `respond`.

        What has no `Permit` is still to be given to `respond`, which says why. Nothing may be fetched, shown or taken
        back for it.

        Args:
            files: there are files to be fetched.
        """
        try:
            return replace(incoming, decision=await self._gate.decide(call_of(incoming, files=files)))
        except StorageError:
            return incoming  # `respond` says so

    async def _owner_of(self, chat: str, message_id: str) -> str | None:
        """Whose answer the message shows; None where it shows none."""
        answer_id = await self._storage.answer_at(chat, message_id)
        if answer_id is None:
            return None
        if (person := self._answers.person_of(answer_id)) is not None:
            return person
        turn = await self._storage.turn(answer_id)
        return turn.person if turn is not None else None

    async def change_setting(self, person: str, name: str, value: str) -> str:
        """Sets one setting and returns the sentence that says so. `person` has passed the gate.

        Raises:
            Refused: there is no such setting, or it cannot have this value.
        """
        setting = self._setting(name)
        values = change(setting, value)
        await self._storage.set_preferences(person, values)
        if setting.name == "preset":
            return wording.preset_changed(setting.parse(value))
        profile = await self.profile(person)
        pair = ("temperature", "top_p")
        both = name in pair and all(profile[each] != self.settings[each].default for each in pair)
        return wording.setting_changed(setting, profile[name], hint=both and profile["preset"] == "custom")

    async def reset_settings(self, person: str) -> str:
        await self._storage.set_preferences(person, dict.fromkeys(self.settings))
        return wording.settings_were_reset()

    async def _route(self, incoming: Incoming, entry: ReplyClaim, sent: Sent) -> AsyncGenerator[ReplyEvent, None]:
        if entry.reply.ending:
            answer, shown = await self._kept(entry.reply)
            for event in ledger.repeated(entry.reply, answer, shown):
                yield event
            return
        if (task := await self._begun(entry.reply)) is not None:
            async with aclosing(self._give(incoming, task, entry, sent)) as events:
                async for event in events:
                    yield event
            return
        if _is_over(incoming, sent):
            return
        if (refusal := person_queue.refusal(incoming)) is not None:
            raise UserError(refusal)
        called = read(incoming.text)
        if called is None:
            task = await self._plain(incoming, incoming.text)
        elif called.name in ASKING:
            task = await self._task(incoming, called)
        elif called.name in account.COMMANDS:
            if called.name == "link" and incoming.shared:
                raise UserError(wording.link_of_several())
            await entry.claimed()  # what is erased includes this reply
            own = await self.account.do(incoming.author.id, called, incoming.author.name)
            yield await self._with_news(incoming, own)
        else:
            said = await self._say(incoming, called, sent)
            if _is_quiet(incoming):
                return
            yield await self._with_news(incoming, Notice(said, private=True))
        if task is None:
            return
        if self._answers.waiting(incoming.chat, incoming.author.id) >= person_queue.MAX_LINE:
            raise UserError(wording.too_many_waiting(person_queue.MAX_LINE))
        async with aclosing(self._give(incoming, task, entry, sent)) as events:
            async for event in events:
                yield event

    async def _give(
        self, incoming: Incoming, task: Task, entry: ReplyClaim, sent: Sent
    ) -> AsyncGenerator[ReplyEvent, None]:
        profile = await self.profile(incoming.author.id, incoming.places)
        # What was begun before a restart was admitted then.
        tokens = 0 if task.resumes and task.asked else profile.sampling().max_new_tokens
        asked = QuotaClaim(tokens if task.asks else 0, len(task.pictures))
        answer = self._answers.give(incoming, profile, task, entry, sent)
        entry.tally = self.account.meter.tally(incoming.author.id, task.captions_begun)
        async with aclosing(self.account.meter.metered(entry.tally, profile.people, asked, answer)) as events:
            async for event in events:
                yield event

    async def _with_news(self, incoming: Incoming, own: Notice | Attached) -> Notice | Attached:
        """The bot's own words, and where nobody else sees them, what others have done to this person's links."""
        alone = incoming.direct or (isinstance(own, Notice) and bool(own.otherwise))
        try:
            news = await self.account.news(incoming.author.id) if alone else ""
        except StorageError as error:  # they are told with the next words
            log.warning("news of links are told later: %s", error)
            news = ""
        return replace(own, text=f"{own.text}\n\n{news}") if news else own

    async def _kept(self, reply: ReplyRecord) -> tuple[Turn | None, tuple[str, ...]]:
        """The answer as far as it is kept, and the messages that show it."""
        shown = await self._storage.delivered(reply.chat, reply.answer_id)
        return await self._storage.turn(reply.answer_id), shown.message_ids

    async def _begun(self, reply: ReplyRecord) -> Task | None:
        """What is left to do of an answer that an earlier process was writing; None where nothing of it is kept."""
        if reply.question_id is None:
            return None
        answer, shown = await self._kept(reply)
        question = await self._storage.turn(reply.question_id)
        if answer is None or question is None:
            return None
        return Task(question=question, resumes=answer, message_ids=shown, asked=ledger.read_asked(reply.request))

    async def _task(self, incoming: Incoming, called: Called) -> Task:
        if called.name == "regenerate":
            return await self._regenerate(incoming)
        if called.name == "continue":
            return await self._continue(incoming)
        if called.name == "caption":
            if not incoming.pictures:
                raise UserError(wording.needs_picture())
            task = await self._plain(incoming, called.argument)
            begins = beginning_of_caption(called.argument)
            asks = not begins and not wants_caption(called.argument)
            return replace(task, asks=asks, caption_begins=begins)
        if not called.argument and not incoming.pictures:
            raise UserError(wording.needs_argument(called.name))
        task = await self._plain(incoming, called.argument)
        if called.name == "code" and called.argument:
            question = replace(task.question, prompt=prompt.for_code(called.argument))
            return replace(task, question=question, asks=True)
        return task

    async def _plain(self, incoming: Incoming, text: str) -> Task:
        if incoming.pictures and self._inference.info.captioner is None and self._inference.loading() is None:
            raise UserError(wording.no_captioner())
        text = text.strip()
        earlier = await self._earlier_question(incoming)
        question = Turn(
            id=self._new_id(),
            chat=incoming.chat,
            person=incoming.author.id,
            role="user",
            text=text,
            parent_id=earlier.parent_id if earlier else await self._branched_from(incoming),
            created_at=self._now(),
            hidden=incoming.hidden,
        )
        asks = not incoming.pictures or not wants_description(text)
        begins = earlier is not None and earlier.parent_id is None
        return Task(question=question, pictures=incoming.pictures, asks=asks, new=True, begins=begins)

    async def _earlier_question(self, incoming: Incoming) -> Turn | None:
        """The question that this one takes the place of, in its conversation too."""
        answer = await self._storage.turn(incoming.instead_of) if incoming.instead_of else None
        return await self._storage.turn(answer.parent_id) if answer and answer.parent_id else None

    async def _branched_from(self, incoming: Incoming) -> str | None:
        """A reply to an older answer branches the conversation there; one to the bot's own words does not."""
        if incoming.reply_to is None:
            return None
        answer_id = await self._storage.answer_at(incoming.chat, incoming.reply_to)
        return answer_id if answer_id and await self._storage.turn(answer_id) else None

    async def _regenerate(self, incoming: Incoming) -> Task:
        answer = await self._answer(incoming)
        question = await self._storage.turn(answer.parent_id) if answer and answer.parent_id else None
        if answer is None or question is None or not (question.prompt or question.text):
            raise UserError(wording.nothing_to_regenerate())
        if answer.reason is None and answer.state in ("done", "stopped"):
            raise UserError(wording.caption_again())
        return Task(question=question, anew=True)

    async def _continue(self, incoming: Incoming) -> Task:
        answer = await self._answer(incoming)
        question = await self._storage.turn(answer.parent_id) if answer and answer.parent_id else None
        if answer is None or question is None:
            raise UserError(wording.nothing_to_continue())
        if self._answers.is_underway(answer.id):
            raise UserError(wording.underway_already())
        if answer.reason == "stop":
            raise UserError(wording.finished_already())
        shown = await self._storage.delivered(incoming.chat, answer.id)
        return Task(question=question, resumes=answer, message_ids=shown.message_ids)

    async def _answer(self, incoming: Incoming) -> Turn | None:
        """The person's answer whose button was pressed, else their newest one here."""
        person = incoming.author.id
        if incoming.reply_to is not None:
            answer_id = await self._storage.answer_at(incoming.chat, incoming.reply_to)
        else:
            answer_id = await self._storage.head(incoming.chat, person)
        turn = await self._storage.turn(answer_id) if answer_id else None
        if turn is not None and turn.person != person:
            raise UserError(wording.not_yours())
        return turn if turn is not None and turn.role == "assistant" else None

    async def _say(self, incoming: Incoming, called: Called, sent: Sent) -> str:
        """The bot's own words to a command that asks the model nothing."""
        person = incoming.author.id
        match called.name:
            case "settings":
                return await self._all_settings(person, called.argument)
            case "stop":
                return await self._stop(incoming, sent)
            case "reset":
                await self._storage.set_head(incoming.chat, person, None)
                return wording.was_reset()
            case "examples":
                return wording.examples()
            case "help" | "start":
                return wording.help_text(self._inference.info)
        if called.name in self.settings:
            return await self._one_setting(person, called.name, called.argument)
        raise UserError(wording.unknown_command(called))

    async def _stop(self, incoming: Incoming, sent: Sent) -> str:
        answer_id = incoming.instead_of
        if incoming.reply_to is not None:
            answer_id = await self._storage.answer_at(incoming.chat, incoming.reply_to)
        permit = incoming.decision
        person = incoming.author.id
        if answer_id is not None and isinstance(permit, Permit) and permit.moderates:
            person = self._answers.person_of(answer_id) or person
        count = self._answers.stop(incoming.chat, person, answer_id)
        if count is None:
            raise UserError(wording.not_yours())
        if answer_id is None:
            count += await self._take_back(sent)
        return wording.stopped(count) if count else wording.nothing_to_stop()

    async def _take_back(self, stop: Sent) -> int:
        """Take back what the person has asked here before, and what is not in the line yet; returns how much."""
        found = await self.coming.take_back(stop)
        if found:
            closed = [asyncio.ensure_future(each.over.wait()) for each in found]
            try:
                await asyncio.wait(closed, timeout=_TAKEN_BACK_WITHIN_S)
            finally:
                for each in closed:
                    each.cancel()
        return len(found)

    async def _all_settings(self, person: str, argument: str) -> str:
        if argument.lower() == "reset":
            return await self.reset_settings(person)
        if argument:
            name, _, value = argument.partition(" ")
            return await self._one_setting(person, name.lower(), value)
        profile = await self.profile(person)
        return wording.settings_list(self.settings, {name: profile[name] for name in self.settings})

    async def _one_setting(self, person: str, name: str, value: str) -> str:
        setting = self._setting(name)
        if not value.strip():
            return wording.setting_is(setting, (await self.profile(person))[setting.name])
        return await self.change_setting(person, setting.name, value)

    def _setting(self, name: str) -> Setting:
        name = name.replace("-", "_")
        if name in self.settings:
            return self.settings[name]
        close = difflib.get_close_matches(name, self.settings, n=1) if len(name) <= _LONGEST_NAME else []
        raise UserError(
            wording.unknown_setting(name if close else "", list(self.settings), close[0] if close else None)
        )


def _is_over(incoming: Incoming, sent: Sent) -> bool:
    """Whether nothing need be said to the event: it was taken back before anything of its answer was shown."""
    return sent.is_taken_back and incoming.new


def _is_quiet(incoming: Incoming) -> bool:
    return isinstance(incoming.decision, Permit) and incoming.decision.quiet
