"""Checkpoints from a hub: how far the download is, and what is said when it cannot be."""

import asyncio
import logging
import shutil
from collections import namedtuple
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from inference.api import Unavailable
from inference.checkpoints import location
from inference.engines.transformers import TransformersEngine, TransformersOptions
from inference.serving.service import LocalInference
from tests import checkpoints
from tests.servers.hub import Hub

WEIGHTS = "tiny/chat/model.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = checkpoints.chatml(tmp_path_factory.mktemp("checkpoint"))
    tiny = {f"tiny/chat/{path.name}": path.read_bytes() for path in folder.iterdir()}
    return tiny | {"tiny/chat/pytorch_model.bin": b"the same again", "tiny/gated/config.json": b"{}"}


@pytest.fixture
async def hub(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[dict[str, bytes]]:
    async with Hub(files, gated=frozenset({"tiny/gated"})).serving() as address:
        use(address, tmp_path / "hub", monkeypatch)
        yield files


def use(address: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT and HF_HOME would do, which the library reads when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


async def test_a_download_says_how_far_it_is(hub: dict[str, bytes], caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []
    shares: list[float | None] = []

    def say(text: str, share: float | None) -> None:
        said.append(text)
        shares.append(share)

    caplog.set_level(logging.INFO)
    folder = await asyncio.to_thread(location.folder_of, "tiny/chat", say)
    assert (folder / "model.safetensors").read_bytes() == hub[WEIGHTS]
    assert not (folder / "pytorch_model.bin").exists(), "the same weights twice"
    assert "downloading tiny/chat" in caplog.text
    done = [float(text.split()[2]) for text in said]
    assert done == sorted(done)
    total = said[-1].split()[4]
    assert said[-1] == f"downloading tiny/chat: {total} of {total} GB"
    assert shares[-1] == 1.0
    said.clear()
    assert await asyncio.to_thread(location.folder_of, "tiny/chat", say) == folder
    assert not said, "it is there already"


async def test_what_was_downloaded_needs_no_hub(hub: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = await asyncio.to_thread(location.folder_of, "tiny/chat")
    use("http://127.0.0.1:9", tmp_path / "hub", monkeypatch)
    assert await asyncio.to_thread(location.folder_of, "tiny/chat") == folder
    (folder / "model.safetensors").unlink()
    with pytest.raises(Unavailable, match="not on this machine and the hub cannot be reached"):
        await asyncio.to_thread(location.folder_of, "tiny/chat")


async def test_readiness_shows_the_download(hub: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TransformersEngine("tiny/chat", TransformersOptions(slots=1, context_tokens=256, threads=1))
    service = LocalInference(engine, clock=lambda: 0.0)
    shown: list[str] = []
    say = engine._say

    def noted(progress: str, share: float | None) -> None:
        say(progress, share)
        shown.append(service.readiness.detail)

    monkeypatch.setattr(engine, "_say", noted)
    await service.start()
    await service.close()
    assert shown[0].startswith("downloading tiny/chat: ")
    assert shown[-1].startswith("loading tiny/chat: ")


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("tiny/gated", r"is gated: ask for access at https://huggingface.co/tiny/gated and set HF_TOKEN"),
        ("tiny/none", "no model tiny/none on the hub"),
    ],
)
async def test_what_cannot_be_downloaded_gets_a_sentence(hub: object, reference: str, sentence: str) -> None:
    with pytest.raises(Unavailable, match=sentence):
        await TransformersEngine(reference).start()


async def test_a_disk_that_is_too_small(hub: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(location, "_GB", 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    needed = sum(len(data) for path, data in hub.items() if path.startswith("tiny/chat/") and not path.endswith(".bin"))
    with pytest.raises(Unavailable, match=rf"{(needed - 1000) / 1000:.1f} GB are missing"):
        await TransformersEngine("tiny/chat").start()


async def test_a_hub_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use("http://127.0.0.1:9", tmp_path, monkeypatch)
    with pytest.raises(Unavailable, match="the hub cannot be reached"):
        await TransformersEngine("tiny/chat").start()
