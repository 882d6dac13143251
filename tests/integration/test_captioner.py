"""The captioner: the demo checkpoint through the service's own path, batches, cache, and a model for questions."""

import asyncio
import io
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from transformers import BlipForQuestionAnswering

from inference.api import BadImage, CaptionRequest, OutOfMemory, Unavailable
from inference.demo_captioner.model import build_config, build_processor
from inference.demo_captioner.pillow_set import paint
from inference.demo_captioner.scenes import SHAPES, SceneObject
from inference.engine_factory import captioner_for
from inference.engines.scripted import ScriptedEngine
from inference.serving.service import LocalInference
from inference.tasks.image_to_text.blip import Blip
from inference.tasks.image_to_text.captioner import BlipCaptioner
from inference.tasks.micro_batcher import MicroBatcher
from tests.fakes import script


def picture(colour: str = "red", shape: str = "circle") -> bytes:
    stream = io.BytesIO()
    paint([SceneObject(colour, shape, (0.5, 0.5))], [64], (256, 256), "white").save(stream, "PNG")
    return stream.getvalue()


class Counted(BlipCaptioner):
    """Says how large its batches were."""

    def __init__(self, reference: str, **options: object) -> None:
        super().__init__(reference, **options)  # type: ignore[arg-type]
        self.sizes: list[int] = []

    def _describe(self, items: Sequence[tuple[object, str]]) -> Sequence[str | Exception]:
        self.sizes.append(len(items))
        return super()._describe(items)


def demo(**options: object) -> Counted:
    made = captioner_for("demo")
    assert made is not None
    return Counted(made._reference, **options)


async def test_pictures_that_come_together_are_looked_at_together() -> None:
    captioner = demo()
    await captioner.preload()
    colours = ["red", "blue", "green", "black", "yellow", "purple"]
    alone = [await captioner.caption(picture(colour), "", "ann") for colour in colours]
    captioner._seen.clear()
    captioner.sizes.clear()
    together = await asyncio.gather(*(captioner.caption(picture(colour), "", "ann") for colour in colours))
    assert together == alone
    assert together[1] == "a blue circle on a white background"
    assert len(captioner.sizes) < len(colours)
    await captioner.close()


async def test_each_caption_begins_with_its_own_prompt() -> None:
    captioner = demo()
    await captioner.preload()
    prompts = ["", "a picture of", "this is", "there is", "a photo of", ""]
    colours = ["red", "blue", "green", "red", "blue", "black"]
    pairs = zip(colours, prompts, strict=True)
    said = await asyncio.gather(*(captioner.caption(picture(colour), prompt, "ann") for colour, prompt in pairs))
    for colour, prompt, text in zip(colours, prompts, said, strict=True):
        assert text == f"{prompt} a {colour} circle on a white background".strip()
    await captioner.close()


async def test_what_was_seen_is_remembered_by_picture_and_prompt() -> None:
    captioner = demo()
    first = await captioner.caption(picture(), "", "ann")
    assert await captioner.caption(picture(), "", "ann") == first
    assert captioner.sizes == [1]
    await captioner.caption(picture(), "this is", "ann")
    assert captioner.sizes == [1, 1]
    await captioner.close()


async def test_nobody_learns_by_the_time_what_somebody_else_has_sent(tmp_path: Path) -> None:
    captioner = demo()
    service = LocalInference(ScriptedEngine(script(tmp_path)), captioner, clock=time.monotonic)
    await service.start()

    async def ask(owner: str) -> str:
        request = CaptionRequest(id=owner, image=picture(), owner=owner, prompt="is this ann")
        return (await service.caption(request)).text

    first = await ask("telegram:ann")
    assert await ask("telegram:eve") == first
    assert captioner.sizes == [1, 1], "it is looked at for each of them"
    assert await ask("telegram:ann") == first
    assert captioner.sizes == [1, 1], "one's own picture stays quick"
    await service.close()


