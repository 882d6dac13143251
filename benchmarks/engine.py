"""llama.cpp through Partyline against the same library driven directly: the same model, prompts, sampling and threads.

`python -m benchmarks.engine` runs three comparisons, each contender in a process of its own and in turn:
`partyline ask` for one person, the service for one person, and the service for eight at once. Rates are of decoding:
tokens after the first ones over the time after the first one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from benchmarks.reference import alone
from inference.api import ChatRequest, Message, Sampling, Text
from inference.engine_factory import demo_model, engine_for
from inference.engines.llamacpp.process import LlamaOptions
from inference.processes.cores import available_cores
from inference.serving.service import LocalInference

TOKENS = 200
CONTEXT = 1024


def story(person: int) -> str:
    return f"Write a long story about person {person} and a lighthouse keeper."


def direct(people: int) -> float:
    """Tokens a second of all, by as many threads that call the library."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(demo_model())
    params.n_ctx, params.n_parallel = people * CONTEXT, people
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = available_cores()
    params.verbosity = -1
    server = xllamacpp.Server(params)
    times: list[float] = []

    def token(chunk: dict[str, Any]) -> None:
        if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
            times.append(time.perf_counter())

    def ask(person: int) -> None:
        turns = [{"role": "user", "content": story(person)}]
        sampling = {"temperature": 0.7, "top_p": 0.9, "top_k": 0, "min_p": 0.0, "seed": person}
        body = {"messages": turns, "max_tokens": TOKENS, "stream": True, **sampling}
        server.handle_chat_completions(body, token)

    threads = [threading.Thread(target=ask, args=(person,)) for person in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rate(times, people)


def service(people: int) -> float:
    """Tokens a second of all, by as many streams of the service."""
    return asyncio.run(_service(people))


async def _service(people: int) -> float:
    options = LlamaOptions(slots=people, context_tokens=CONTEXT)
    inference = LocalInference(engine_for("demo", options), clock=time.monotonic)
    await inference.start()
    times: list[float] = []

    async def ask(person: int) -> None:
        sampling = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=TOKENS, seed=person)
        turns = (Message("user", story(person)),)
        request = ChatRequest(id=f"{person}", messages=turns, sampling=sampling, owner=f"person {person}")
        async with aclosing(inference.stream(request)) as events:
            times.extend([time.perf_counter() async for event in events if isinstance(event, Text)])

    await asyncio.gather(*map(ask, range(people)))
    await inference.close()
    return rate(times, people)


def rate(times: list[float], people: int) -> float:
    return (len(times) - people) / (max(times) - min(times))


def ask(people: int) -> float:
    """As the program reports it: nobody reads along, or the reader would take a core from both."""
    command = [sys.executable, "-c", "from adapters.cli import main; main()", "ask", "--demo", "--json"]
    command += ["--seed", "1", "--max-tokens", str(TOKENS), story(people)]
    with tempfile.TemporaryFile("w+") as output:
        subprocess.run(command, stdout=output, stderr=subprocess.DEVNULL, check=True)
        output.seek(0)
        timings = json.loads(output.readlines()[-1])["timings"]
    return float(timings["tokens_per_s"])


COMPARISONS: dict[str, tuple[Callable[[int], float], int, float]] = {
    "partyline ask": (ask, 1, 0.90),
    "service, 1 person": (service, 1, 0.97),
    "service, 8 people": (service, 8, 0.97),
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--only", choices=COMPARISONS)
    chosen = options.parse_args()
    for name, (ours, people, wanted) in COMPARISONS.items():
        if chosen.only not in (None, name):
            continue
        ratios = []
        print(f"{name:20}{'directly':>12}{'partyline':>14}{'ratio':>8}")
        for run in range(1, chosen.runs + 1):
            # Whoever comes second has the warmer machine: they take turns at that.
            order = [(direct, 0), (ours, 1)]
            pair = [0.0, 0.0]
            for contender, at in order if run % 2 else reversed(order):
                pair[at] = alone(contender, people)
            ratios.append(pair[1] / pair[0])
            print(f"run {run:<16}{pair[0]:8.1f} t/s{pair[1]:10.1f} t/s{ratios[-1]:8.2f}", flush=True)
        print(f"median ratio {statistics.median(ratios):.2f} (wanted: at least {wanted:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
