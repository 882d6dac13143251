"""The demo model as a folder that transformers loads: dequantised once, then kept in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from inference.engine_factory import demo_model


def dequantised() -> Path:
    """The folder of SmolLM2-135M-Instruct in bfloat16, as its makers published it; the first call takes a minute."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "partyline" / "smollm2-135m-instruct-bf16"
    if not (folder / "tokenizer.json").is_file():
        _convert(demo_model(), folder)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    config = type(read.config).from_dict(read.config.to_dict())
    del config.quantization_config
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)  # type: ignore[no-untyped-call]
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
