"""Why a server says that an answer has ended. Pure.

OpenAI, vLLM, SGLang and llama-server say `stop`, `length`, `content_filter` or `abort`. Further words are those of
DeepSeek, Zhipu, Mistral, OpenRouter and Gemini's compatible interface, as their references list them.
"""

from __future__ import annotations

from typing import Literal

FinishReason = Literal["stop", "length", "filtered", "failed"]

_LENGTH = frozenset({"length", "max_tokens", "model_length", "model_context_window_exceeded"})
_FILTERED = frozenset({"content_filter", "sensitive", "safety"})
_FAILED = frozenset({"abort", "error", "insufficient_system_resource", "network_error"})


def read_finish_reason(said: object) -> FinishReason | None:
    """Whether the answer is whole (`stop`, and every word that is not known), and None where it has not ended.

    Some servers say "" of an answer that goes on.
    """
    if not said:
        return None
    word = str(said).lower()
    if word in _LENGTH:
        return "length"
    if word in _FILTERED:
        return "filtered"
    return "failed" if word in _FAILED else "stop"
