"""A frame as the body of a Discord message: Markdown, subtext, buttons, and nothing that could ping anyone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from adapters.delivery.channel import Frame, ThinkingView
from adapters.delivery.renderers.discord import render_discord
from adapters.discord.outbound.components import button_rows
from bots.profile.personal import PersonalData, Retention

MESSAGE_UNITS = 2000
"""Discord's limit; it is counted in UTF-16 units here, which is never less than what Discord counts."""
_SUPPRESS_EMBEDS = 1 << 2
_EPHEMERAL = 1 << 6
NO_PINGS: dict[str, Any] = {"parse": [], "replied_user": False}


def body(frame: Frame) -> dict[str, Any]:
    """What is sent for this frame, whether the message is new or edited."""
    return {
        "content": content(frame),
        "components": button_rows(frame),
        "allowed_mentions": NO_PINGS,
        "flags": _SUPPRESS_EMBEDS,
    }


WHISPERED: dict[str, Any] = {"allowed_mentions": NO_PINGS, "flags": _EPHEMERAL}
"""The body of a file that only the asker sees."""


def whispered(frame: Frame) -> dict[str, Any]:
    """The body of a message that only the asker sees."""
    return body(frame) | {"flags": _SUPPRESS_EMBEDS | _EPHEMERAL}


rendered = lru_cache(maxsize=32)(render_discord)
"""A text is measured and then sent with other words around it: it is read once."""


def content(frame: Frame) -> str:
    thinking = _thinking(frame.thinking) if frame.thinking else ""
    markdown = rendered(frame.markdown) if frame.markdown else ""
    failure = render_discord(frame.failure) if frame.failure else ""
    parts = (thinking, markdown, subtext(frame.status), failure, subtext(frame.footer))
    return "\n".join(part for part in parts if part)


class RenderedFrames(PersonalData):
    """What `rendered` remembers of everybody's answers: forgotten as soon as anything is erased."""

    async def export(self, people: Sequence[str]) -> Mapping[str, Any]:
        return {}

    async def erase(self, people: Sequence[str], today: str) -> None:
        rendered.cache_clear()

    async def expire(self, retention: Retention, now: float, limit: int) -> int:
        return 0


def units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def subtext(text: str) -> str:
    """Small print; every line of it."""
    return "\n".join(f"-# {line}" for line in render_discord(text).split("\n") if line.strip()) if text else ""


def _thinking(view: ThinkingView) -> str:
    """Small print while it runs; behind a spoiler, which unfolds with a click, once it is over."""
    label = subtext(view.label)
    if not view.text.strip():
        return label
    if not view.done:
        return f"{label}\n{subtext(_one_paragraph(view.text))}"
    return f"{label}\n||{_one_paragraph(_plain(view.text))}||"


def _plain(text: str) -> str:
    """Reasoning is shown as it was written: none of it is markup."""
    return "".join("\\" + char if char in "\\*_~`|<>@#[]:-" else char for char in text)


def _one_paragraph(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines() if line.strip())
