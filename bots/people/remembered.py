"""What the inference service remembers of pictures, as a place where data of people are kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from bots.profile.personal import PersonalData, Retention
from inference.api import Inference, InferenceError

log = logging.getLogger(__name__)


class RememberedCaptions(PersonalData):
    """Captions are remembered by a digest of the picture, for a while: nobody can tell whose they are, so all go."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def export(self, people: Sequence[str]) -> Mapping[str, Any]:
        return {}

    async def erase(self, people: Sequence[str], today: str) -> None:
        try:
            await self._inference.forget_captions()
        except InferenceError as error:
            # A service that is gone remembers nothing, and another one will have forgotten it within minutes.
            log.warning("captions of an erased person: %s", error)

    async def expire(self, retention: Retention, now: float, limit: int) -> int:
        return 0
