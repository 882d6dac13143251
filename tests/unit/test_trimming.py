"""Memory that was freed goes back to the system. In processes of their own, because glibc's settings are for good."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc")

MB = 2**20


def _grown(script: str) -> int:
    """Bytes by which a process has grown that runs this."""
    measured = f"""
import asyncio, ctypes, threading
import psutil
from inference.processes.malloc_trim import return_large_blocks, trimming

def resident():
    return psutil.Process().memory_info().rss

before = resident()
{textwrap.dedent(script)}
print(resident() - before)
"""
    ran = subprocess.run([sys.executable, "-c", measured], capture_output=True, text=True, check=True, timeout=60)
    return int(ran.stdout)


def test_a_heap_with_holes_shrinks_again() -> None:
    script = """
        async def work():
            async with trimming(every_s=0.05):
                blocks = [bytearray(b"x" * 60_000) for _ in range(2000)]  # 120 MB, in pieces that come from the heap
                await asyncio.sleep(0.2)
                assert resident() > before + 100 * 2**20
                last = blocks[-1]
                del blocks
                async with asyncio.timeout(30):
                    while resident() > before + 20 * 2**20:
                        await asyncio.sleep(0.01)
            return last

        last = asyncio.run(work())
    """
    assert _grown(script) < 20 * MB


def test_large_blocks_that_threads_free_are_returned_at_once() -> None:
    script = """
        return_large_blocks(ctypes.CDLL(None))

        def work():
            for size in (5, 13, 31, 31, 5, 13):
                bytearray(b"x" * size * 2**20)

        for _ in range(4):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    """
    assert _grown(script) < 10 * MB
