"""What goes to an OpenAI-compatible server and what comes back: bodies, deltas and failures. No connection is made.

Servers differ in what they offer beyond the common part; a `Dialect` says how, by the name in their list of models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from inference.api import ChatRequest, Filtered, Message, TooLong
from inference.engines.cache_salt import cache_salt
from inference.engines.openai.finish_reasons import FinishReason, read_finish_reason
from inference.engines.openai.messages import Messages
from inference.engines.openai.refused_fields import UnsupportedRequest
from inference.engines.port import Closed, Opened, Output, Piece
from inference.engines.surrogates import Pairs, encodable
from inference.reasoning.formats import Format
from inference.reasoning.prefix import resume
from inference.reasoning.splitter import Part, Splitter

# Written by a person they would be read as the model's own marks: a space of no width makes them text.
_CONTROL = re.compile(
    r"<(?=[|｜]|(?i:/?(?:seed:)?think>)|/?s>|(?:start|end)_of_turn>|(?:channel|turn)\|>|<SYS>>|</SYS>>)"
    r"|\[(?=/?(?:INST|THINK)\])|◁(?=/?think▷)"
)
_TURN_MARK = re.compile(r"<(?=[|｜])")
_GO_ON = "Continue exactly where your last message stopped. Write only what comes next."
_ANSWER_NOW = "Stop thinking now and give your final answer."
_REASONING_NAMES = re.compile(r"r1\b|qwq|qwen3|gpt-oss|magistral|seed-oss|exaone-deep|think|reason", re.IGNORECASE)
# English prose has about four bytes a token; other scripts and code have fewer, and to count too many is the safe side.
_BYTES_A_TOKEN = 3
_TOKENS_A_MESSAGE = 8
_OTHER_CHARACTERS = 300
_WORD_CHARACTERS = 40
_REASONING_PARTS = ("thinking", "reasoning", "redacted_thinking")
# vLLM's word for the counts in every chunk, inside of the common protocol's `stream_options`.
_CONTINUOUS = "continuous_usage_stats"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of server does what the common protocol lacks.

    Args:
        counting: "messages": `/tokenize` takes messages; "template": it takes text that `/apply-template` makes.
        continues: the fields by which an answer goes on from the last message; None where none are known.
        repetition: its name for the repetition penalty.
        names_owner: whether it is told whom the answer is for. A stranger's server is none of a person's business.
        extras: further fields for every request.
        keeps_prompts: its prefix cache takes no salt, and `cache_prompt: false` passes it by.
        salts: its prefix cache takes `cache_salt`, by which an owner's prompts are found again for that owner alone.
    """

    counting: Literal["messages", "template", "none"] = "none"
    continues: Mapping[str, bool] | None = None
    repetition: str = "repetition_penalty"
    names_owner: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict)
    keeps_prompts: bool = False
    salts: bool = False


_VLLM = Dialect("messages", {"continue_final_message": True, "add_generation_prompt": False}, salts=True)
_DIALECTS = {
    "vllm": _VLLM,
    "partyline": replace(_VLLM, names_owner=True, salts=False),
    "sglang": Dialect("none", {"continue_final_message": True}, salts=True),
    # The order of transformers and vLLM: the temperature is applied before the tail is cut off.
    "llamacpp": Dialect(
        "template",
        {},
        "repeat_penalty",
        extras={"samplers": ["penalties", "temperature", "top_k", "top_p"], "repeat_last_n": -1, "cache_prompt": True},
        keeps_prompts=True,
    ),
}


def dialect_of(model: Mapping[str, Any]) -> Dialect:
    return _DIALECTS.get(str(model.get("owned_by", "")).lower(), Dialect())


def context_of(model: Mapping[str, Any]) -> int | None:
    """The context length that an entry of `/v1/models` states, in tokens."""
    meta = model.get("meta")
    values = dict(model) | (meta if isinstance(meta, dict) else {})
    names = ("max_model_len", "n_ctx", "context_length", "context_window", "max_context_length")
    return next((values[name] for name in names if isinstance(values.get(name), int) and values[name] > 0), None)


def seems_to_reason(name: str) -> bool:
    return _REASONING_NAMES.search(name) is not None


def guarded(text: str) -> str:
    """A person's text without what a server would read as control tokens: it parses the rendered template whole."""
    return _CONTROL.sub(lambda found: found[0] + "\u200b", encodable(text))


