"""Imports once what a first start and a first picture import, so that Python has compiled it before anybody waits."""

from __future__ import annotations

from importlib import import_module

_AT_START = ("adapters.cli", "adapters.app", "adapters.web.server", "adapters.storage.sql.storage", "alembic.command")
_AT_FIRST_STATS = ("matplotlib.backends.backend_agg", "matplotlib.font_manager")
_AT_FIRST_PICTURE = ("torch", "transformers.models.blip.modeling_blip", "transformers.models.blip.processing_blip")


def main() -> None:
    for module in (*_AT_START, *_AT_FIRST_STATS, *_AT_FIRST_PICTURE):
        import_module(module)


if __name__ == "__main__":
    main()
