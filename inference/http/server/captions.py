"""`/v1/captions`: one picture, as a form's file or as base64 in JSON."""

from __future__ import annotations

import base64
import binascii
from dataclasses import asdict
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from inference.api import CaptionRequest, Inference
from inference.http.server.clients import Client
from inference.http.wire import WrongRequest
from inference.untrusted.bounded_json import loads
from inference.untrusted.forms import next_part

_MAX_PARTS = 16
_PERSON_VALUES = 20


async def read_form(request: web.Request, request_id: str, client: Client) -> CaptionRequest:
    """The fields `image` (a file), `prompt` and `user`, and `partyline` as JSON of a bot.

    Raises:
        WrongRequest, HTTPRequestEntityTooLarge.
    """
    image = b""
    words = {"prompt": "", "user": "", "partyline": ""}
    left = request.client_max_size
    parts = 0
    try:
        form = await request.multipart()
        while (part := await next_part(form)) is not None:
            parts += 1
            if parts > _MAX_PARTS:
                raise WrongRequest("", f"the form has more than {_MAX_PARTS} parts")
            if not isinstance(part, BodyPartReader):
                raise WrongRequest("", "the form must not be nested")
            data = bytearray()
            while piece := await part.read_chunk(2**16):
                left -= len(piece)
                if left < 0:
                    raise web.HTTPRequestEntityTooLarge(request.client_max_size, request.client_max_size - left)
                data += piece
            if part.name == "image":
                image = bytes(data)
            elif part.name in words:
                words[part.name] = data.decode("utf-8", "replace")
        person = loads(words["partyline"], values=_PERSON_VALUES) if words["partyline"] else None
    except (ValueError, HttpProcessingError) as error:
        raise WrongRequest("", "the form is damaged") from error
    return _request(request_id, image, words["prompt"], words["user"], person, client)


def read_json(body: Any, request_id: str, client: Client) -> CaptionRequest:
    """`{"image": base64 or a data: address, "prompt": text, "user": text}`. Raises WrongRequest."""
    if not isinstance(body, dict):
        raise WrongRequest("", "the body must be a JSON object or a form")
    image, prompt, user = body.get("image"), body.get("prompt") or "", body.get("user") or ""
    if not isinstance(image, str):
        raise WrongRequest("image", "image must be base64")
    if not isinstance(prompt, str) or not isinstance(user, str):
        raise WrongRequest("prompt", "prompt and user must be text")
    try:
        data = base64.b64decode(image.rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise WrongRequest("image", "image is not valid base64") from error
    return _request(request_id, data, prompt, user, body.get("partyline"), client)


def _request(request_id: str, image: bytes, prompt: str, user: str, person: object, client: Client) -> CaptionRequest:
    owner, standing, group = client.owner(user, person)
    return CaptionRequest(id=request_id, image=image, prompt=prompt, owner=owner, standing=standing, group=group)


async def caption(inference: Inference, request: CaptionRequest) -> dict[str, Any]:
    """The reply. Raises InferenceError."""
    done = await inference.caption(request)
    return {"text": done.text, "model": inference.info.captioner, "timings": asdict(done.timings)}
