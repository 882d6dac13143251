"""Markdown to HTML that is safe to put into a page: no scripts, no foreign images, no markup of the model's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from html import escape
from typing import TYPE_CHECKING

from adapters.delivery.renderers.commonmark import parse, parser_options, replace_unsafe, reveal_bidi

if TYPE_CHECKING:
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict
    from pygments.lexer import Lexer

_HIGHLIGHT_LIMIT = 20_000
"""Code points of one code block; a longer one is shown without colours, so that a frame stays cheap."""


def render_html(markdown: str) -> str:
    """The chunk as HTML. Code is in `<div class="code">` with a bar (language, copy button) and Pygments' classes."""
    html: str = _renderer().render(parse(markdown), parser_options(), {})
    return html


def pygments_css(dark: bool) -> str:
    """The style sheet for the classes in code blocks, without a background of its own."""
    from pygments.formatters.html import HtmlFormatter

    formatter = HtmlFormatter(style="github-dark" if dark else "default", nobackground=True)
    rules: str = formatter.get_style_defs(".code")  # type: ignore[no-untyped-call]
    return rules


def highlight(code: str, language: str) -> str:
    """`code` as HTML with Pygments' short classes; plain where the language is unknown or the block is too long."""
    if len(code) <= _HIGHLIGHT_LIMIT:
        return _highlight(code, language)
    return escape(code)


@lru_cache(maxsize=256)
def _highlight(code: str, language: str) -> str:
    lexer = _lexer(language.lower())
    if lexer is None:
        return escape(code)
    from pygments.token import STANDARD_TYPES

    spans, length = [], 0
    for kind, text in lexer.get_tokens(code):
        while kind not in STANDARD_TYPES and kind.parent is not None:
            kind = kind.parent
        name = STANDARD_TYPES.get(kind, "")
        spans.append(f'<span class="{name}">{escape(text)}</span>' if name and text.strip() else escape(text))
        length += len(text)
    # A lexer that drops or adds a character is not believed.
    return "".join(spans) if length == len(code) else escape(code)


@cache
def _lexer(language: str) -> Lexer | None:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    if not language or len(language) > 32:
        return None
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@cache
def _renderer() -> RendererHTML:
    from markdown_it.renderer import RendererHTML

    class Renderer(RendererHTML):
        """RendererHTML finds its rules as methods, by the token's type."""

        def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
            info = tokens[idx].info.strip()
            return _code(tokens[idx].content, info.split(maxsplit=1)[0] if info else "", info)

        def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
            return _code(tokens[idx].content, "", "")

        def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
            env["link"] = True
            _reveal_label(tokens, idx)
            return _anchor(str(tokens[idx].attrGet("href")), str(tokens[idx].attrGet("title") or ""))

        def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
            env.pop("link", None)
            return "</bdi></a>"

        def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
            token = tokens[idx]
            aligned = str(token.attrGet("style") or "").removeprefix("text-align:")
            return f'<{token.tag} class="align-{aligned}">' if aligned else f"<{token.tag}>"

        th_open = td_open

        def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
            token = tokens[idx]
            address = str(token.attrGet("src"))
            label = escape(reveal_bidi(self.renderInlineAsText(token.children, options, env) or address))
            if "link" in env:  # no link within a link
                return label
            return f"{_anchor(address, str(token.attrGet('title') or ''))}{label}</bdi></a>"

    return Renderer()


def _code(content: str, language: str, info: str) -> str:
    named = f' class="language-{escape(language)}"' if language else ""
    return (
        f'<div class="code"><div class="code-bar"><span class="lang">{escape(info)}</span>'
        '<button class="copy" type="button" aria-label="Copy code">Copy</button></div>'
        f"<pre><code{named}>{highlight(replace_unsafe(content), language)}</code></pre></div>\n"
    )


def _anchor(address: str, title: str) -> str:
    titled = f' title="{escape(title)}"' if title else ""
    return f'<a href="{escape(address)}"{titled} rel="noopener noreferrer nofollow" target="_blank"><bdi>'


def _reveal_label(tokens: Sequence[Token], idx: int) -> None:
    for token in tokens[idx + 1 :]:
        if token.type == "link_close":
            return
        token.content = reveal_bidi(token.content)
