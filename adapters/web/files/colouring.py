"""Colours for the code in finished posts: worked out beside the page, shown when they are there."""

from __future__ import annotations

import asyncio

from adapters.delivery.renderers.highlighting import Block, Colourist, coloured, plain
from adapters.delivery.renderers.html import render_html


async def render_coloured(markdown: str, colourist: Colourist) -> str:
    """The Markdown as HTML with colours. Returns "" if nothing in it can be coloured."""
    blocks: list[Block] = []

    def noted(code: str, language: str) -> str:
        blocks.append((code, language))
        return plain(code, language)

    await asyncio.to_thread(render_html, markdown, noted)
    colours = await colourist.colours(blocks)
    return await asyncio.to_thread(render_html, markdown, coloured(colours)) if colours else ""
