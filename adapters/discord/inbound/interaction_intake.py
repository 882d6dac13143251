"""Every interaction is acknowledged first, and recorded beside that; then it is an event like a message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import aiohttp
import discord

from adapters.discord.access import Where, is_allowed, may_manage_messages, may_manage_server
from adapters.discord.client.retry import patiently
from adapters.discord.inbound.event_handler import DiscordEventHandler
from adapters.discord.inbound.events import DiscordEvent, File, place
from adapters.discord.inbound.guild_state import GuildState
from adapters.discord.inbound.parsing import above
from adapters.discord.outbound.interaction_channel import Deferred, InteractionToken
from bots import wording
from bots.access.gate import Call, Unheard
from bots.access.rights import Thing, Verb
from bots.messages import Permit, Refusal
from bots.profile.preferences import UserError
from config.settings import DiscordSettings

log = logging.getLogger(__name__)

IN_TIME_S = 1.2
"""How long a look at the database may take before an acknowledgement."""
_ATTEMPTS = 3
_ACKNOWLEDGED_ALREADY = 40060


@dataclass(kw_only=True)
class InteractionIntake:
    """Where interactions come in: Discord gives three seconds for the acknowledgement, whatever else goes on.

    What the gate refuses is not acknowledged as an answer that begins: its sentence is the whole response.
    """

    answers: DiscordEventHandler
    places: GuildState
    settings: DiscordSettings

    async def accept(
        self,
        interaction: discord.Interaction,
        text: str,
        *,
        deferred: Deferred = "shown",
        files: Sequence[File] = (),
        replies_to: str | None = None,
        on_behalf: bool = False,
    ) -> None:
        """Acknowledges, records and answers.

        Raises:
            StorageError: it was not recorded; it was acknowledged all the same, unless that came too late.
            TimeoutError: it was too late before it could be acknowledged.
        """
        since = asyncio.get_running_loop().time()
        if not await self.lets_in(interaction):
            return
        event = DiscordEvent(
            id=str(interaction.id),
            channel=str(interaction.channel_id),
            above=above(interaction.channel),
            guild=str(interaction.guild_id or ""),
            author=str(interaction.user.id),
            name=interaction.user.display_name,
            text=text,
            files=tuple(files),
            question=replies_to if deferred == "pressed" else None,
            replies_to=replies_to,
            token=_token(interaction, deferred, replies_to),
            on_behalf=on_behalf,
            upload_bytes=interaction.filesize_limit,
        )
        event = replace(event, decision=await self._decision(event))
        if isinstance(event.decision, Refusal):
            await say(interaction, event.decision.sentence)
            return
        # Neither ends the other: an acknowledgement that is cancelled on its way may have come about all the same.
        acknowledged, recorded = await asyncio.gather(
            acknowledge(interaction, deferred),
            patiently(lambda: self.answers.record(event), since),
            return_exceptions=True,
        )
        if isinstance(recorded, BaseException):
            raise recorded
        if recorded:
            self.answers.answer([event])
        if isinstance(acknowledged, BaseException):
            raise acknowledged

    async def _decision(self, event: DiscordEvent) -> Permit | Refusal | None:
        """None if it takes too long: it is decided before the answer, then."""
        try:
            async with asyncio.timeout(IN_TIME_S):
                return (await self.answers.bot.admit(event.incoming(), files=bool(event.files))).decision
        except TimeoutError:
            return None

    async def passes(
        self, interaction: discord.Interaction, thing: Thing, verb: Verb, message: discord.Message | None = None
    ) -> bool:
        """Whether this person is answered here, and the gate lets them do it; if not, they are told so.

        To look up whose the message is may take longer than Discord waits for an acknowledgement.

        Raises:
            StorageError, TimeoutError: it cannot be known, or not in time.
        """
        if not await self.lets_in(interaction, thing):
            return False
        channel = str(interaction.channel_id)
        call = Call(
            actor=f"discord:{interaction.user.id}",
            thing=thing,
            verb=verb,
            chat=f"discord:{channel}",
            places=(place(str(interaction.guild_id)),) if interaction.guild_id else (),
            direct=interaction.guild_id is None,
            message_id=str(message.id) if message else "",
            moderates=may_manage_messages(interaction.permissions),
            administers=may_manage_server(interaction.permissions),
        )
        try:
            await self.answers.bot.enter(call)
        except (UserError, Unheard) as refusal:
            await say(interaction, str(refusal))
            return False
        return True

    async def lets_in(self, interaction: discord.Interaction, thing: Thing = Thing.WORDS) -> bool:
        """Whether this person is answered here; if not, they are told so.

        A server's own limits may be changed where its admins want no answers, too.

        Raises:
            StorageError, TimeoutError: it cannot be known, or not in time.
        """
        here = _where(interaction)
        async with asyncio.timeout(IN_TIME_S):
            if is_allowed(self.settings, here) and (thing is Thing.SERVER or await self.places.answers_in(here)):
                return True
        await say(interaction, wording.not_here())
        return False


async def acknowledge(interaction: discord.Interaction, deferred: Deferred) -> None:
    """Whatever comes back, the answer goes on; without an acknowledgement it becomes the bot's own message."""
    for attempt in range(_ATTEMPTS):
        try:
            await _defer(interaction, deferred)
        except (aiohttp.ClientError, OSError) as error:
            # A kept connection that the other side has closed looks like this, and the person waits three seconds.
            log.warning("interaction %s: acknowledgement %d: %s", interaction.id, attempt + 1, type(error).__name__)
            continue
        except discord.HTTPException as error:
            if attempt == 0 or error.code != _ACKNOWLEDGED_ALREADY:
                log.warning("interaction %s could not be acknowledged: %s", interaction.id, type(error).__name__)
        except (LookupError, TypeError):
            # It was acknowledged; the library wants to read more in the reply than every server writes.
            log.debug("interaction %s: a bare acknowledgement", interaction.id)
        return


