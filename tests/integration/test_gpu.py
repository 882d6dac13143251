"""What only a GPU shows: streams, flash attention with CUDA graphs, memory that runs out, layers outside, float16."""

import asyncio
import gc
import io
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM

from inference.api import ChatRequest, Message, Sampling, Unavailable
from inference.engine_factory import captioner_for
from inference.engines.port import Closed, Piece
from inference.engines.transformers import TransformersEngine, TransformersOptions, attention, loading
from inference.engines.transformers.prompts import TokenizedPrompt
from inference.engines.transformers.sampling import Row
from inference.tasks.image_to_text import blip
from tests import checkpoints

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GB = 2**30
Crowd = Callable[[int | None], None]
WORDS = "the sea is wide and a lighthouse keeper tells what the word is about"
PEOPLE = [
    Sampling(temperature=0.0 if at % 3 == 0 else 0.5 + at / 10, top_p=0.8, seed=at, max_new_tokens=24)
    for at in range(12)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sharp enough that sixteen bits choose as thirty-two do, nearly always."""
    folder = checkpoints.chatml(tmp_path_factory.mktemp("model"))
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.lm_head.weight.data[:, 1:] *= 8
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(params=["flash", attention.PACKED, attention.RECTANGLES])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "flash":
        monkeypatch.setattr(loading, "_has_flash", lambda model: False)
    if request.param == attention.RECTANGLES:
        monkeypatch.setattr(attention, "fitting", lambda model: attention.RECTANGLES)
    return str(request.param)


@pytest.fixture
async def engine(folder: Path, kind: str) -> AsyncIterator[TransformersEngine]:
    made = TransformersEngine(str(folder), TransformersOptions(slots=8, context_tokens=1024))
    await made.start()
    assert made._loaded is not None
    used = made._loaded.batch.model.config._attn_implementation
    if kind == "flash" and not used.startswith("flash"):
        await made.close()
        pytest.skip("no flash attention is installed")
    assert used == kind or kind == "flash"
    yield made
    await made.close()


@pytest.fixture
def crowded() -> Iterator[Crowd]:
    """Takes all memory of the GPU but so many bytes; None gives it back."""
    taken: list[torch.Tensor] = []

    def take(left: int | None) -> None:
        taken.clear()
        gc.collect()
        torch.cuda.empty_cache()
        if left is not None:
            taken.append(torch.empty(torch.cuda.mem_get_info(0)[0] - left, dtype=torch.uint8, device="cuda"))

    yield take
    take(None)


def ask(sampling: Sampling, length: int = 30) -> ChatRequest:
    words = " ".join((WORDS.split() * length)[:length])
    return ChatRequest(id="r", messages=(Message("user", words),), sampling=sampling, owner="ann")


async def said(engine: TransformersEngine, request: ChatRequest) -> str:
    async with aclosing(engine.generate(request)) as stream:
        return "".join([output.text async for output in stream if isinstance(output, Piece)])


async def test_everybody_gets_the_same_alone_and_in_a_crowd(engine: TransformersEngine) -> None:
    """With prompts of many lengths, again and again, so that a stream that does not wait for another would show."""
    requests = [ask(sampling, 5 + 13 * at) for at, sampling in enumerate(PEOPLE)]
    alone = [await said(engine, request) for request in requests]
    assert len(set(alone)) > 6
    same = rounds = 0
    for _ in range(5):
        together = await asyncio.gather(*(said(engine, request) for request in requests))
        same += sum(a == b for a, b in zip(alone, together, strict=True))
        rounds += len(requests)
    assert same >= 0.8 * rounds  # sixteen bits round otherwise in another shape


async def written(loaded: Any, prompts: Sequence[TokenizedPrompt], most: int) -> list[list[int]]:
    """The tokens of the greedy answers, all written at once and past every end of a text."""
    heard: list[list[Any]] = [[] for _ in prompts]
    for at, (prompt, outputs) in enumerate(zip(prompts, heard, strict=True)):
        row = Row(Sampling(temperature=0), prompt.ids, room=most)
        name = f"{at} {time.monotonic()}"
        loaded.batch.submit(name, prompt.ids, row, most=most, end_ids=[], heard=outputs.append)
    async with asyncio.timeout(60):
        while not all(outputs and outputs[-1].is_finished() for outputs in heard):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return [outputs[-1].generated_tokens for outputs in heard]


async def test_every_greedy_token_is_the_likeliest(engine: TransformersEngine, folder: Path) -> None:
    """By one forward pass in float32 over prompt and answer, but for what sixteen bits round."""
    loaded: Any = engine._loaded
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map={"": 0})
    behind = []
    for _ in range(2):  # the second time the prompts are in the cache
        prompts = [loaded.prompts.encode(ask(Sampling(), length).messages, "") for length in (3, 40, 200, 300, 400)]
        for prompt, said in zip(prompts, await written(loaded, prompts, 24), strict=True):
            with torch.inference_mode():
                logits = model(torch.tensor([prompt.ids + said], device="cuda")).logits[0, len(prompt.ids) - 1 : -1]
                logits[:, loaded.batch._sampler._never.to(logits.device)] = -torch.inf
                chosen = logits.gather(1, torch.tensor(said, device="cuda")[:, None])[:, 0]
            behind += (logits.max(-1).values - chosen).tolist()
    assert len(behind) == 2 * 5 * 24
    spread = 8 * 0.08 * checkpoints.WIDTH**0.5
    assert max(behind) < 0.15 * spread
    assert sum(gap == 0 for gap in behind) > 0.8 * len(behind)


async def test_penalties_count_the_tokens_of_the_last_step(engine: TransformersEngine) -> None:
    """A repetition penalty this strong lets nothing be said twice while there is anything else."""
    loaded: Any = engine._loaded
    text = await said(engine, ask(Sampling(temperature=0, repetition_penalty=2.0, presence_penalty=2.0, seed=1)))
    plain = await said(engine, ask(Sampling(temperature=0)))
    assert len(set(loaded.tokenizer(text)["input_ids"])) > len(set(loaded.tokenizer(plain)["input_ids"]))


async def test_memory_that_runs_out_in_a_step_costs_one_request(folder: Path, crowded: Crowd) -> None:
    options = TransformersOptions(slots=8, context_tokens=2048, batch_tokens=4096)
    engine = TransformersEngine(str(folder), options)
    await engine.start()
    try:
        before = await said(engine, ask(PEOPLE[1]))
        crowded(8 * 2**20)
        results = await asyncio.gather(
            *(said(engine, ask(sampling, 1500)) for sampling in PEOPLE[:8]), return_exceptions=True
        )
        failed = [result for result in results if isinstance(result, BaseException)]
        assert all(isinstance(failure, Unavailable) for failure in failed)
        assert len(failed) < len(results)
        assert await said(engine, ask(PEOPLE[1])) == before
    finally:
        await engine.close()


async def test_a_cache_that_does_not_fit_is_a_sentence(folder: Path, crowded: Crowd) -> None:
    """256 bytes a token, so 5 GB; the machine's memory would do, which is why only the allocation can tell."""
    crowded(GB)
    engine = TransformersEngine(str(folder), TransformersOptions(slots=8192, context_tokens=2048))
    with pytest.raises(Unavailable, match=r"lower inference\.slots"):
        await engine.start()
    await engine.close()


async def test_layers_outside_of_the_gpu(tmp_path: Path, crowded: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the GPU has no room for lies in the machine's memory, and the answer is the same.

    2.4 GB of weights, with the attention that suits both ways, so that nothing is rounded otherwise.
    """
    monkeypatch.setattr(loading, "_has_flash", lambda model: False)
    monkeypatch.setattr(attention, "fitting", lambda model: attention.RECTANGLES)
    folder = checkpoints.chatml(
        tmp_path / "wide", hidden_size=2048, intermediate_size=8192, num_hidden_layers=12, head_dim=64
    )
    answers = []
    for left in (GB, None):
        crowded(left)
        engine = TransformersEngine(str(folder), TransformersOptions(slots=2, context_tokens=512))
        await engine.start()
        loaded: Any = engine._loaded
        devices = {str(parameter.device) for parameter in loaded.batch.model.parameters()}
        assert (devices == {"cuda:0"}) == (left is None)
        prompts = [loaded.prompts.encode(ask(Sampling(), length).messages, "") for length in (5, 80)]
        answers.append(await written(loaded, prompts, 8))
        await engine.close()
        del loaded, engine
    assert answers[0] == answers[1]
    assert all(len(set(tokens)) > 1 for tokens in answers[0])


async def test_a_stop_is_heard_within_a_step(engine: TransformersEngine) -> None:
    stream = engine.generate(ask(Sampling(max_new_tokens=900, seed=1)))
    async with aclosing(stream) as outputs:
        async for output in outputs:
            assert not isinstance(output, Closed)
            if isinstance(output, Piece):
                break
    async with asyncio.timeout(5):
        while engine.running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def drawn(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (256, 256), colour).save(stream, "PNG")
    return stream.getvalue()


async def test_captions_in_float16_are_those_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [drawn(colour) for colour in ("red", "green", "blue", "white", "black", "yellow")]
    texts = []
    for dtype in (torch.float32, torch.float16):
        monkeypatch.setattr(blip, "_dtype", lambda device, dtype=dtype: dtype)
        captioner = captioner_for("demo")
        assert captioner is not None
        texts.append(await asyncio.gather(*(captioner.caption(picture, "", "ann") for picture in pictures)))
        loaded = captioner._load()
        assert loaded.model.device.type == "cuda"
        assert loaded.model.dtype == dtype
        await captioner.close()
    assert texts[0] == texts[1]
