"""Work on untrusted input in processes: results, limits, and a pool that is whole after each of them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inference.processes import worker
from inference.processes.worker import Unusable
from inference.processes.worker_pool import Overrun, TieredPool, WorkerPool

MB = 2**20


def work(data: bytes) -> bytes:
    """What the children run: does what the input says."""
    what, _, rest = data.partition(b" ")
    match what:
        case b"spin":
            while True:
                pass
        case b"sleep":
            time.sleep(600)
        case b"eat":
            return bytes(int(rest))
        case b"refuse":
            raise Unusable(rest.decode())
        case b"fail":
            raise ValueError(rest.decode())
        case b"end":
            os._exit(3)
        case b"pid":
            return str(os.getpid()).encode()
        case b"idle":
            worker.IDLE_S = 0.0
            return str(os.getpid()).encode()
        case b"env":
            return "\n".join(os.environ).encode()
        case b"files":
            return " ".join(os.readlink(f"/proc/self/fd/{name}") for name in _open_files()).encode()
        case b"print":
            print("not a reply", flush=True)
        case b"until":
            while not Path(rest.decode()).exists():
                pass
    return rest


def _open_files() -> list[str]:
    return [name for name in os.listdir("/proc/self/fd") if Path(f"/proc/self/fd/{name}").exists()]


@asynccontextmanager
async def pool(**limits: float) -> AsyncIterator[WorkerPool]:
    values: dict[str, float] = {"cpu_s": 0.3, "wall_s": 600.0, "memory_bytes": 200 * MB, **limits}
    made = WorkerPool(f"{__name__}:work", **values)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


async def test_results_come_back_and_the_process_stays() -> None:
    async with pool() as made:
        assert made.pids() == []  # nothing is started before it is needed
        first = await made.call(b"pid")
        assert await made.call(b"say " + b"x" * MB) == b"x" * MB
        assert await made.call(b"print hello") == b"hello"
        assert await made.call(b"pid") == first
        assert int(first) != os.getpid()


async def test_an_input_that_is_refused_says_why() -> None:
    async with pool() as made:
        with pytest.raises(Unusable, match="no picture"):
            await made.call(b"refuse no picture")
        with pytest.raises(Overrun):
            await made.call(b"fail x")
        assert await made.call(b"say hi") == b"hi"
        assert len(made.pids()) == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"spin", "time"),
        (b"sleep", "time"),
        (b"eat 600000000", "memory"),
        (b"end", "broken"),
        (b"eat 50000000", "memory"),
    ],
)
async def test_what_exceeds_a_limit_ends_alone(data: bytes, why: str) -> None:
    async with pool(wall_s=12.0 if data == b"sleep" else 600.0, reply_bytes=40 * MB) as made:
        with pytest.raises(Overrun, match=why):
            await made.call(data)
        made._wall_s = 600.0  # its next child may take long to start
        assert await made.call(b"say hi") == b"hi"


async def test_what_needs_more_time_has_it_behind_the_others(tmp_path: Path) -> None:
    made = TieredPool(f"{__name__}:work", workers=1, quick_s=0.2, cpu_s=60.0, memory_bytes=200 * MB)
    over = tmp_path / "over"
    try:
        slow = asyncio.ensure_future(made.call(f"until {over}".encode()))
        assert [await made.call(b"say %d" % n) for n in range(20)] == [b"%d" % n for n in range(20)]
        assert not slow.done()
        over.touch()
        assert await slow == str(over).encode()
        with pytest.raises(Unusable):
            await made.call(b"refuse it")
        with pytest.raises(Overrun, match="memory"):
            await made.call(b"eat 600000000")
    finally:
        await made.close()


async def test_an_idle_process_ends_and_nobody_notices() -> None:
    async with pool() as made:
        first = int(await made.call(b"idle"))
        await asyncio.to_thread(os.waitid, os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert await made.call(b"say hi") == b"hi"


async def test_others_go_on_beside_one_that_hangs() -> None:
    async with pool(workers=2) as made:
        hanging = asyncio.ensure_future(made.call(b"sleep"))
        assert [await made.call(b"say %d" % n) for n in range(20)] == [b"%d" % n for n in range(20)]
        await made.close()
        with pytest.raises(Overrun):
            await hanging


async def test_a_process_that_was_ended_in_between_is_replaced() -> None:
    async with pool() as made:
        first = int(await made.call(b"pid"))
        os.kill(first, 9)
        await asyncio.to_thread(os.waitid, os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert int(await made.call(b"pid")) != first


async def test_a_closed_pool_leaves_no_process() -> None:
    async with pool(workers=2) as made:
        await asyncio.gather(made.call(b"say 1"), made.call(b"say 2"))
        children = made.pids()
    assert not any(map(_runs, children))
    with pytest.raises(Overrun):
        await made.call(b"say 3")


async def test_a_process_gets_no_secret_and_no_file_of_its_parent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARTYLINE_TELEGRAM__TOKEN", "secret")
    descriptor = os.open(tmp_path / "database", os.O_CREAT | os.O_RDWR)
    try:
        async with pool() as made:
            assert b"PARTYLINE" not in await made.call(b"env")
            assert b"database" not in await made.call(b"files")
    finally:
        os.close(descriptor)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
