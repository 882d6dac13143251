"""16 pictures at once through the captioner against the reference applications' loop, one by one.

`python -m benchmarks.captions` makes a model of BLIP-base's size with random weights, and runs the two in turn. Both
decode the same files, and both write 20 tokens for each picture, as the reference does. The loop is run in float32, as
the checkpoint was published, and in whatever the captioner chooses for this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import io
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

from inference.tasks.image_to_text import blip
from inference.tasks.image_to_text.captioner import BlipCaptioner

PICTURES = 16
TOKENS = 20
WANTED = 1.4


def checkpoint(folder: Path) -> None:
    """BLIP-base: a ViT-B/16 at 384 pixels and a text decoder of BERT-base's size, 30,524 words."""
    torch.manual_seed(0)
    vocabulary = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"])}
    vocabulary |= {f"w{n}": n for n in range(len(vocabulary), 30_524)}
    text = {
        "vocab_size": len(vocabulary),
        "bos_token_id": vocabulary["[DEC]"],
        "eos_token_id": vocabulary["[SEP]"],
        "sep_token_id": vocabulary["[SEP]"],
        "pad_token_id": vocabulary["[PAD]"],
    }
    model = BlipForConditionalGeneration(BlipConfig(vision_config={"image_size": 384}, text_config=text))
    tokenizer = BertTokenizer(vocab=vocabulary, bos_token="[DEC]", model_max_length=512)
    images = BlipImageProcessorPil(size={"height": 384, "width": 384})
    processor = BlipProcessor(images, tokenizer)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def pictures(count: int, seed: int) -> list[bytes]:
    dice = np.random.default_rng(seed)
    files = []
    for _ in range(count):
        coarse = Image.fromarray(dice.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        stream = io.BytesIO()
        coarse.resize((1024, 768), Image.Resampling.BICUBIC).save(stream, "JPEG")
        files.append(stream.getvalue())
    return files


def one_by_one(loaded: blip.Blip, files: list[bytes]) -> float:
    """Seconds for the reference's way: `processor(image)`, `model.generate(**inputs)` for each."""
    began = time.perf_counter()
    model: Any = loaded.model
    for data in files:
        inputs = loaded.processor(images=Image.open(io.BytesIO(data)).convert("RGB"), return_tensors="pt").to(
            model.dtype
        )
        with torch.inference_mode():
            rows = model.generate(**inputs, max_new_tokens=TOKENS)
        loaded.processor.decode(rows[0], skip_special_tokens=True)
    return time.perf_counter() - began


async def at_once(captioner: BlipCaptioner, files: list[bytes]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(captioner.caption(data, "", "someone") for data in files))
    return time.perf_counter() - began


async def compare(folder: Path, runs: int) -> None:
    captioner = BlipCaptioner(str(folder), name="BLIP-base, random weights", device="cpu")
    await captioner.preload()
    loaded = await asyncio.to_thread(captioner._load)
    published = replace(loaded, model=copy.deepcopy(loaded.model).float())
    print(f"one by one in float32 and in {loaded.model.dtype}, and {PICTURES} at once")
    ratios: list[tuple[float, float]] = []
    for run in range(runs + 1):
        files = pictures(PICTURES if run else 2, run)
        slow, same, quick = one_by_one(published, files), one_by_one(loaded, files), await at_once(captioner, files)
        if run:  # the first one warms up
            ratios.append((slow / quick, same / quick))
            print(
                f"run {run:<4}{slow:10.2f} s{same:10.2f} s{quick:10.2f} s{slow / quick:8.2f}{same / quick:8.2f}",
                flush=True,
            )
    medians = [statistics.median(ratio) for ratio in zip(*ratios, strict=True)]
    print(f"median ratios {medians[0]:.2f} (wanted: at least {WANTED}), {medians[1]:.2f}")
    await grow(captioner, runs)
    await captioner.close()


async def grow(captioner: BlipCaptioner, runs: int) -> None:
    """The time of batches of several sizes, one size after the other in every run."""
    sizes = (1, 2, 4, 8, 16)
    took: dict[int, list[float]] = {size: [] for size in sizes}
    for run in range(runs):
        for size in sizes:
            took[size].append(await at_once(captioner, pictures(size, 1000 * (run + 1) + size)))
    print(f"{'pictures':>8}{'time':>10}{'for each':>12}   (wanted: the time never grows faster than the number)")
    for size, times in took.items():
        median = statistics.median(times)
        print(f"{size:8}{median:8.2f} s{median / size:10.2f} s", flush=True)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=3)
    runs = options.parse_args().runs
    blip.MAX_NEW_TOKENS = TOKENS
    with tempfile.TemporaryDirectory() as folder:
        checkpoint(Path(folder))
        asyncio.run(compare(Path(folder), runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
