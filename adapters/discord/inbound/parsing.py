"""What a Discord message says, and whether it is said to the bot. No call is made here."""

from __future__ import annotations

import re

import discord

from adapters.discord.access import Where
from adapters.discord.inbound.events import DiscordEvent, File
from bots.names import one_line

_QUOTED_CHARACTERS = 4000
_THREAD_NAME = 80
_KINDS = (discord.MessageType.default, discord.MessageType.reply)


def is_said_by_a_person(message: discord.Message) -> bool:
    return not message.author.bot and message.webhook_id is None and message.type in _KINDS


def where(message: discord.Message) -> Where:
    roles = [str(role.id) for role in getattr(message.author, "roles", ())]
    return Where(
        guild=str(message.guild.id) if message.guild else "",
        channel=str(message.channel.id),
        above=above(message.channel),
        roles=roles,
    )


def above(channel: object) -> str:
    """The channel or forum that a thread belongs to."""
    return str(channel.parent_id) if isinstance(channel, discord.Thread) else ""


def addresses(message: discord.Message, me: discord.ClientUser) -> bool:
    """Whether it is a direct message, mentions the bot, replies to it, or stands in a thread that it is in."""
    if message.guild is None or me in message.mentions:
        return True
    if any(role.tags is not None and role.tags.bot_id == me.id for role in message.role_mentions):
        return True
    answered = replied_message(message)
    if answered is not None and answered.author.id == me.id:
        return True
    return is_in_thread(message.channel, me)


def is_in_thread(channel: object, me: discord.ClientUser) -> bool:
    """The bot opened this thread or was invited to it, so it is a conversation with the bot."""
    return isinstance(channel, discord.Thread) and (channel.owner_id == me.id or channel.me is not None)


def replied_message(message: discord.Message) -> discord.Message | None:
    resolved = message.reference.resolved if message.reference else None
    return resolved if isinstance(resolved, discord.Message) else None


def is_forward(message: discord.Message) -> bool:
    """It refers to a message of another place, which is not what it replies to."""
    return message.reference is not None and message.reference.type is discord.MessageReferenceType.forward


def forwarded(message: discord.Message) -> str:
    """What it hands on, as a quotation. Whose words they are, Discord does not say."""
    texts = [text for snapshot in message.message_snapshots if (text := snapshot.content.strip())]
    return "\n\n".join(f"Forwarded message:\n{_quotation(text)}" for text in texts)


def said(message: discord.Message) -> str:
    """What it hands on, and its own words."""
    return "\n\n".join(part for part in (forwarded(message), message.content.strip()) if part)


def words(message: discord.Message, me: discord.ClientUser) -> str:
    """The text without the bot's own mention, and with names in place of the ids of people, roles and channels."""
    text = re.sub(rf"<@!?{me.id}>", " ", message.content, count=1)
    text = re.sub(rf"<@!?{me.id}>", lambda _: f"@{me.name}", text)
    for user in message.mentions:
        name = one_line(user.display_name)
        text = re.sub(rf"<@!?{user.id}>", lambda _, name=name: f"@{name}", text)  # type: ignore[misc]
    for role in message.role_mentions:
        own = role.tags is not None and role.tags.bot_id == me.id
        text = text.replace(role.mention, " " if own else f"@{one_line(role.name)}")
    for channel in message.channel_mentions:
        text = text.replace(f"<#{channel.id}>", f"#{one_line(channel.name)}")
    return text.strip()


def files(message: discord.Message) -> tuple[File, ...]:
    """Its own, and those of what it hands on. Stickers are none that it can read, which is said of each."""
    stickers = [File(sticker.url, "a sticker", 0, "application/octet-stream") for sticker in message.stickers]
    handed_on = [attachment for snapshot in message.message_snapshots for attachment in snapshot.attachments]
    return (*(file_of(attachment) for attachment in (*message.attachments, *handed_on)), *stickers)


def file_of(attachment: discord.Attachment) -> File:
    kind = (attachment.content_type or "").partition(";")[0].strip().lower()
    return File(attachment.url, attachment.filename, attachment.size, kind)


def quoted(message: discord.Message, text: str) -> str:
    """What another message says, before what is said about it.

    It begins with a word of ours: a name like "/reset" would be read as a command of whoever replies.
    """
    quotation = _quotation(said(message)[:_QUOTED_CHARACTERS])
    return f"Written by {one_line(message.author.display_name)}:\n{quotation}\n\n{text}" if quotation else text


def _quotation(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


def event_of_message(message: discord.Message, me: discord.ClientUser, *, in_new_thread: bool = False) -> DiscordEvent:
    """The event of a message that is said to the bot, without what it replies to.

    Args:
        in_new_thread: the answer begins a thread, if the message stands in a channel that can have some.
    """
    text = "\n\n".join(part for part in (forwarded(message), words(message, me)) if part)
    opens = in_new_thread and isinstance(message.channel, discord.TextChannel)
    # The thread that is opened at a message has the message's id.
    channel = str(message.id) if opens else str(message.channel.id)
    return DiscordEvent(
        id=str(message.id),
        channel=channel,
        above=str(message.channel.id) if opens else above(message.channel),
        guild=str(message.guild.id) if message.guild else "",
        author=str(message.author.id),
        name=message.author.display_name,
        text=text,
        files=files(message),
        question=None if opens else str(message.id),
        upload_bytes=message.guild.filesize_limit if message.guild else 0,
        opens=(" ".join(text.split())[:_THREAD_NAME] or one_line(message.author.display_name)) if opens else "",
    )
