"""What people see of answers that grow in one Telegram group at the same time: `python -m benchmarks.groups`.

A virtual clock, a simulated group that takes 20 calls in any minute, round trips of 0.08 s. Of each number of answers
and length: the longest wait for first words, the longest time in which a text that had begun stood still, and how long
after its end an answer was whole; of one question, and of the last of three that are 20 s apart.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import pairwise

from adapters.delivery.channel import Limits
from adapters.delivery.outbox import Outboxes
from adapters.delivery.pacing.rate_budget import Rate
from bots.messages import Ended, ReplyEvent, Started, TextDelta
from inference.api import Timings, Usage
from tests.servers.simulated import PHRASES, Faults, Platform, Records, Rules, SimulatedChannel, run_virtually

GROUP = Limits(message_units=4000, upload_bytes=0, rate=Rate(20, 62.0))
FIRST_TOKEN_S, TOKENS_A_SECOND, TRIP_S = 0.2, 20.0, 0.08
ROUNDS, APART_S = 3, 20.0


@dataclass
class Seen:
    """Seconds; the worst of several answers."""

    first_s: float = 0.0
    still_s: float = 0.0
    late_s: float = 0.0

    def add(self, times: list[float], asked_at: float, ended_at: float) -> None:
        self.first_s = max(self.first_s, times[0] - asked_at)
        self.still_s = max([self.still_s, *(after - before for before, after in pairwise(times))])
        self.late_s = max(self.late_s, times[-1] - ended_at)


def group(people: int, seconds: float, rounds: int = ROUNDS) -> tuple[list[Seen], int]:
    """What was seen in each round, and the penalties."""
    platform = Platform(Rules(group_calls=20), Faults(latency_s=(TRIP_S, TRIP_S)))
    seen = [Seen() for _ in range(rounds)]

    async def events(answer_id: str, ended: list[float]) -> AsyncGenerator[ReplyEvent, None]:
        yield Started(answer_id=answer_id)
        await asyncio.sleep(FIRST_TOKEN_S)
        for number in range(round(seconds * TOKENS_A_SECOND)):
            yield TextDelta(f"word{number} ")
            await asyncio.sleep(1 / TOKENS_A_SECOND)
        ended.append(asyncio.get_running_loop().time())
        yield Ended(reason="stop", usage=Usage(), timings=Timings(), model="tiny")

    async def ask(outboxes: Outboxes, which: int, person: int) -> None:
        loop, ended = asyncio.get_running_loop(), [0.0]
        await asyncio.sleep(which * APART_S)
        asked_at, before = loop.time(), {message.id for message in platform.chat("c").messages}
        name = f"{which}-{person}"
        channel = SimulatedChannel(platform, "c", GROUP)
        told = events(name, ended)
        await outboxes.deliver(channel, "c", told, reply_to=name, record=Records(), asker=f"p{person}")
        chat = platform.chat("c")
        mine = {each.id for each in chat.messages if each.reply_to == name and each.id not in before}
        seen[which].add([at for at, message, _ in chat.frames if message in mine], asked_at, ended[-1])

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:
            for which in range(rounds):
                for person in range(people):
                    tasks.create_task(ask(outboxes, which, person))

    run_virtually(main())
    return seen, platform.chat("c").penalties


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--people", type=int, nargs="+", default=[1, 2, 4, 8])
    options.add_argument("--seconds", type=float, nargs="+", default=[5.0, 9.0, 30.0])
    chosen = options.parse_args()
    print("| people | answers of | first words · stands still · whole after its end | in the third round | 429s |")
    print("|---|---|---|---|---|")
    for people in chosen.people:
        for seconds in chosen.seconds:
            [alone], none = group(people, seconds, rounds=1)
            seen, penalties = group(people, seconds)
            cells = [f"{each.first_s:.1f} · {each.still_s:.1f} · {each.late_s:.1f} s" for each in (alone, seen[-1])]
            print(f"| {people} | {seconds:.0f} s | {' | '.join(cells)} | {none + penalties} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