def _prefix(text: str, format: Format | None = None) -> str:
    """What the model wrote itself: its marks of reasoning stay marks, in the form of its family."""
    pieces = resume("", text, format)
    return "".join(piece.text if piece.mark else _without_turns(piece.text) for piece in pieces)


def _without_turns(text: str) -> str:
    return _TURN_MARK.sub(lambda found: found[0] + "\u200b", encodable(text))


def turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": guarded(message.content)} for message in messages]


def estimate(messages: Sequence[Message]) -> int:
    """Tokens of the prompt where no server tells; meant to be rather too many than too few."""
    sizes = (len(encodable(message.content).encode()) // _BYTES_A_TOKEN + 1 for message in messages)
    return sum(sizes) + _TOKENS_A_MESSAGE * len(messages)


class Asking:
    """The ways of asking one server for one answer, the fullest first; each refusal leads to the next.

    Args:
        room: the most tokens that the answer can have in the context; None where that is not known.
        without: fields that this server is known to refuse.
        format: of the model's reasoning, where it is known.
    """

    def __init__(
        self,
        request: ChatRequest,
        dialect: Dialect,
        model: str,
        room: int | None,
        without: Collection[str],
        format: Format | None = None,
    ) -> None:
        self._request, self._dialect, self._model, self._room = request, dialect, model, room
        self._without = set(without)
        self._format = format
        self._continues = dialect.continues if request.prefix else None
        self.emulated = bool(request.prefix) and self._continues is None
        """The server is merely told to go on, because it cannot be made to."""
        self.unknown: set[str] = set()
        """Fields that the server has said not to know."""
        self.plain: frozenset[str] = frozenset()
        """The further fields that were all left out, because the server named none."""

    def body(self) -> dict[str, Any]:
        request = self._request
        body = _body(request, self._dialect, self._model, self._room)
        if "max_tokens" in self._without and "max_tokens" in body:
            # The newer name of the same thing, which some models insist on.
            body["max_completion_tokens"] = body["max_tokens"]
        if self.emulated:
            body["messages"] += _told_to_go_on(request.prefix)
        elif request.prefix:
            body |= dict(self._continues or {})
            body["messages"].append({"role": "assistant", "content": _prefix(request.prefix, self._format)})
        if _CONTINUOUS in self._without:
            body["stream_options"] = {"include_usage": True}
        return {name: value for name, value in body.items() if name not in self._without}

    def after(self, refusal: UnsupportedRequest) -> bool:
        """Whether there is another way to ask."""
        body = self.body()
        further = {_CONTINUOUS} & set(body.get("stream_options", ()))
        named = refusal.fields({*body, *further})
        extras = frozenset({*_extras(self._request, self._dialect)} & {*body} | further)
        if further and "stream_options" in named:
            named = named - {"stream_options"} | further
        if named & frozenset(self._continues or ()) and not self.emulated:
            self.emulated = True
        elif named:
            self._without |= named
            if refusal.unknown:
                self.unknown |= named
        elif extras:
            self.plain = extras
            self._without |= extras
        elif self._request.prefix and not self.emulated:
            self.emulated = True
        else:
            return False
        return True


def _body(request: ChatRequest, dialect: Dialect, model: str, room: int | None) -> dict[str, Any]:
    sampling = request.sampling
    limit = sampling.max_new_tokens if room is None else min(sampling.max_new_tokens, room)
    body: dict[str, Any] = {
        "model": model,
        "messages": turns(request.messages),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "stream": True,
        "stream_options": {"include_usage": True, _CONTINUOUS: True},
    }
    if limit < 2**31 - 1:
        body["max_tokens"] = limit
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    return body | _extras(request, dialect)


def _extras(request: ChatRequest, dialect: Dialect) -> dict[str, Any]:
    """vLLM's further fields. -1 is the one word for all tokens that every server knows."""
    sampling = request.sampling
    return {
        "top_k": sampling.top_k or -1,
        "min_p": 0.0,
        dialect.repetition: sampling.repetition_penalty,
        "min_tokens": sampling.min_new_tokens,
        **({"partyline": {"owner": request.owner, "standing": request.standing}} if dialect.names_owner else {}),
        **({"cache_salt": cache_salt(request.owner).hex()} if dialect.salts else {}),
        **dialect.extras,
    }


def _told_to_go_on(prefix: str) -> list[dict[str, str]]:
    splitter = Splitter()
    parts = splitter.feed(prefix) + splitter.close()
    thought, said = ("".join(text for kind, text in parts if kind == wanted) for wanted in ("thinking", "answer"))
    words, order = (said, _GO_ON) if said.strip() else (thought, _ANSWER_NOW)
    return [{"role": "assistant", "content": _without_turns(words.strip())}, {"role": "user", "content": order}]


class Malformed(Exception):
    """What came is not what the protocol says."""


class Reader:
    """Makes outputs of a server's chunks, whatever they hold.

    Args:
        inside: the text begins inside the reasoning; None where nobody can tell.
        format: how the model writes its reasoning, where that is known.
        drop_reasoning: reasoning is counted and not told.
        orphans: reasoning may end that nothing has opened.
    """

    def __init__(
        self,
        prompt_tokens: int,
        *,
        counted: bool,
        inside: bool | None,
        drop_reasoning: bool,
        format: Format | None = None,
        orphans: bool = True,
    ) -> None:
        self.reasoned = False
        """The server has sent reasoning in a field of its own."""
        self.opens: bool | None = None
        """Whether the text began inside the reasoning, as far as its marks have told."""
        self._prompt_tokens, self._counted = prompt_tokens, counted
        self._inside, self._format, self._orphans = inside, format, orphans
        self._opened = self._has_deltas = False
        self._messages = Messages()
        # Servers leave marks in the field, too: the template's opening one again, or the closing one.
        self._field = Splitter(format, inside=True, apart=True)
        # It reasons once more where its template begins that, and nobody shows how this prompt ends.
        self._dropping = Splitter(format, inside=None) if drop_reasoning else None
        self._content = Splitter(format, inside=None)
        self._count = 0
        self._usage: dict[str, Any] = {}
        self._halves = {"reasoning_content": Pairs(), "content": Pairs()}
        self._reason: FinishReason | None = None
        self._word = ""
        """How the server calls the reason."""
        self._other = ""
        """The newest chunk that is no part of an answer. Servers have several shapes for an error in mid-stream."""

    def take(self, chunk: object) -> Iterator[Output]:
        """Raises Malformed."""
        if not isinstance(chunk, dict):
            raise Malformed(f"a chunk is {type(chunk).__name__}")
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage
        elif "choices" not in chunk:
            self._other = json.dumps(chunk, ensure_ascii=False)[:_OTHER_CHARACTERS]
        for choice in _dicts(chunk.get("choices")):
            delta, message = choice.get("delta"), choice.get("message")
            if isinstance(delta, dict) and (delta or not isinstance(message, dict)):
                if not self._has_deltas and (_reasoning_of(delta) or _content_of(delta)):
                    self._has_deltas = True
                    yield from self._delta(self._messages.close())
                yield from self._delta(delta)
            elif isinstance(message, dict) and not self._has_deltas:
                said = {"reasoning_content": _reasoning_of(message), "content": _content_of(message)}
                yield from self._delta(self._messages.new_in(said))
            if (reason := read_finish_reason(choice.get("finish_reason"))) is not None:
                self._reason, self._word = reason, str(choice["finish_reason"])[:_WORD_CHARACTERS]

    def end(self) -> Iterator[Output]:
        """Raises Malformed: the stream ended before the answer did; Filtered: a filter has ended it."""
        reason = self._reason
        if reason is None:
            why = f", after {self._other}" if self._other else ""
            raise Malformed(f"the stream ended before the answer did{why}")
        yield from self._delta(self._messages.close())
        yield from self._delta({name: half.close() for name, half in self._halves.items()})
        if reason in ("failed", "filtered"):
            yield from self._reasoning(self._field.close(), 0)
        if reason == "failed":
            raise Malformed(f"the server ended the answer: {self._word}")
        if reason == "filtered":
            raise Filtered(f"the server's filter ended the answer: {self._word}")
        yield from self._open()
        yield from self._reasoning(self._field.close(), 0)
        if self._dropping is not None:
            yield from self._answer_parts(self._dropping.close(cut=reason == "length"), 0)
        if self.opens is None and reason == "stop" and not self.reasoned:
            self.opens = False
        # What a server counted and did not show, such as the end-of-text token, was decoded all the same.
        total = max(self._count, self._number("completion_tokens"))
        if total > self._count:
            yield Piece("", total - self._count)
        details = self._usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        yield Closed(reason, total, cached if isinstance(cached, int) else 0, self._number("prompt_tokens"))

    def _delta(self, delta: dict[str, Any]) -> Iterator[Output]:
        reasoning = self._halves["reasoning_content"].feed(_reasoning_of(delta))
        content = self._halves["content"].feed(_content_of(delta))
        if not reasoning and not content:
            return
        yield from self._open()
        tokens = self._new_tokens()
        share = tokens * len(reasoning) // len(reasoning + content)
        if reasoning:
            self.reasoned = True
            # One token with both is the reasoning's: it was there first.
            share = max(share, min(tokens, 1))
            yield from self._reasoning(self._field.feed(reasoning), share)
        if content:
            yield from self._text(content, tokens - share)

    def _reasoning(self, parts: Sequence[Part], tokens: int) -> Iterator[Output]:
        text = "" if self._dropping is not None else "".join(text for kind, text in parts if kind != "mark")
        if text or tokens:
            yield Piece(text, tokens, thinking=True)

    def _text(self, text: str, tokens: int) -> Iterator[Output]:
        self._content.feed(text)
        if self._content.closed_unopened:
            self.opens = True
        if self._dropping is None:
            yield Piece(text, tokens)
        else:
            yield from self._answer_parts(self._dropping.feed(text), tokens)

    def _answer_parts(self, parts: Sequence[Part], tokens: int) -> Iterator[Output]:
        text = "".join(text for kind, text in parts if kind == "answer")
        if text or tokens:
            yield Piece(text, tokens)

    def _open(self) -> Iterator[Output]:
        if not self._opened:
            self._opened = True
            said = self._number("prompt_tokens")
            counted = self._counted or said > 0
            inside = self._inside if self._dropping is None else False
            yield Opened(said or self._prompt_tokens, inside, counted, self._format, self._orphans)

    def _new_tokens(self) -> int:
        """A chunk is a token, unless the server tells more exactly."""
        said = self._number("completion_tokens")
        new = said - self._count if said > self._count else 1
        self._count += new
        return new

    def _number(self, name: str) -> int:
        value = self._usage.get(name)
        return value if isinstance(value, int) and value >= 0 else 0


def _reasoning_of(delta: Mapping[str, Any]) -> str:
    """What a delta says of reasoning, by whichever name the server has for it; some say the same by several."""
    for name in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(text := delta.get(name), str) and text:
            return text
    # OpenRouter's list, in which a summary may stand for the text, and what is encrypted is nobody's to read.
    details = delta.get("reasoning_details")
    return _parts_of(details, reasoning=True) or _parts_of(delta.get("content"), reasoning=True)


def _content_of(delta: Mapping[str, Any]) -> str:
    """What a delta says of the answer. OpenAI has a field of its own for a model that declines."""
    content, refusal = delta.get("content"), delta.get("refusal")
    said = content if isinstance(content, str) else _parts_of(content, reasoning=False)
    return said or (refusal if isinstance(refusal, str) else "")


def _parts_of(content: object, *, reasoning: bool) -> str:
    """The text of those parts of a content that are reasoning, or that are not, which are nested at one vendor."""
    said = ""
    for part in _dicts(content):
        kind = str(part.get("type", "text"))
        if kind.startswith(_REASONING_PARTS) is reasoning:
            names = (kind, "text", kind.rpartition(".")[2])
            text = next((part[name] for name in names if part.get(name)), None)
            said += text if isinstance(text, str) else _parts_of(text, reasoning=False)
    return said


def _dicts(values: object) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def too_long(error: Mapping[str, Any], context_tokens: int) -> TooLong | None:
    """What a refusal says of the prompt's length, if that is what it is about.

    llama.cpp sends numbers; vLLM, SGLang and OpenAI send a sentence: "This model's maximum context length is 4096
    tokens. However, you requested 4100 tokens (4000 in the messages, 100 in the completion)".
    """
    if isinstance(error.get("n_prompt_tokens"), int):
        return TooLong(int(error.get("n_ctx") or context_tokens), int(error["n_prompt_tokens"]))
    message = str(error.get("message", ""))
    if error.get("code") != "context_length_exceeded" and "context length" not in message:
        return None
    numbers = [int(number) for number in re.findall(r"\d+", message.replace(",", ""))]
    limit = numbers[0] if numbers else context_tokens
    in_messages = re.search(r"(\d+)\D{0,12} in the (?:messages|input)", message)
    tokens = int(in_messages[1]) if in_messages else max(numbers[1:], default=limit + 1)
    return TooLong(limit, tokens)
