"""llama.cpp by itself: `python -m benchmarks.rivals.llama SLOTS CONTEXT THREADS` loads the demo's weights.

It prints the address of the library's own HTTP server. Then each line of stdin, `{"questions": {seed: text}, "tokens":
N}`, asks them all at once by calls into the library, and prints for each seed the seconds to the first text, those to
the last, and the tokens.
Everything that the program does not choose is the library's default.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from inference.engine_factory import demo_model

SAMPLING: dict[str, Any] = {
    "samplers": ["penalties", "temperature", "top_k", "top_p"],
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 0,
    "min_p": 0.0,
    "repeat_penalty": 1.0,
}
"""Partyline's defaults."""


def load(slots: int, context: int, threads: int) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(demo_model())
    params.n_parallel, params.n_ctx = slots, slots * context
    # Its default is the machine's cores, of which a container may have only a few.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.ui, params.warmup, params.verbosity = False, True, -1
    server = xllamacpp.Server(params)
    server.handle_metrics()  # returns when its loop runs
    return server


def ask(server: Any, questions: dict[str, str], tokens: int) -> dict[str, tuple[float, float, int]]:
    """Seconds to the first text of each answer and to its last, and its pieces, which are tokens nearly always."""
    seen: dict[str, list[float]] = {seed: [] for seed in questions}
    began = time.perf_counter()

    def one(seed: str, question: str) -> None:
        def take(chunk: dict[str, Any]) -> None:
            if chunk.get("choices") and chunk["choices"][0]["delta"].get("content"):
                seen[seed].append(time.perf_counter() - began)

        turns = [{"role": "user", "content": question}]
        body = {"messages": turns, "max_tokens": tokens, "stream": True, "seed": int(seed), **SAMPLING}
        server.handle_chat_completions(body, take)

    threads = [threading.Thread(target=one, args=each) for each in questions.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {seed: (times[0], times[-1], len(times)) for seed, times in seen.items()}


def main() -> None:
    slots, context, threads = map(int, sys.argv[1:4])
    server = load(slots, context, threads)
    print(server.listening_address, flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        print(json.dumps(ask(server, wanted["questions"], wanted["tokens"])), flush=True)


if __name__ == "__main__":
    main()
