"""A very small BLIP captioner of drawn shapes: its drawing, training, evaluation and committed checkpoint."""

from pathlib import Path

CHECKPOINT: Path = Path(__file__).parent / "checkpoint"
