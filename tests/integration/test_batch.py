"""The shared batch: what it relies on in the library, and that failures stay with the request they belong to."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig
from transformers.generation.continuous_batching.model_runner import ModelRunner

from inference.api import ChatRequest, Message, Sampling, Unavailable
from inference.engines.port import Closed, Died, Opened, Output, Piece, TooLarge
from inference.engines.transformers import TransformersEngine, TransformersOptions
from inference.engines.transformers.batch import SharedBatch
from inference.engines.transformers.sampling import Row, Sampler
from tests import checkpoints

GREEDY = Sampling(temperature=0)
# Prompts of many lengths: pages that are full and not, one that is read in several steps, one of a single token.
PROMPTS = [[5] * 1, [7, 9] * 4, list(range(20, 84)), list(range(100, 190)), [3, 250, 17], list(range(100, 190))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.chatml(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def reasoner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.r1(tmp_path_factory.mktemp("r1"))


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[TransformersEngine]:
    made = TransformersEngine(str(folder), TransformersOptions(slots=4, context_tokens=512, batch_tokens=64, threads=1))
    await made.start()
    yield made
    await made.close()


def test_a_start_that_is_given_up_keeps_its_process_no_longer_than_it_loads(folder: Path) -> None:
    """In a process of its own, which would wait for ever for a batch that nobody stops."""
    code = """
import asyncio, sys
from inference.engines.transformers.engine import TransformersEngine, TransformersOptions

async def main():
    engine = TransformersEngine(sys.argv[1], TransformersOptions(slots=1, context_tokens=256, threads=1))
    start = asyncio.create_task(engine.start())
    await asyncio.sleep(0.2)
    start.cancel()
    await asyncio.wait([start])
    assert start.cancelled()
    await engine.close()

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code, str(folder)], timeout=90, check=True)


def ask(text: str, **sampling: Any) -> ChatRequest:
    settings = Sampling(**{"max_new_tokens": 8, "temperature": 0, **sampling})
    return ChatRequest(id="r", messages=(Message("user", text),), sampling=settings, owner="ann")


async def outputs(engine: TransformersEngine, request: ChatRequest) -> list[Output]:
    async with aclosing(engine.generate(request)) as stream:
        return [output async for output in stream]


async def text(engine: TransformersEngine, request: ChatRequest) -> str:
    return "".join(output.text for output in await outputs(engine, request) if isinstance(output, Piece))


async def until(holds: Callable[[], bool]) -> None:
    """Waits for what a thread of the library does, of which nobody tells."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def batch_of(folder: Path, *, own_attention: bool, batch_tokens: int = 48) -> SharedBatch:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = ContinuousBatchingConfig(
        page_size=16,
        num_blocks=80,
        max_batch_tokens=batch_tokens,
        max_requests_per_batch=8,
        use_async_batching=False,
        use_cuda_graph=False,
    )
    batch = SharedBatch(model, config, Sampler(), own_attention=own_attention)
    with torch.inference_mode():
        batch.start()
    return batch


async def answers(batch: SharedBatch, most: int = 20) -> list[list[int]]:
    heard: list[Any] = [None] * len(PROMPTS)
    for at, prompt in enumerate(PROMPTS):
        hear = partial(heard.__setitem__, at)
        batch.submit(str(at), prompt, Row(GREEDY, prompt, room=most), most=most, end_ids=[], heard=hear)
    await until(lambda: all(output is not None and output.is_finished() for output in heard))
    return [output.generated_tokens for output in heard]


async def stopped(batch: SharedBatch) -> None:
    await asyncio.to_thread(batch.stop, hard_stop=True)


@pytest.mark.parametrize("batch_tokens", [48, 512])
async def test_own_attention_says_what_generate_says(folder: Path, batch_tokens: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    alone = [
        model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0)
        for prompt in PROMPTS
    ]
    wanted = [ids[0, len(prompt) :].tolist() for ids, prompt in zip(alone, PROMPTS, strict=True)]
    for own_attention in (True, False):
        batch = await asyncio.to_thread(batch_of, folder, own_attention=own_attention, batch_tokens=batch_tokens)
        try:
            assert await answers(batch) == wanted
            # Now the prompts are in the cache.
            assert await answers(batch) == wanted
        finally:
            await stopped(batch)


async def test_layers_elsewhere_reach_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = await asyncio.to_thread(batch_of, folder, own_attention=True)
    try:
        here = await answers(batch)
        assert batch.batch_processor is not None
        # Another name of the same device is another device to everything but torch.
        monkeypatch.setattr(batch.batch_processor.cache, "device", torch.device("cpu", 0))
        assert await answers(batch) == here
    finally:
        await stopped(batch)


async def test_the_library_hands_over_the_logits_of_requests_with_a_new_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `_SamplingRunner` relies on: one row for each, in the order of the batch, at the end of what was read."""
    seen = []
    batch = await asyncio.to_thread(batch_of, folder, own_attention=True)
    compute = ModelRunner.compute_batch

    def watched(runner: Any, model: Any, data: Any) -> None:
        compute(runner, model, data)
        requests = runner.inputs_and_outputs.requests_in_batch
        new = [request for request in requests if request.has_new_token]
        ends, end = [], 0
        for request in requests:
            end += request.query_length
            if request.has_new_token:
                ends.append(end - 1)
        assert data["logits_indices"][: len(new)].tolist() == ends
        assert runner._logits.shape[0] >= len(new)
        assert runner._logits.dtype == torch.float32
        for request in new:
            state = request.state
            assert state.position_offset == len(state.initial_tokens) + len(state.generated_tokens)
        seen.append(len(new))

    monkeypatch.setattr(ModelRunner, "compute_batch", watched)
    try:
        await answers(batch, most=4)
    finally:
        await stopped(batch)
    assert sum(seen) == 4 * len(PROMPTS)


