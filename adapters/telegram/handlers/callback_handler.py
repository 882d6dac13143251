"""From a pressed button to what it does: to an answer, or to the settings of the person who pressed."""

from __future__ import annotations

import time
from contextlib import aclosing, suppress
from dataclasses import replace

from telegram.constants import ChatMemberStatus
from telegram.error import TelegramError

from adapters.delivery.outcome import NOTHING, Outcome
from adapters.telegram.client.addresses import person_id, user_id
from adapters.telegram.client.retry import patiently
from adapters.telegram.handlers.edits import EditableQuestions
from adapters.telegram.handlers.keyed_lock import KeyedLock
from adapters.telegram.handlers.settings_panel import CLOSE, RESET, SHOW, Panels, stepped
from adapters.telegram.outbound.callback_data import PanelPress, read_action
from adapters.telegram.outbound.reply_sender import ReplySender, beginning_with
from adapters.telegram.updates.parsing import ButtonPress
from bots import wording
from bots.access.gate import Call, Unheard
from bots.access.rights import Thing, Verb
from bots.bot import Bot
from bots.conversation.ledger import answer_id, written
from bots.messages import Action, Holds, Incoming, Notice, Permit, Person, Refusal
from bots.ports import ReplyRecord, Storage, taken_over
from bots.profile.preferences import UserError

_TOAST_CHARACTERS = 200