async def test_a_bad_picture_spoils_nobody_elses() -> None:
    captioner = demo()
    await captioner.preload()
    results = await asyncio.gather(
        captioner.caption(picture(), "", "ann"), captioner.caption(b"no picture", "", "ann"), return_exceptions=True
    )
    assert results[0] == "a red circle on a white background"
    assert isinstance(results[1], BadImage)
    await captioner.close()


async def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    captioner = demo(batch=8)
    await captioner.preload()
    real = Blip.describe

    def small(self: Blip, pixels: Sequence[object], prompts: Sequence[str]) -> list[str]:
        if len(pixels) > 2:
            raise RuntimeError("CUDA out of memory")
        return real(self, pixels, prompts)

    monkeypatch.setattr(Blip, "describe", small)
    colours = ["red", "blue", "green", "black", "yellow", "purple"]
    said = await asyncio.gather(*(captioner.caption(picture(colour), "", "ann") for colour in colours))
    assert said[2] == "a green circle on a white background"
    assert captioner._batches.size <= 2
    monkeypatch.setattr(Blip, "describe", real)
    for number in range(30):
        await captioner.caption(picture(), f"a picture {number}", "ann")
    assert captioner._batches.size == 8, "it grows again"
    await captioner.close()


async def test_one_picture_that_does_not_fit_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Blip, pixels: Sequence[object], prompts: Sequence[str]) -> list[str]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Blip, "describe", never)
    captioner = demo()
    with pytest.raises(OutOfMemory):
        await captioner.caption(picture(), "", "ann")
    await captioner.close()


async def test_a_closed_captioner_is_unavailable() -> None:
    captioner = demo()
    await captioner.close()
    with pytest.raises(Unavailable):
        await captioner.caption(picture(), "", "ann")


async def test_a_model_for_questions_answers_them(tmp_path: Path) -> None:
    folder = tmp_path / "vqa"
    processor = build_processor()
    BlipForQuestionAnswering(build_config()).save_pretrained(folder)
    processor.save_pretrained(folder)
    captioner = BlipCaptioner(str(folder))
    assert captioner.answers
    assert BlipCaptioner("Salesforce/blip-vqa-base").answers
    assert not BlipCaptioner("Salesforce/blip-image-captioning-base").answers
    assert not demo().answers
    asked = ["what is this ?", "what color is the circle on the left ?", ""]
    answers = await asyncio.gather(*(captioner.caption(picture(), question, "ann") for question in asked))
    assert captioner._load().answers
    assert all(isinstance(answer, str) for answer in answers)
    await captioner.close()


async def test_what_is_no_checkpoint_is_unavailable(tmp_path: Path) -> None:
    captioner = BlipCaptioner(str(tmp_path))
    with pytest.raises(Unavailable, match="cannot be loaded"):
        await captioner.caption(picture(), "", "ann")
    await captioner.close()


async def test_many_people_with_pictures_share_one_batch(tmp_path: Path) -> None:
    captioner = demo()
    await captioner.preload()
    service = LocalInference(ScriptedEngine(script(tmp_path)), captioner, clock=time.monotonic)
    await service.start()
    requests = [
        CaptionRequest(id=f"c{n}", image=picture(colour), owner=f"person {n}")
        for n, colour in enumerate(["red", "blue", "green", "black", "yellow", "purple", "red", "blue"])
    ]
    captions = await asyncio.gather(*map(service.caption, requests))
    assert captions[1].text == "a blue circle on a white background"
    assert max(captioner.sizes) > 1
    await service.close()


