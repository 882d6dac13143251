"""What the comparisons with the library's own batch manager share."""

from __future__ import annotations

from typing import Any


def await_answers(manager: Any, count: int) -> None:
    """Returns when so many requests have ended. Raises RuntimeError: one failed, or nothing came for a minute."""
    done = 0
    while done < count:
        result = manager.get_result(timeout=60)
        if result is None or result.error:
            raise RuntimeError(f"a request failed: {result}")
        done += result.is_finished()