async def _defer(interaction: discord.Interaction, deferred: Deferred) -> None:
    if deferred == "pressed":
        await interaction.response.defer()
    else:
        await interaction.response.defer(ephemeral=deferred == "private", thinking=True)


async def say(interaction: discord.Interaction, sentence: str) -> None:
    """One sentence for the asker alone, as the whole answer."""
    nobody = discord.AllowedMentions.none()
    if not interaction.response.is_done():
        try:
            await interaction.response.send_message(sentence, ephemeral=True, allowed_mentions=nobody)
            return
        except discord.HTTPException as error:
            # An acknowledgement whose reply did not come back is none to the library.
            if error.code != _ACKNOWLEDGED_ALREADY:
                raise
    await interaction.followup.send(sentence, ephemeral=True, allowed_mentions=nobody)


async def apologise(interaction: discord.Interaction, error: Exception) -> None:
    """The edge: what failed becomes a sentence for the asker and a log line."""
    log.error("interaction %s failed", interaction.id, exc_info=error)
    await say(interaction, wording.broken())


def _token(interaction: discord.Interaction, deferred: Deferred, replies_to: str | None) -> InteractionToken:
    pressed = (replies_to or "") if deferred == "pressed" else ""
    return InteractionToken(
        str(interaction.application_id), interaction.token, deferred, _is_borrowed(interaction), pressed
    )


def _is_borrowed(interaction: discord.Interaction) -> bool:
    """Whether a person took the bot along to a place that it is no member of."""
    if interaction.guild_id is None:
        return bool(interaction.context.private_channel)
    return interaction.client.get_guild(interaction.guild_id) is None


def _where(interaction: discord.Interaction) -> Where:
    return Where(
        guild=str(interaction.guild_id or ""),
        channel=str(interaction.channel_id),
        above=above(interaction.channel),
        roles=[str(role.id) for role in getattr(interaction.user, "roles", ())],
    )
