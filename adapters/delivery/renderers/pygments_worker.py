"""What the highlighting process runs: Pygments over untrusted code. The limits are the process's."""

from __future__ import annotations

import json
from functools import lru_cache
from html import escape

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

_LEXERS = 64


def highlighted(request: bytes) -> bytes:
    """Map a JSON list of [code, language] to a JSON list of HTML with Pygments' short classes, "" for plain code."""
    return json.dumps([highlight(code, language) for code, language in json.loads(request)]).encode()


def highlight(code: str, language: str) -> str:
    """`code` as HTML; "" if Pygments does not know the language or changes the code."""
    lexer = _lexer(language.lower())
    if lexer is None:
        return ""
    spans, length = [], 0
    for kind, text in lexer.get_tokens(code):
        while kind not in STANDARD_TYPES and kind.parent is not None:
            kind = kind.parent
        name = STANDARD_TYPES.get(kind, "")
        spans.append(f'<span class="{name}">{escape(text)}</span>' if name and text.strip() else escape(text))
        length += len(text)
    # A lexer that drops or adds a character is not believed.
    return "".join(spans) if length == len(code) else ""


@lru_cache(maxsize=_LEXERS)
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
