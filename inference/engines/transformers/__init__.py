"""transformers in this process: hub ids and folders, everybody in one continuous batch; torch comes with `start`."""

from inference.engines.transformers.engine import TransformersEngine
from inference.engines.transformers.options import TransformersOptions

__all__ = ["TransformersEngine", "TransformersOptions"]
