"""The buttons under an answer, as components of a message. They hold no state, so they outlive every restart."""

from __future__ import annotations

from typing import Any

from adapters.delivery.channel import Frame
from bots import wording
from bots.messages import Action

CUSTOM_ID = r"partyline:(?P<action>stop|regenerate|continue|thinking)"
THINKING = "thinking"
_ACTION_ROW, _BUTTON = 1, 2
_SECONDARY, _DANGER = 2, 4


def button_rows(frame: Frame) -> list[dict[str, Any]]:
    """One row of buttons, or none; reasoning that is not on view gets a button that shows it."""
    names = [action.value for action in frame.actions]
    if frame.thinking and frame.thinking.done and not frame.growing and not frame.thinking.text:
        names.append(THINKING)
    buttons = [_button(name) for name in names]
    return [{"type": _ACTION_ROW, "components": buttons}] if buttons else []


def _button(name: str) -> dict[str, Any]:
    return {
        "type": _BUTTON,
        "style": _DANGER if name == Action.STOP else _SECONDARY,
        "label": wording.button(name),
        "custom_id": f"partyline:{name}",
    }
