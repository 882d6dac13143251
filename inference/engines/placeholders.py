"""Marks that stand for what people wrote while a chat template is rendered."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from inference.api import Message
from inference.engines.port import RequestRejected


class Placeholders:
    """One for each message, so that no content passes through the template's code; nobody can guess them."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._key = secrets.token_hex(8)

    def turns(self) -> list[dict[str, str]]:
        """The messages as a template takes them, with marks for contents."""
        return [{"role": message.role, "content": f"[{self._key}-{at}]"} for at, message in enumerate(self._messages)]

    def apart(self, rendered: str) -> tuple[list[str], list[Message]]:
        """The template's own text, one piece before, between and after the contents; and whose these are, in order.

        Some templates move the system message into a later turn.

        Raises:
            Rejected: a message is left out or shown twice.
        """
        parts = re.split(rf"\[{self._key}-(\d+)\]", rendered)
        order = [int(at) for at in parts[1::2]]
        if sorted(order) != list(range(len(self._messages))):
            raise RequestRejected("the model's chat template does not show every message once")
        return parts[::2], [self._messages[at] for at in order]
