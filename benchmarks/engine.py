"""`partyline ask` against the same library driven directly with the same model, prompt, sampling and threads.

`python -m benchmarks.engine` runs the two in turn, each in a process of its own, and prints the ratio pair by pair. The
rate is of decoding: tokens after the first one over the time after the first one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile

PROMPT = "Write a long story about a lighthouse keeper."
TOKENS = 300

DIRECT = """
import json, sys, time
import xllamacpp
from inference.engines.llamacpp import available_cores
from inference.models import demo_model
params = xllamacpp.CommonParams()
params.model.path = str(demo_model())
params.n_ctx = 4096
params.n_parallel = 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = available_cores()
server = xllamacpp.Server(params)
ready = time.perf_counter()
times = []
body = {"messages": [{"role": "user", "content": sys.argv[1]}], "max_tokens": int(sys.argv[2]), "seed": 1,
        "temperature": 0.7, "top_p": 0.9, "top_k": 0, "min_p": 0.0, "stream": True}
def token(chunk):
    if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
        times.append(time.perf_counter())
server.handle_chat_completions(body, token)
print(json.dumps({"first_token_s": times[0] - ready, "tokens_per_s": (len(times) - 1) / (times[-1] - times[0])}))
"""


def direct() -> dict[str, float]:
    command = [sys.executable, "-c", DIRECT, PROMPT, str(TOKENS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def partyline() -> dict[str, float]:
    """As the program reports it: nobody reads along, or the reader would take a core from both."""
    command = [sys.executable, "-c", "from adapters.cli import main; main()", "ask", "--demo", "--json"]
    command += ["--seed", "1", "--max-tokens", str(TOKENS), PROMPT]
    with tempfile.TemporaryFile("w+") as output:
        subprocess.run(command, stdout=output, stderr=subprocess.DEVNULL, check=True)
        output.seek(0)
        timings = json.loads(output.readlines()[-1])["timings"]
    return {"first_token_s": timings["time_to_first_token_s"], "tokens_per_s": timings["tokens_per_s"]}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    runs = options.parse_args().runs
    print(f"{'':12}{'direct':>12}{'partyline':>12}{'ratio':>8}{'first token':>14}")
    ratios: list[float] = []
    for number in range(runs):
        a, b = direct(), partyline()
        ratios.append(b["tokens_per_s"] / a["tokens_per_s"])
        rates = f"{a['tokens_per_s']:8.1f} t/s{b['tokens_per_s']:8.1f} t/s"
        print(f"run {number + 1:<8}{rates}{ratios[-1]:8.2f}{b['first_token_s']:12.2f} s", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f} (wanted: at least 0.90; first token within 1 s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
