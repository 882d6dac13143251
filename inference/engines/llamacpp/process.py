"""llama.cpp in a process of its own: `python -m inference.engines.llamacpp.process`, which `server` starts.

While the library loads a model it lets no other Python code of its process run, and what goes wrong in native code ends
all of it. So neither is shared with the platforms.

On stdin comes one line of JSON, {"path", "key", "options"}; one line goes back, {"address"} or {"unavailable"}. Each
line that follows changes how many requests are worked on, by `1` or `-1`. The end of stdin is the end of the process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.api import Unavailable
from inference.engines.llamacpp.openmp_spin import Spinning
from inference.failures.error_classes import missing_memory
from inference.processes.cores import available_cores

_BATCH_TOKENS = 256
# Of the machine's memory, for conversations whose slot somebody else has taken; never more than the library would take.
_KEPT_SHARE, _MOST_KEPT_MIB = 10, 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaOptions:
    """How the model is loaded.

    Args:
        slots: how many requests are decoded in one batch.
        context_tokens: prompt and answer of one request; never more than the model was trained for.
        batch_tokens: tokens of prompt in one step. Small steps keep others' text flowing while a long prompt is read,
            and bound the time until a Stop is heard. 0 means 256.
        threads: 0 means one for each core that this process may use.
        gpu_layers: layers on the GPU, where the build has one; -1 means all.
        adapter: a LoRA adapter over the model, a .gguf file; empty for none.
    """

    slots: int = 8
    context_tokens: int = 4096
    batch_tokens: int = 0
    threads: int = 0
    gpu_layers: int = -1
    adapter: str = ""


def main() -> None:
    for name in (signal.SIGINT, signal.SIGTERM):  # who started it ends it, behind what is under way
        signal.signal(name, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # native code that prints does not write into the replies
    asked = json.loads(sys.stdin.buffer.readline() or "null")
    if asked is None:
        return
    _end_with_stdin(is_loading=True)
    try:
        server = load(Path(asked["path"]), LlamaOptions(**asked["options"]), asked["key"])
    except Unavailable as error:
        print(json.dumps({"unavailable": str(error)}), file=replies, flush=True)
        return
    _end_with_stdin(is_loading=False)
    spinning = Spinning()
    spinning.start()
    print(json.dumps({"address": server.listening_address}), file=replies, flush=True)
    for line in sys.stdin.buffer:
        spinning.count(int(line))
    os._exit(0)  # to free a model takes a while, and nothing of it is needed


def _end_with_stdin(*, is_loading: bool) -> None:
    """While the library loads no Python runs that could see the end of stdin: the system is to end this process then.

    Whoever starts a killed parent again at once would find the memory for its model taken otherwise.
    """
    with suppress(ImportError, AttributeError, OSError):  # not every system can
        from fcntl import F_GETFL, F_SETFL, F_SETOWN, fcntl

        fcntl(0, F_SETOWN, os.getpid())
        flags = fcntl(0, F_GETFL)
        # Its signal, SIGIO, ends a process. Nothing but the end comes before a model is loaded.
        fcntl(0, F_SETFL, flags | os.O_ASYNC if is_loading else flags & ~os.O_ASYNC)
        if is_loading and select.select([0], [], [], 0)[0]:
            os._exit(0)


def load(path: Path, options: LlamaOptions, key: str) -> Any:
    """The library's server, listening on loopback; `key` opens it.

    Raises:
        Unavailable: there is no such file, no memory for it, or it is no model.
    """
    if not path.is_file():
        raise Unavailable(f"there is no file {path}")
    import psutil
    import xllamacpp

    if (sentence := missing_memory(path.name, path.stat().st_size, _free_memory(xllamacpp))) is not None:
        raise Unavailable(sentence)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = options.slots
    params.n_ctx = options.slots * options.context_tokens
    params.n_batch = options.batch_tokens or _BATCH_TOKENS
    params.n_gpu_layers = options.gpu_layers
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads or available_cores()
    params.api_keys = [key]
    params.ui = False
    params.endpoint_slots = False
    params.warmup = True
    params.verbosity = -1
    params.fit_params = False
    params.cache_ram_mib = min(_MOST_KEPT_MIB, psutil.virtual_memory().available // _KEPT_SHARE // 2**20)
    if options.adapter:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = options.adapter, 1.0
        params.lora_adapters = [lora]
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        raise Unavailable(f"{path.name} cannot be loaded: {error}") from error


def _free_memory(xllamacpp: Any) -> int:
    """Bytes that weights may take: of the machine, and of every GPU that the build can use."""
    import psutil

    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    gpus = [device for device in xllamacpp.get_device_info() if device["type"] != cpu]
    return int(psutil.virtual_memory().available) + sum(int(device["memory_free"]) for device in gpus)


if __name__ == "__main__":
    main()
