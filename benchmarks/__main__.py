"""Runs every benchmark, one after the other."""

from __future__ import annotations

import subprocess
import sys

_ALL = (
    "engine",
    "people",
    "fairness",
    "captions",
    "delivery",
    "memory",
    "visitors",
    "transformers",
    "sampler",
    "reference",
    "against",
    "costs",
    "writes",
    "capacity",
)


def main() -> int:
    codes = [subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode for name in _ALL]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
