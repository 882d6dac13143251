"""The settings panel as the page sees it: a list of views, and one way to change a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingView:
    """One setting of one person, ready to be drawn.

    Args:
        name: the setting's own word ("top_p"); `label` is for people ("Top-p"), `help` one sentence about it.
        value: the person's, written out; "" where a text setting is off.
        low, high, step: the allowed range of a "range".
        choices: the allowed values of a "choice".
        advanced: drawn below the others, under a heading of its own.
    """

    name: str
    label: str
    kind: Literal["range", "choice", "text"]
    value: str
    default: str
    help: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    advanced: bool = False


class SettingsPanel(Protocol):
    """A person's settings; implemented over `bots.profile.preferences`."""

    async def describe(self, person_id: str) -> Sequence[SettingView]: ...

    async def change(self, person_id: str, name: str, value: str) -> str | None:
        """Sets the value and returns a sentence to show, None where nothing need be said.

        Raises:
            ValueError: refused; its text is the sentence for the person.
        """
        ...
