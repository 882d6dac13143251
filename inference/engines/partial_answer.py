"""One answer over several runs, where what broke is an engine or a server: what was said, and the rest to ask for."""

from __future__ import annotations

from dataclasses import replace

from inference.api import ChatRequest
from inference.engines.port import Opened, Output, Piece, Progress, Replacing
from inference.reasoning.formats import CLOSE, OPEN


class PartialAnswer:
    """What one request has got already, over several engines or servers."""

    def __init__(self) -> None:
        self._goes_on = False
        """The run is none of the first ones: it has the text in its prompt."""
        self._thought = self._said = ""
        self._tokens = 0
        self._opened: Opened | None = None

    @property
    def text(self) -> str:
        """All that was written, without order."""
        return self._thought + self._said

    def take(self, output: Output) -> list[Output]:
        """The output as the caller should see it: one answer, whatever was behind it."""
        if isinstance(output, Opened):
            first, self._opened = self._opened is None, self._opened or output
            return [output] if first else []
        if isinstance(output, Progress):
            return []
        if isinstance(output, Replacing):
            return [output]
        if isinstance(output, Piece):
            if output.thinking:
                self._thought += output.text
            else:
                self._said += output.text
            self._tokens += output.tokens
            return [output]
        tokens = max(output.completion_tokens, self._tokens)
        prompt_tokens = 0 if self._goes_on else output.prompt_tokens
        return [replace(output, completion_tokens=tokens, prompt_tokens=prompt_tokens)]

    def rest_of(self, request: ChatRequest) -> ChatRequest:
        """The request for what is still to be said, for another run."""
        self._goes_on = bool(self.text)
        if not self._goes_on:
            return request
        room = max(1, request.sampling.max_new_tokens - self._tokens)
        least = max(0, request.sampling.min_new_tokens - self._tokens)
        sampling = replace(request.sampling, max_new_tokens=room, min_new_tokens=min(room, least))
        # A template that begins the reasoning has written the tag that must stand before what was said.
        inside = not request.prefix and (self._thought or (self._opened is not None and self._opened.thinking))
        said = f"{OPEN if inside else ''}{self._thought}"
        if self._thought and self._said.strip():
            said += f"\n{CLOSE}\n\n"
        return replace(request, prefix=request.prefix + said + self._said, sampling=sampling)
