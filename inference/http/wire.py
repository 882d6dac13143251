"""Requests, events and errors of `inference.api` as OpenAI's JSON, and back: what server and client agree on.

Beyond OpenAI's fields there are vLLM's (`top_k`, `repetition_penalty`, `min_tokens`, `continue_final_message`) and a
few of our own: `thinking_budget` (-1: none), `stream_options.include_queue`, `timings`, `error.retry_in_s`, and
`reclassified` in a chunk of a stream with `include_queue`: all content until there was reasoning. In `partyline` a bot
says whose request it is. The code of an error tells them apart, "interrupted" being the one after which the same
request goes on from its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

from inference.api import (
    BadImage,
    Busy,
    Cancelled,
    CaptionRequest,
    ChatRequest,
    Event,
    Filtered,
    Finished,
    InferenceError,
    Interrupted,
    Message,
    ModelInfo,
    OutOfMemory,
    Queued,
    Reason,
    Reclassified,
    Sampling,
    Standing,
    Text,
    Thinking,
    Timings,
    TooLong,
    Unavailable,
    Usage,
)

MAX_MESSAGES = 2_048
"""Of one request; each of them costs the service something before anything says that they are too long."""
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# Name here: name there. The first that is given counts.
_SAMPLING = {
    "temperature": ("temperature", float),
    "top_p": ("top_p", float),
    "top_k": ("top_k", int),
    "max_completion_tokens": ("max_new_tokens", int),
    "max_tokens": ("max_new_tokens", int),
    "repetition_penalty": ("repetition_penalty", float),
    "presence_penalty": ("presence_penalty", float),
    "seed": ("seed", int),
    "min_tokens": ("min_new_tokens", int),
}
# What would change the answer and cannot be had, and the values that mean "no, thank you".
_UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "tools": ([],),
    "functions": ([],),
    "logprobs": (False,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
}


# OpenAI takes 4 stops; each is looked for in every piece of an answer.
_MOST_STOPS, _LONGEST_STOP = 64, 1000
_LARGEST = 1e18
# When a client may come again whose service is being stopped or loads, in seconds.
RESTART_RETRY_S = 5.0


class WrongRequest(Exception):
    """The request cannot be read: `param` names the field, the message says what is wrong with it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


def write_request(request: ChatRequest, model: str) -> dict[str, Any]:
    sampling = request.sampling
    messages = write_messages(request.messages)
    if request.prefix:
        messages.append({"role": "assistant", "content": request.prefix})
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "user": request.owner,
        "partyline": write_person(request),
        "stream": True,
        "stream_options": {"include_usage": True, "include_queue": True},
        "thinking_budget": -1 if sampling.thinking_budget is None else sampling.thinking_budget,
        "stop": list(sampling.stop),
        "continue_final_message": bool(request.prefix),
    }
    values = asdict(sampling)
    body |= {name: values[field] for name, (field, _) in _SAMPLING.items() if name != "max_completion_tokens"}
    return body


def write_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def write_person(request: ChatRequest | CaptionRequest) -> dict[str, str]:
    """Whose request it is; only the bots' key may say so."""
    return {"owner": request.owner, "standing": request.standing, "group": request.group}


Whose = Callable[[object, object], tuple[str, Standing, str]]
"""Owner, standing and group by the fields `user` and `partyline`: a `Client.owner` of
`inference.http.server.clients`."""


def read_request(body: object, request_id: str, whose: Whose) -> ChatRequest:
    """Raises WrongRequest."""
    if not isinstance(body, dict):
        raise WrongRequest("", "the body must be a JSON object")
    for name, allowed in _UNSUPPORTED.items():
        if body.get(name) is not None and body[name] not in allowed:
            raise WrongRequest(name, f"{name} is not supported")
    messages = read_messages(body.get("messages"))
    prefix = ""
    if body.get("continue_final_message") is True:
        if messages[-1].role != "assistant":
            raise WrongRequest("continue_final_message", "the last message must be the assistant's to be continued")
        *messages, last = messages
        prefix = last.content
    owner, standing, group = whose(body.get("user"), body.get("partyline"))
    return ChatRequest(
        id=request_id,
        messages=tuple(messages),
        sampling=_sampling(body),
        owner=owner,
        prefix=prefix,
        standing=standing,
        group=group,
    )


