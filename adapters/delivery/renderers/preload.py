"""Imports what the renderers import when they meet it first: half a second that no event loop should wait for."""

from __future__ import annotations

from adapters.delivery.renderers.discord import render_discord
from adapters.delivery.renderers.html import render_html

_EVERYTHING = "*é* https://example.org $\\alpha^2$\n\n| é |\n|---|\n"
"""Markup, an address, mathematics, a table of more than ASCII."""


def load_libraries() -> None:
    """Blocks; to be called in a thread."""
    render_html(_EVERYTHING)
    render_discord(_EVERYTHING)
