"""What is remembered of pictures goes with `/privacy erase`, in this process and behind `partyline serve`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from bots.people.remembered import RememberedCaptions
from inference.api import Inference
from inference.engines.scripted import ScriptedEngine
from inference.serving.service import LocalInference
from inference.tasks.image_to_text.captioner import BlipCaptioner
from tests.fakes import Chat, script, served

ANSWER = {"match": "hello", "answer": "hello back"}


def captions(folder: Path) -> tuple[LocalInference, BlipCaptioner]:
    captioner = BlipCaptioner("nowhere")
    captioner._remember(b"a digest", "a secret place")
    return LocalInference(ScriptedEngine(script(folder, ANSWER)), captioner, clock=time.monotonic), captioner


async def erase(inference: Inference) -> list[Any]:
    chat = Chat(inference)
    await chat.say("hello")
    return [event async for event in chat.events(chat.incoming("/privacy erase now"))]


@pytest.mark.parametrize("remotely", [False, True])
async def test_an_erasure_drops_what_is_remembered_of_pictures(tmp_path: Path, remotely: bool) -> None:
    local, captioner = captions(tmp_path)
    await local.start()
    if remotely:
        async with served(local) as remote:
            await erase(remote)
    else:
        await erase(local)
    assert not captioner._seen
    await local.close()


async def test_an_erasure_does_not_wait_for_a_service_that_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    local, _ = captions(tmp_path)
    await local.start()
    async with served(local) as remote:
        remote._address = "http://127.0.0.1:1"
        await RememberedCaptions(remote).erase(["web:ann"], "2026-11-25")
    assert "not dropped" in caplog.text
    await local.close()


async def test_a_caption_that_was_asked_for_before_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    captioner = BlipCaptioner("nowhere")

    class Nothing:
        async def decode(self, image: bytes) -> None:
            captioner.forget()

        async def close(self) -> None:
            pass

    class Described:
        async def put(self, item: object) -> str:
            return "a secret place"

    await captioner._decoder.close()
    monkeypatch.setattr(captioner, "_decoder", Nothing())
    monkeypatch.setattr(captioner, "_batches", Described())
    monkeypatch.setattr(captioner, "_pixels", lambda picture: None)
    assert await captioner.caption(b"a picture", "", "ann") == "a secret place"
    assert not captioner._seen
    await captioner.close()