def read_messages(values: object) -> list[Message]:
    """Raises WrongRequest."""
    if not isinstance(values, list) or not values:
        raise WrongRequest("messages", "messages must be a list with at least one message")
    if len(values) > MAX_MESSAGES:
        raise WrongRequest("messages", f"messages may hold {MAX_MESSAGES:,} messages at most, not {len(values):,}")
    return [_message(value, f"messages[{index}]") for index, value in enumerate(values)]


def _message(value: object, name: str) -> Message:
    if not isinstance(value, dict) or not isinstance(value.get("role"), str) or value["role"] not in _ROLES:
        raise WrongRequest(name, f"{name}.role must be one of {', '.join(_ROLES)}")
    content = value.get("content")
    if isinstance(content, list):
        content = "".join(_part(part, name) for part in content)
    if not isinstance(content, str):
        raise WrongRequest(name, f"{name}.content must be text")
    role: Any = _ROLES[value["role"]]
    return Message(role, content)


def _part(part: object, name: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise WrongRequest(name, f"{name}.content may hold text alone; pictures go to /v1/captions")


def _sampling(body: Mapping[str, Any]) -> Sampling:
    values: dict[str, Any] = {}
    for name, (field, kind) in _SAMPLING.items():
        if body.get(name) is not None:
            values.setdefault(field, _number(name, body[name], kind))
    if values.get("top_k") == -1:  # vLLM's word for all
        values["top_k"] = 0
    stop = body.get("stop") or ()
    stop = (stop,) if isinstance(stop, str) else stop
    if not isinstance(stop, list | tuple) or not all(isinstance(word, str) for word in stop):
        raise WrongRequest("stop", "stop must be text or a list of texts")
    if len(stop) > _MOST_STOPS or any(len(word) > _LONGEST_STOP for word in stop):
        raise WrongRequest("stop", f"stop must have at most {_MOST_STOPS} texts of {_LONGEST_STOP} characters")
    try:
        "".join(stop).encode()
    except UnicodeEncodeError:
        raise WrongRequest("stop", "stop must hold no half of a surrogate pair") from None
    values["stop"] = tuple(stop)
    if body.get("thinking_budget") is not None:
        budget = _number("thinking_budget", body["thinking_budget"], int)
        values["thinking_budget"] = None if budget == -1 else budget
    try:
        return Sampling(**values)
    except ValueError as error:
        message = str(error).replace("max_new_tokens", "max_tokens").replace("min_new_tokens", "min_tokens")
        raise WrongRequest(message.partition(" ")[0], message) from error


def _number(name: str, value: object, kind: type[float] | type[int]) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise WrongRequest(name, f"{name} must be {'an integer' if kind is int else 'a number'}")
    if abs(value) > _LARGEST:  # larger ones are no floats
        raise WrongRequest(name, f"{name} is out of range")
    return kind(value)


def write_info(info: ModelInfo) -> dict[str, Any]:
    """An entry of `/v1/models`."""
    extra = {name: value for name, value in asdict(info).items() if name not in ("name", "context_tokens")}
    return {
        "id": info.name,
        "object": "model",
        "created": 0,
        "owned_by": "partyline",
        "max_model_len": info.context_tokens,
        "partyline": extra,
    }


def read_info(models: object) -> ModelInfo:
    """Raises Unavailable: this is no list of a Partyline service."""
    try:
        entry = models["data"][0]  # type: ignore[index]
        return ModelInfo(name=str(entry["id"]), context_tokens=int(entry["max_model_len"]), **entry["partyline"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Unavailable("what answers there is no `partyline serve`") from error


def write_usage(usage: Usage) -> dict[str, Any]:
    """OpenAI counts reasoning among the completion."""
    completion = usage.completion_tokens + usage.thinking_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": usage.prompt_tokens + completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.thinking_tokens},
    }


def write_finish(reason: Reason) -> str:
    """OpenAI has no word for cancelled; what was cut short says so."""
    return "stop" if reason == "stop" else "length"


def write_event(event: Event) -> dict[str, Any]:
    """What one event adds to a chunk of a stream."""
    match event:
        case Queued(position, eta_s):
            return {"choices": [], "queued": {"position": position, "eta_s": eta_s}}
        case Thinking(text):
            return {"choices": [_choice({"reasoning_content": text})]}
        case Text(text):
            return {"choices": [_choice({"content": text})]}
        case Reclassified():
            return {"choices": [], "reclassified": True}
        case Finished(reason):
            return {"choices": [_choice({}, write_finish(reason))], "reason": reason}


def write_totals(finished: Finished) -> dict[str, Any]:
    return {"choices": [], "usage": write_usage(finished.usage), "timings": asdict(finished.timings)}


def _choice(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


class ChunkReader:
    """Makes events of the chunks of one stream; `finished` is complete once the totals have come."""

    def __init__(self) -> None:
        self._reason: Reason | None = None
        self.finished: Finished | None = None

    def take(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Raises InferenceError: the stream ends with one. Raises KeyError, TypeError or ValueError: it is no chunk."""
        if "error" in chunk:
            raise read_error(chunk["error"])
        if (queued := chunk.get("queued")) is not None:
            return [Queued(int(queued["position"]), queued["eta_s"])]
        if chunk.get("reclassified") is True:
            return [Reclassified()]
        if chunk.get("reason") in get_args(Reason):
            self._reason = chunk["reason"]
        if chunk.get("usage") is not None:
            self.finished = Finished(self._reason or "stop", _read_usage(chunk["usage"]), Timings(**chunk["timings"]))
        return [event for choice in chunk["choices"] for event in _deltas(choice["delta"])]


def _deltas(delta: Mapping[str, Any]) -> list[Event]:
    events: list[Event] = []
    if delta.get("reasoning_content"):
        events.append(Thinking(str(delta["reasoning_content"])))
    if delta.get("content"):
        events.append(Text(str(delta["content"])))
    return events


def _read_usage(usage: Mapping[str, Any]) -> Usage:
    thinking = int(usage["completion_tokens_details"]["reasoning_tokens"])
    return Usage(
        prompt_tokens=int(usage["prompt_tokens"]),
        completion_tokens=int(usage["completion_tokens"]) - thinking,
        thinking_tokens=thinking,
        cached_tokens=int(usage["prompt_tokens_details"]["cached_tokens"]),
    )


def write_error(error: InferenceError) -> tuple[int, dict[str, Any]]:
    """The HTTP status and OpenAI's error object. Why the engine cannot answer is for our log alone."""
    match error:
        case Busy(retry_in_s=wait, gave_way=gave_way):
            return 429, _error(str(error), "rate_limit_error", "busy", retry_in_s=wait, gave_way=gave_way)
        case TooLong(limit=limit, tokens=tokens):
            message = f"This model's maximum context length is {limit} tokens. Your messages have {tokens} tokens."
            details = {"n_ctx": limit, "n_prompt_tokens": tokens}
            return 400, _error(message, "invalid_request_error", "context_length_exceeded", "messages", **details)
        case Filtered():
            message = "a content filter has ended the answer"
            return 400, _error(message, "invalid_request_error", "content_filter")
        case BadImage(why=why):
            return 400, _error(f"the picture cannot be used: {why}", "invalid_request_error", "bad_image", why=why)
        case OutOfMemory():
            return 503, _error("there is not enough memory for this request", "server_error", "out_of_memory")
        case Cancelled():
            return 499, _error("the request was cancelled", "server_error", "cancelled")
        case Interrupted():
            message = "the service is being stopped; ask again in a moment, with the text so far as a prefix"
            return 503, _error(message, "server_error", "interrupted", retry_in_s=RESTART_RETRY_S)
    return 503, _error("the engine cannot answer now", "server_error", "unavailable")


def wrong_request(error: WrongRequest) -> dict[str, Any]:
    return _error(str(error), "invalid_request_error", None, error.param or None)


def _error(message: str, kind: str, code: str | None, param: str | None = None, **details: Any) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": param, "code": code, **details}


def read_error(error: object) -> InferenceError:
    """The exception that an error object stands for."""
    details = error if isinstance(error, dict) else {}
    try:
        match details.get("code"):
            case "busy":
                return Busy(float(details["retry_in_s"]), gave_way=details.get("gave_way") is True)
            case "context_length_exceeded":
                return TooLong(int(details["n_ctx"]), int(details["n_prompt_tokens"]))
            case "content_filter":
                return Filtered(str(details["message"]))
            case "bad_image":
                return BadImage(str(details["why"]))
            case "out_of_memory":
                return OutOfMemory(str(details["message"]))
            case "cancelled":
                return Cancelled()
            case "interrupted":
                return Interrupted(str(details["message"]))
    except (KeyError, TypeError, ValueError):
        pass
    return Unavailable(f"the service says: {details.get('message', error)}"[:500])
