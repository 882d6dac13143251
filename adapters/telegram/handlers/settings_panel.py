"""The settings of one person as one message with buttons, which changes in place."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from telegram import Bot as Api
from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from adapters.delivery.channel import ChannelError, Forbidden, Frame, Limits, Rejected
from adapters.delivery.outcome import Outcome
from adapters.telegram.client.addresses import Destination
from adapters.telegram.outbound.callback_data import PanelData, PanelPress
from adapters.telegram.outbound.channel import Sightings, TelegramChannel
from adapters.telegram.outbound.reply_sender import ReplySender
from bots import wording
from bots.bot import Bot
from bots.messages import Notice
from bots.profile.preferences import PRESETS, Profile, Setting

log = logging.getLogger(__name__)

_REMEMBERED = 10_000
_STEPS = {"temperature": 0.05, "top_p": 0.05, "max_tokens": 50.0}
"""What one press of + or - is worth."""
RESET, CLOSE, SHOW = "reset", "close", "show"


def panel_keyboard(settings: dict[str, Setting], profile: Profile, owner: str, data: PanelData) -> InlineKeyboardMarkup:
    def button(label: str, setting: str, value: str) -> InlineKeyboardButton:
        return InlineKeyboardButton(label, callback_data=data.write(PanelPress(owner, setting, value)))

    rows = [
        [
            button("−", name, "-"),
            button(f"{settings[name].label} {profile[name]}", name, SHOW),
            button("+", name, "+"),
        ]
        for name in _STEPS
    ]
    for name, values in (("preset", tuple(PRESETS)), ("thinking", settings["thinking"].choices)):
        rows.append([button(f"• {value} •" if profile[name] == value else value, name, value) for value in values])
    rows.append([button(wording.reset_button(), RESET, ""), button(wording.close_button(), CLOSE, "")])
    return InlineKeyboardMarkup(rows)


def stepped(setting: Setting, value: str, direction: str) -> str:
    """The next value up or down, on a grid of steps, within what is allowed."""
    step = _STEPS[setting.name]
    place = float(value) / step
    # A value between two steps goes to the nearer end of its own interval.
    number = math.floor(place + 1 + 1e-9) if direction == "+" else math.ceil(place - 1 - 1e-9)
    return f"{min(max(number * step, setting.low), setting.high):g}"


class PanelChannel(TelegramChannel):
    """A channel for one notice with the buttons of the panel.

    Args:
        replaces: the panel that is there already: what is sent takes its place.
    """

    def __init__(
        self,
        api: Api,
        destination: Destination,
        limits: Limits,
        sightings: Sightings,
        buttons: InlineKeyboardMarkup | None,
        replaces: str | None = None,
        asked: str | None = None,
        is_recorded: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        super().__init__(api, destination, limits, sightings, asked, is_recorded)
        self._buttons = buttons
        self._replaces = replaces
        self.shown: str | None = None
        """The message that shows the panel, once it is there."""

    def keyboard(self, frame: Frame) -> InlineKeyboardMarkup | None:
        return self._buttons

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        if self._replaces is None:
            self.shown = await super().send(frame, reply_to=reply_to, nonce=nonce)
            return self.shown
        return await self.edit(self._replaces, frame) or self._replaces


class Panels:
    """Shows people their settings, and reads the buttons under them."""

    def __init__(self, bot: Bot, post: ReplySender, token: str) -> None:
        self._bot = bot
        self._post = post
        self._data = PanelData(token)
        self._open: OrderedDict[tuple[str, str], str] = OrderedDict()
        """Each person's newest panel in each chat."""

    def read(self, data: str) -> PanelPress | None:
        """What a panel's button says; None for anything else."""
        return self._data.read(data)

    async def close(self, destination: Destination, message_id: str) -> None:
        """Delete the panel; one that is too old for that is left without its buttons."""
        for key in [
            key for key, open_now in self._open.items() if (key[0], open_now) == (destination.chat, message_id)
        ]:
            del self._open[key]
        channel = self._post.channel(destination)
        try:
            await channel.delete(message_id)
        except (Forbidden, Rejected):
            with suppress(ChannelError):
                await channel.edit(message_id, Frame(status=wording.settings_closed()))
        except ChannelError as error:
            log.info("%s: a panel stays: %s", destination.chat, error)

    async def show(
        self,
        destination: Destination,
        owner: str,
        *,
        words: Notice | None = None,
        reply_to: str | None = None,
        replaces: str | None = None,
    ) -> Outcome:
        """A new panel under the message `reply_to`, or today's settings in the panel that is there.

        Where the person has one open in that chat, the new one takes its place: two would show different values.

        Args:
            words: what the panel is shown in place of; a panel that an earlier process opened for them is not opened
                again.
        """
        settings, profile = self._bot.settings, await self._bot.profile(owner)
        channel = PanelChannel(
            self._post.api,
            destination,
            self._post.limits(destination),
            self._post.sightings,
            panel_keyboard(settings, profile, owner, self._data),
            replaces,
            reply_to,
            self._post.is_recorded_in(destination),
        )
        text = wording.settings_list(settings, {name: profile[name] for name in settings})
        panel = replace(words or Notice("", private=True), text=text)
        outcome = await self._post.say(
            destination, panel, asker=owner, reply_to=reply_to, channel=channel, state_of=replaces or ""
        )
        if channel.shown is not None:
            await self._close_earlier(destination, owner, channel.shown)
        return outcome

    async def _close_earlier(self, destination: Destination, owner: str, newest: str) -> None:
        key = destination.chat, owner
        earlier = self._open.pop(key, None)
        self._open[key] = newest
        if len(self._open) > _REMEMBERED:
            self._open.popitem(last=False)
        if earlier is not None and earlier != newest:
            await self.close(destination, earlier)
