"""What a message, a token and a call cost a bot process: `python -m benchmarks.costs`, about two minutes.

Crowds write within one second to `partyline run` over the engine without weights, as in `benchmarks.against --only
growth`, with short and with long answers. Of each the processor time of the process is known, and how many messages,
tokens and calls there were: the three costs are those that come closest to all crowds (least squares of what each
is off by, in shares). One person alone tells what is waited for beside that. `--write` keeps the figures for
`benchmarks.capacity`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.rivals import report
from benchmarks.rivals.parts import SCRIPTED_FIRST_S, SCRIPTED_RATE, Plan, crowd_of
from benchmarks.rivals.results import Result

FIGURES = Path("benchmarks/figures/costs.json")
CROWDS = ((50, 10), (50, 128), (100, 10), (100, 128), (200, 10), (200, 128))
"""People, and tokens of an answer: fewer than have to wait for a slot."""
ALONE = 3
_COMPANY_S, _COMPANY_TOKENS = 0.1, 2
"""So long at most a first token waits for two more (docs/delivery.md)."""


async def measured() -> dict[str, float]:
    crowds = [await _crowd(people, tokens) for people, tokens in CROWDS]
    alone = [await _crowd(1, 10) for _ in range(ALONE)]
    message_s, token_s, call_s = fitted(crowds)
    for each in crowds:
        told = each.people * message_s + each.tokens * token_s + each.calls * call_s
        off = told / each.cpu_s - 1
        print(f"{each.people:4} people, {each.tokens:6} tokens, {each.calls:4} calls: {each.cpu_s:.2f} s, {off:+.0%}")
    first_s = statistics.median(each.first[0] for each in alone)
    other_s = first_s - SCRIPTED_FIRST_S - company_s(SCRIPTED_RATE) - message_s - call_s
    return {"message_s": message_s, "token_s": token_s, "call_s": call_s, "other_s": max(0.0, other_s)}


def fitted(crowds: Sequence[Result]) -> tuple[float, float, float]:
    """Processor seconds of a message, a token and a call."""
    sizes = np.array([[each.people, each.tokens, each.calls] for each in crowds], dtype=float)
    used = np.array([each.cpu_s for each in crowds])
    found, *_ = np.linalg.lstsq(sizes / used[:, None], np.ones(len(crowds)), rcond=None)
    message_s, token_s, call_s = (float(each) for each in found)
    return message_s, token_s, call_s


def company_s(tokens_a_second: float) -> float:
    """How long first words wait for the rest of three, where a stream has so many tokens a second."""
    return min(_COMPANY_S, _COMPANY_TOKENS / tokens_a_second)


async def _crowd(people: int, tokens: int) -> Result:
    return await crowd_of("A", people, Plan(rounds=1, parts=["growth"], crowds=[], tokens=tokens))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", action="store_true", help=f"keep the figures in {FIGURES}")
    chosen = options.parse_args()
    about = report.about(os.getloadavg()[0])
    figures = asyncio.run(measured())
    print(", ".join(f"{name.removesuffix('_s')} {1000 * value:.2f} ms" for name, value in figures.items()))
    print(report.dated({"costs": about}))
    if chosen.write:
        FIGURES.parent.mkdir(exist_ok=True)
        FIGURES.write_text(json.dumps(about | figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
