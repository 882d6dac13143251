"""Measured comparisons; `python -m benchmarks` runs all of them. Times are of this machine, so read the ratios."""
