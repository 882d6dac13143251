"""Partyline against the usual bots, as people see them: `python -m benchmarks.against`, about eleven minutes.

A is Partyline with its defaults, B the usual bot over llama.cpp's server, C a thread for each message, D the engine
driven directly. All have the same weights, prompts, sampling and lengths; A, B and D the same seeds. They talk to
servers that speak the platforms' protocols and enforce their flood limits, and take turns within one run: times are of
this machine, so read the ratios. `--only` runs some parts, `--rounds` runs them so many times, `--write` puts the
figures of the parts that ran into benchmarks/figures, and the table and the plots of all parts into docs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys

from benchmarks.rivals import plots, report
from benchmarks.rivals.parts import PRIVATE, Plan, all_parts, line
from benchmarks.rivals.results import Result

PARTS = ("private", "group", "busy", "discord", "start", "growth")


async def measured(plan: Plan) -> list[Result]:
    results = []
    for part in all_parts(plan):
        async for result in part:
            print(line(result), flush=True)
            results.append(result)
    return results


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", choices=PARTS, nargs="+", default=[*PARTS])
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--people", type=int, choices=[*PRIVATE], nargs="+", default=[*PRIVATE], help="in private")
    options.add_argument("--tokens", type=int, default=128, help="the length of an answer")
    options.add_argument("--json", action="store_true", help="the raw figures on stdout")
    options.add_argument("--write", action="store_true", help="rewrite the figures, the table and the plots")
    chosen = options.parse_args()
    plan = Plan(rounds=chosen.rounds, parts=chosen.only, crowds=chosen.people, tokens=chosen.tokens)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the contenders would outlive it
    load = os.getloadavg()[0]
    results = asyncio.run(measured(plan))
    parts = report.by_part(results, " ".join(["python -m benchmarks.against", *sys.argv[1:]]), load)
    found = report.known(parts)
    print("\n".join(["", *report.table(found), "", *report.judged(found)]))
    if chosen.json:
        print(json.dumps(parts))
    if chosen.write:
        together = report.kept() | parts
        report.write(together)
        plots.write(report.known(together))
    return 0


if __name__ == "__main__":
    sys.exit(main())
