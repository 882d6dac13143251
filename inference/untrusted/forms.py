"""Multipart forms of strangers, part by part."""

from __future__ import annotations

from aiohttp import BodyPartReader, MultipartReader


async def next_part(form: MultipartReader) -> MultipartReader | BodyPartReader | None:
    """Return the next part, None at the end.

    Raises:
        ValueError: it is no form. aiohttp has a `RuntimeError` for a `_charset_` that is too long.
    """
    try:
        return await form.next()
    except RuntimeError as error:
        raise ValueError(f"the form is damaged: {error}") from error