async def test_nan_fails_one_request_only(engine: TransformersEngine) -> None:
    loaded = engine._loaded
    assert loaded is not None
    calm = await text(engine, ask("the sea"))
    [poison] = loaded.prompts._ids("}")
    model: Any = loaded.batch.model
    model.model.embed_tokens.weight.data[poison] = torch.nan
    good, bad, more = await asyncio.gather(
        text(engine, ask("the sea")), outputs(engine, ask("}")), text(engine, ask("the sea")), return_exceptions=True
    )
    assert good == more == calm
    assert isinstance(bad, Unavailable)
    assert "NaN" in bad.why
    assert await text(engine, ask("the sea")) == calm
    await until(lambda: engine.running == 0)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
    ids=["GPU", "cuBLAS", "CPU"],
)
async def test_a_request_that_lacks_memory_by_itself_fails_alone_and_narrows_nothing(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    loaded = engine._loaded
    assert loaded is not None
    alone = [await text(engine, ask(word, max_new_tokens=12)) for word in ("sea", "word")]
    forward = loaded.batch.model.forward
    [trigger] = loaded.prompts._ids("}")

    def small_memory(**given: Any) -> Any:
        if trigger in given["input_ids"]:
            raise error
        return forward(**given)

    monkeypatch.setattr(loaded.batch.model, "forward", small_memory)
    running = [asyncio.create_task(text(engine, ask(word, max_new_tokens=12))) for word in ("sea", "word")]
    with pytest.raises(TooLarge, match="out of memory"):
        await outputs(engine, ask("}" + " lighthouse keeper" * 20))
    assert [await task for task in running] == alone
    processor = loaded.batch.batch_processor
    assert processor is not None
    await until(lambda: not loaded.batch._dropped)
    assert (processor.scheduler.max_requests_per_batch, processor.max_batch_tokens) == (4, 64)
    assert not loaded.batch._tried


async def test_requests_that_are_together_too_much_are_all_answered_in_smaller_batches(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = engine._loaded
    assert loaded is not None
    words = ["sea", "word", "the sea", "a lighthouse keeper"]
    alone = [await text(engine, ask(word, max_new_tokens=12)) for word in words]
    forward: Any = loaded.batch.model.forward
    processor: Any = loaded.batch.batch_processor
    sizes = []

    def small_memory(**given: Any) -> Any:
        sizes.append(len(processor.inputs_and_outputs.requests_in_batch))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(**given)

    monkeypatch.setattr(loaded.batch.model, "forward", small_memory)
    assert await asyncio.gather(*(text(engine, ask(word, max_new_tokens=12)) for word in words)) == alone
    assert max(sizes) > 2
    # Memory is there again: so are the places.
    monkeypatch.setattr(loaded.batch.model, "forward", forward)
    for _ in range(20):
        await text(engine, ask("sea", max_new_tokens=1))
    await until(lambda: not loaded.batch._dropped)
    assert (processor.scheduler.max_requests_per_batch, processor.max_batch_tokens) == (4, 64)


async def test_a_prompt_that_is_too_much_for_large_steps_is_read_in_small_ones(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = engine._loaded
    assert loaded is not None
    forward = loaded.batch.model.forward

    def small_memory(**given: Any) -> Any:
        if given["input_ids"].numel() > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(**given)

    monkeypatch.setattr(loaded.batch.model, "forward", small_memory)
    assert await text(engine, ask("lighthouse keeper " * 40))


async def test_a_batch_that_has_died_says_so(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**given: Any) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    assert engine._loaded is not None
    monkeypatch.setattr(engine._loaded.batch.model, "forward", broken)
    with pytest.raises(Died, match="device-side assert"):
        await outputs(engine, ask("the sea"))
    with pytest.raises(Died, match="has stopped"):
        await outputs(engine, ask("the sea"))


async def test_a_stop_leaves_nothing_behind(engine: TransformersEngine) -> None:
    loaded = engine._loaded
    assert loaded is not None
    for number in range(60):
        async with aclosing(engine.generate(ask(f"the sea {number}", max_new_tokens=40))) as stream:
            async for output in stream:
                if isinstance(output, Opened) and number % 3 == 0:
                    break
                if isinstance(output, Piece) and number % 3 == 1:
                    break
                if number % 3 == 2 and isinstance(output, Closed):
                    break
    await until(lambda: not engine.running and not loaded.batch._dropped)
    assert not loaded.batch._members
    assert not loaded.batch.output_router.result_handlers
    assert loaded.batch.output_router.output_queue.empty()


async def test_a_stop_is_heard_within_one_step(engine: TransformersEngine) -> None:
    loaded = engine._loaded
    assert loaded is not None
    async with aclosing(engine.generate(ask("the sea", max_new_tokens=400))) as stream:
        await anext(stream)
        await anext(stream)
        [state] = loaded.batch.batch_processor.scheduler.active_requests.values()  # type: ignore[union-attr]
    said = len(state.generated_tokens)
    await until(lambda: engine.running == 0)
    # The step that ran when it was stopped, and the one that was being put together.
    assert len(state.generated_tokens) <= said + 2


async def test_a_closed_engine_refuses_and_can_be_started_again(engine: TransformersEngine) -> None:
    stream = engine.generate(ask("the sea", max_new_tokens=400))
    await anext(stream)
    await anext(stream)
    await engine.close()
    with pytest.raises(Unavailable) as failed:
        async for _ in stream:
            pass
    assert not isinstance(failed.value, Died)
    with pytest.raises(Unavailable):
        await engine.count_tokens([Message("user", "x")])
    await engine.start()
    assert await text(engine, ask("the sea"))


async def test_any_id_of_a_list_ends_a_text(tmp_path: Path) -> None:
    folder = checkpoints.chatml(tmp_path)
    checkpoints.rewrite(folder, ends=[40, 41], likely=41)
    engine = TransformersEngine(str(folder), TransformersOptions(slots=1, context_tokens=256, threads=1))
    await engine.start()
    try:
        assert (await outputs(engine, ask("x")))[1:] == [Closed("stop", 0)]
        held = (await outputs(engine, ask("x", min_new_tokens=3)))[-1]
        assert isinstance(held, Closed)
        assert (held.reason, held.completion_tokens) == ("stop", 3)
    finally:
        await engine.close()


async def test_reasoning_is_told_from_the_template(reasoner: Path) -> None:
    engine = TransformersEngine(str(reasoner), TransformersOptions(slots=1, context_tokens=256, threads=1))
    await engine.start()
    try:
        assert engine.info.reasoning
        opened = (await outputs(engine, ask("x")))[0]
        assert isinstance(opened, Opened)
        assert opened.thinking
    finally:
        await engine.close()


async def test_ids_without_text_are_never_chosen(tmp_path: Path) -> None:
    folder = checkpoints.chatml(tmp_path)
    checkpoints.rewrite(folder, likely=-1)
    engine = TransformersEngine(str(folder), TransformersOptions(slots=1, context_tokens=256, threads=1))
    await engine.start()
    try:
        assert await text(engine, ask("x"))
    finally:
        await engine.close()


@pytest.fixture
def lora(folder: Path, tmp_path: Path) -> Path:
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    adapted: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
    adapted.save_pretrained(tmp_path)
    return tmp_path


# peft reads an attribute that transformers has renamed.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
async def test_lora_is_added_to_the_weights(folder: Path, lora: Path, engine: TransformersEngine) -> None:
    adapted = TransformersEngine(str(folder), TransformersOptions(slots=1, threads=1, adapter=str(lora)))
    await adapted.start()
    try:
        assert await text(adapted, ask("the sea"))
        engines: list[Any] = [adapted, engine]
        weights = [made._loaded.batch.model.model.layers[0].mlp.down_proj.weight for made in engines]
        assert not torch.equal(*weights)
    finally:
        await adapted.close()


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("./nothing/here", "no folder"),
        ("/nothing", "no folder"),
        ("no such id!", "neither a folder nor a hub id"),
    ],
)
async def test_a_wrong_reference_gets_a_sentence(reference: str, sentence: str) -> None:
    with pytest.raises(Unavailable, match=sentence):
        await TransformersEngine(reference).start()


async def test_a_folder_without_a_model_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be loaded"):
        await TransformersEngine(str(tmp_path)).start()


async def test_missing_memory_and_disk_are_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inference.checkpoints import location

    monkeypatch.setattr(location, "free_memory", lambda: 1000)
    with pytest.raises(Unavailable, match=r"0\.0 GB of memory.*are missing"):
        await TransformersEngine(str(folder)).start()
    # Enough for the weights, and no more.
    monkeypatch.setattr(location, "free_memory", lambda: location.weights_size(folder))
    with pytest.raises(Unavailable, match=r"cache for 64 conversations of 2048 tokens.*GB are missing"):
        await TransformersEngine(str(folder), TransformersOptions(slots=64)).start()
    with pytest.raises(Unavailable, match=r"1000000000\.0 GB of disk.*are missing"):
        await asyncio.to_thread(location._check_disk, "some/model", 10**18)
