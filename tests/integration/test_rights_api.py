"""The table of rights over HTTP: whoever has the key, and whoever has none."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bots.access.rights import Actor, Decision, Platform, Thing
from inference.http.server.routes import InferenceServer, ServerBounds
from tests.fakes import script, scripted_inference
from tests.rights import Case, name_of, on

_KEY = "a key of ours"
_ASKED = {"messages": [{"role": "user", "content": "hello"}]}
_CALLS: dict[Thing, list[tuple[str, str, Any]]] = {
    Thing.COMPLETION: [
        ("POST", "/v1/chat/completions", _ASKED),
        ("POST", "/v1/chat/completions", _ASKED | {"stream": True}),
        ("POST", "/v1/chat/completions", _ASKED | {"user": "somebody"}),
    ],
    Thing.CAPTION: [("POST", "/v1/captions", {"image": base64.b64encode(b"12345").decode()})],
    Thing.TOKENS: [("POST", "/tokenize", _ASKED)],
    Thing.MODELS: [("GET", "/v1/models", None)],
    Thing.STATE: [("GET", path, None) for path in ("/healthz", "/readyz", "/metrics")],
}
_KEYS = {
    Actor.CLIENT: [{"Authorization": f"Bearer {_KEY}"}],
    Actor.KEYLESS: [{}, {"Authorization": "Bearer another"}, {"Authorization": _KEY}, {"Authorization": "Bearer "}],
}


@pytest.mark.parametrize("case", on(Platform.API), ids=name_of)
async def test_the_table_holds(tmp_path: Path, case: Case) -> None:
    _, rule, actor, expected = case
    async with (
        scripted_inference(script(tmp_path)) as inference,
        InferenceServer(inference, _KEY, ServerBounds(port=0)).serving() as address,
        aiohttp.ClientSession() as session,
    ):
        began = time.monotonic()
        for method, path, body in _CALLS[rule.thing]:
            for headers in _KEYS[actor]:
                async with session.request(method, address + path, json=body, headers=headers) as response:
                    text = await response.text()
                assert response.status == (200 if expected is Decision.DONE else 401), (path, text, began)
                assert expected is Decision.DONE or "hello" not in text
