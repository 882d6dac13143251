"""What a button carries, in at most 64 bytes. Anybody can send anything as callback data, so it is only ever parsed.

A button under an answer names an action; whose answer it is follows from the message. A button of the settings panel
names its owner too and is sealed with a key that only this bot knows.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import blake2b

from bots.messages import Action

LONGEST = 64
_ANSWER = "answer:"
_PANEL = "panel:"
_SEAL_BYTES = 6


@dataclass(frozen=True, slots=True)
class PanelPress:
    """A button of `owner`'s settings panel: `setting` goes to `value`, or a step `+` or `-`; "" closes the panel."""

    owner: str
    setting: str
    value: str


def action_data(action: Action) -> str:
    return f"{_ANSWER}{action.value}"


def read_action(data: str) -> Action | None:
    try:
        return Action(data.removeprefix(_ANSWER)) if data.startswith(_ANSWER) else None
    except ValueError:
        return None


class PanelData:
    """Seals and reads the data of panel buttons."""

    def __init__(self, token: str) -> None:
        self._key = blake2b(token.encode(), digest_size=32, person=b"panel").digest()

    def write(self, press: PanelPress) -> str:
        said = f"{_PANEL}{press.owner.removeprefix('telegram:')}:{press.setting}:{press.value}"
        return f"{said}:{self._seal(said)}"

    def read(self, data: str) -> PanelPress | None:
        said, _, seal = data.rpartition(":")
        parts = said.split(":")
        if len(parts) != 4 or not said.startswith(_PANEL) or not hmac.compare_digest(seal, self._seal(said)):
            return None
        return PanelPress(f"telegram:{parts[1]}", parts[2], parts[3])

    def _seal(self, said: str) -> str:
        return blake2b(said.encode("utf-8", "replace"), key=self._key, digest_size=_SEAL_BYTES).hexdigest()