async def test_sixteen_pictures_of_one_person_fill_half_a_batch_each_time(tmp_path: Path) -> None:
    captioner = demo()
    await captioner.preload()
    service = LocalInference(ScriptedEngine(script(tmp_path)), captioner, clock=time.monotonic)
    await service.start()
    shapes = [picture(colour, shape) for colour in ("red", "blue", "green", "black") for shape in SHAPES[:4]]
    requests = [CaptionRequest(id=f"c{n}", image=image, owner="ann") for n, image in enumerate(shapes)]
    captions = await asyncio.gather(*map(service.caption, requests))
    assert len({caption.text for caption in captions}) > 12
    assert max(captioner.sizes) > 2
    assert sum(captioner.sizes) == 16
    await service.close()


async def test_whoever_is_cancelled_takes_nobody_along() -> None:
    def shout(items: Sequence[str]) -> Sequence[str | Exception]:
        return [item.upper() for item in items]

    with ThreadPoolExecutor(1) as thread:
        batches: MicroBatcher[str, str] = MicroBatcher(shout, thread, size=2, window_s=0.01)
        waiting = [asyncio.ensure_future(batches.put(letter)) for letter in "abcde"]
        await asyncio.sleep(0)
        waiting[1].cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(result) for result in results] == ["A", "", "C", "D", "E"]
        assert await batches.put("again") == "AGAIN"


async def test_what_fails_in_a_batch_fails_alone_and_the_next_one_runs() -> None:
    def fail(items: Sequence[str]) -> Sequence[str | Exception]:
        if "bad" in items:
            raise ValueError("no")
        return list(items)

    with ThreadPoolExecutor(1) as thread:
        batches: MicroBatcher[str, str] = MicroBatcher(fail, thread, size=4, window_s=0.01)
        letters = ["a", "bad", "c"]
        results = await asyncio.gather(*map(batches.put, letters), return_exceptions=True)
        assert [str(result) for result in results] == ["a", "no", "c"]
        assert await batches.put("good") == "good"


async def test_a_prompt_that_cannot_be_encoded_gets_its_caption() -> None:
    captioner = demo()
    async with asyncio.timeout(60):
        torn, whole = await asyncio.gather(
            captioner.caption(picture(), "I see \ud800", "ann"), captioner.caption(picture("blue"), "I see", "ann")
        )
    await captioner.close()
    assert torn
    assert whole


def test_pictures_are_rgb_of_the_models_size() -> None:
    blip = demo()._load()
    assert tuple(blip.pixels(Image.new("RGB", (30, 400))).shape) == (1, 3, 64, 64)


async def test_a_stop_does_not_wait_for_a_checkpoint_that_is_being_read(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, goes_on = threading.Event(), threading.Event()

    def load(*_: object) -> None:
        reads.set()
        goes_on.wait()
        raise Unavailable("nobody waits for it any more")

    monkeypatch.setattr("inference.tasks.image_to_text.blip.load", load)
    captioner = BlipCaptioner("nowhere")
    asked = [asyncio.ensure_future(captioner.caption(picture(), str(number), "ann")) for number in range(3)]
    assert await asyncio.to_thread(reads.wait, 60)
    try:
        for each in asked:
            each.cancel()
        await asyncio.wait_for(captioner.close(), 60)
        assert not goes_on.is_set()
    finally:
        goes_on.set()


@pytest.mark.parametrize("defect", [RuntimeError("odd"), OSError("torn"), MemoryError(), ImportError("no library")])
async def test_a_checkpoint_that_a_library_cannot_load_is_unavailable_and_tried_again(
    defect: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from inference.tasks.image_to_text.blip import load

    defects = [defect]

    def loading(*arguments: str) -> object:
        if defects:
            raise defects.pop()
        return load(*arguments)

    monkeypatch.setattr("inference.tasks.image_to_text.blip.load", loading)
    captioner = demo()
    with pytest.raises(Unavailable, match="cannot be loaded") as raised:
        await captioner.caption(picture(), "", "ann")
    assert not isinstance(raised.value, OutOfMemory), "the picture is not what was too much"
    assert type(defect).__name__ in caplog.text
    assert not captioner.loads
    assert await captioner.caption(picture(), "", "ann")
    await captioner.close()