class CallbackHandler:
    """Does what buttons say."""

    def __init__(
        self, bot: Bot, storage: Storage, post: ReplySender, questions: EditableQuestions, panels: Panels
    ) -> None:
        self._bot = bot
        self._storage = storage
        self._post = post
        self._questions = questions
        self._panels = panels
        self._steps = KeyedLock()

    async def press(self, event_id: str, pressed: ButtonPress) -> Outcome:
        """Answers the query, so that the button does not go on spinning.

        Foreign data does nothing, and neither does data that the message does not carry.
        """
        action = read_action(pressed.data)
        panel = self._panels.read(pressed.data)
        if action is None and panel is None:
            return await self._mean_nothing(pressed, "")
        if not pressed.carried:
            return await self._mean_nothing(pressed, wording.button_is_old())
        if action is not None:
            return await self._act(event_id, pressed, action)
        return await self._adjust(event_id, pressed, panel) if panel is not None else NOTHING

    async def _mean_nothing(self, pressed: ButtonPress, said: str) -> Outcome:
        """Only a modified client sends many of these; beyond the rate not even the query is answered."""
        try:
            await self._bot.enter(self._call(pressed, Thing.WORDS, Verb.SEE))
        except Unheard:
            return NOTHING
        except UserError as refusal:
            said = str(refusal)
        await self._toast(pressed, said, alert=bool(said))
        return NOTHING

    async def _is_old(self, pressed: ButtonPress) -> Outcome:
        await self._toast(pressed, wording.button_is_old(), alert=True)
        return NOTHING

    async def apologise(self, pressed: ButtonPress) -> Outcome:
        """What the button says could not be done."""
        await self._toast(pressed, wording.broken(), alert=True)
        return NOTHING

    def _holds(self, pressed: ButtonPress) -> Holds:
        """An admin acts for the chat, too: who writes in its name presses buttons under their own."""

        async def holds(owner: str) -> bool:
            return owner == person_id(pressed.destination.chat_id) and await self._is_admin(pressed)

        return holds

    async def _is_admin(self, pressed: ButtonPress) -> bool:
        chat, person = pressed.destination.chat_id, user_id(pressed.author.id)
        with suppress(TelegramError):
            member = await patiently(lambda: self._post.api.get_chat_member(chat, person))
            return member.status in (ChatMemberStatus.ADMINISTRATOR, ChatMemberStatus.OWNER)
        return False

    async def _act(self, event_id: str, pressed: ButtonPress, action: Action) -> Outcome:
        incoming = Incoming(
            event_id=event_id,
            chat=pressed.destination.chat,
            author=pressed.author,
            places=pressed.destination.places,
            direct=pressed.destination.is_private,
            group=pressed.destination.group,
            text=action.command,
            reply_to=pressed.message_id,
            holds=self._holds(pressed),
            budget=self._post.budget(pressed.destination),
            new=pressed.new,
        )
        incoming = await self._bot.admit(incoming)
        async with aclosing(self._bot.respond(incoming)) as events:
            first = await anext(events, None)
            if first is None or isinstance(first, Notice):
                await self._toast(pressed, first.text if first else "", alert=first is not None and first.refused)
                return NOTHING
            await self._toast(pressed, "")
            with self._questions.answering(_in_the_name_of(incoming.decision, pressed), first):
                replying = beginning_with(first, events)
                return await self._post.deliver(
                    pressed.destination, replying, asker=pressed.author.id, reply_to=pressed.asked_by
                )

    async def _adjust(self, event_id: str, pressed: ButtonPress, panel: PanelPress) -> Outcome:
        try:
            await self._bot.enter(self._call(pressed, Thing.PANEL, Verb.PRESS, panel.owner))
        except UserError as refusal:
            await self._toast(pressed, str(refusal), alert=True)
            return NOTHING
        except Unheard:
            await self._toast(pressed, "")
            return NOTHING
        if await self._questions.owner_of(pressed) is not None:  # an answer is never edited or deleted as a panel
            return await self._is_old(pressed)
        if panel.setting == CLOSE:
            await self._toast(pressed, "")
            await self._panels.close(pressed.destination, pressed.message_id)
            return NOTHING
        try:
            async with self._steps.locked(panel.owner):  # a step starts from the value that the step before it stored
                said = await self._changed_once(event_id, pressed, panel)
        except UserError as refusal:
            await self._toast(pressed, str(refusal), alert=True)
            return NOTHING
        await self._toast(pressed, said, alert=panel.value == SHOW)
        if panel.value == SHOW:
            return NOTHING
        return await self._panels.show(pressed.destination, panel.owner, replaces=pressed.message_id)

    def _call(self, pressed: ButtonPress, thing: Thing, verb: Verb, owner: str = "") -> Call:
        here = pressed.destination
        return Call(
            actor=pressed.author.id,
            thing=thing,
            verb=verb,
            chat=here.chat,
            places=here.places,
            direct=here.is_private,
            owner=owner,
            holds=self._holds(pressed),
            budget=self._post.budget(here),
            new=pressed.new,
        )

    async def _changed_once(self, event_id: str, pressed: ButtonPress, panel: PanelPress) -> str:
        """A step up is not made again by whoever finds that the panel does not show it yet.

        Raises:
            Refused, Interrupted.
        """
        if panel.value == SHOW:
            return await self._change(panel)
        chat = pressed.destination.chat
        name, now = answer_id(chat, event_id), time.time()
        reply = ReplyRecord(chat=chat, event_id=event_id, answer_id=name, person=panel.owner, created_at=now)
        kept = await self._storage.claim(reply)
        if kept is None:
            raise taken_over(reply)
        if kept.ending:
            return ""
        said = await self._change(panel)
        await self._storage.end(replace(kept, state="done", ending=written(Notice(said, private=True))), None)
        await self._storage.record_shown(chat, name)
        return said

    async def _change(self, panel: PanelPress) -> str:
        """Raises Refused."""
        if panel.setting == RESET:
            return await self._bot.reset_settings(panel.owner)
        setting = self._bot.settings.get(panel.setting)
        if setting is None:
            return ""
        value = (await self._bot.profile(panel.owner))[setting.name]
        if panel.value == SHOW:
            return wording.setting_is(setting, value)
        wanted = stepped(setting, value, panel.value) if panel.value in ("+", "-") else panel.value
        if wanted == value and panel.value in ("+", "-"):
            return wording.setting_at_its_end(setting, value)
        return await self._bot.change_setting(panel.owner, setting.name, wanted)

    async def _toast(self, pressed: ButtonPress, text: str, alert: bool = False) -> None:
        """A query that is too old, after a restart, is nobody's loss."""
        if len(text) > _TOAST_CHARACTERS:
            text = text[: _TOAST_CHARACTERS - 1] + "…"
        api = self._post.api
        with suppress(TelegramError):
            await patiently(lambda: api.answer_callback_query(pressed.query_id, text=text or None, show_alert=alert))


def _in_the_name_of(decision: Permit | Refusal | None, pressed: ButtonPress) -> ButtonPress:
    """The press as one of whom it is done for."""
    if not isinstance(decision, Permit):
        return pressed
    return replace(pressed, author=Person(decision.account, pressed.author.name))
