"""Colours for code: Pygments in a worker process, because several of its lexers are quadratic or worse.

A renderer is given a `Highlighter` and never waits: `plain`, or the colours that a `Colourist` worked out before.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from html import escape

from inference.processes.worker_pool import Overrun, WorkerPool

_log = logging.getLogger(__name__)

HIGHLIGHT_LIMIT = 20_000
"""Code points of one code block; a longer one is shown without colours."""
_CPU_S = 1.0
_WALL_S = 20.0
_MEMORY_BYTES = 256 * 2**20

Block = tuple[str, str]
"""Code and language."""
Highlighter = Callable[[str, str], str]
"""(code, language) to safe HTML. Returns at once."""


def plain(code: str, language: str) -> str:
    """`code` as HTML without colours."""
    return escape(code)


def coloured(known: Mapping[Block, str]) -> Highlighter:
    """A highlighter that uses `known` colours and shows all other code plain."""
    return lambda code, language: known.get((code, language)) or escape(code)


class Colourist:
    """Highlights code in a worker process. The process is started with the first code block."""

    def __init__(self) -> None:
        self._pool = WorkerPool(
            "adapters.delivery.renderers.pygments_worker:highlighted",
            cpu_s=_CPU_S,
            wall_s=_WALL_S,
            memory_bytes=_MEMORY_BYTES,
        )

    async def colours(self, blocks: Sequence[Block]) -> dict[Block, str]:
        """The HTML of those blocks that can be highlighted, all within one limit of time and memory.

        Blocks in an unknown language, too long ones, and all where the limit is exceeded are left out.
        """
        wanted = [(code, language) for code, language in dict.fromkeys(blocks) if _worth_asking(code, language)]
        if not wanted:
            return {}
        try:
            found = json.loads(await self._pool.call(json.dumps(wanted).encode()))
        except Overrun as error:
            _log.info("%d code blocks stay plain: %s", len(wanted), error)
            return {}
        return {block: html for block, html in zip(wanted, found, strict=True) if html}

    async def close(self) -> None:
        await self._pool.close()


def _worth_asking(code: str, language: str) -> bool:
    return bool(code.strip()) and 0 < len(language) <= 32 and len(code) <= HIGHLIGHT_LIMIT
