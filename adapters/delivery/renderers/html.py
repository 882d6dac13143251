"""Markdown to HTML that is safe to put into a page: no scripts, no foreign images, no markup of the model's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING

from adapters.delivery.renderers.commonmark import parse, parser_options, replace_unsafe, reveal_bidi
from adapters.delivery.renderers.highlighting import Highlighter, plain

if TYPE_CHECKING:
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict


def render_html(markdown: str, highlighter: Highlighter = plain) -> str:
    """The chunk as HTML. Code is in `<div class="code">` with a bar (language, copy button).

    Args:
        highlighter: makes HTML of the code of a block; called with (code, language), once for each block, in order.
    """
    html: str = _renderer().render(parse(markdown), parser_options(), {"highlighter": highlighter})
    return html


def pygments_css(dark: bool) -> str:
    """The style sheet for the classes in code blocks, without a background of its own."""
    from pygments.formatters.html import HtmlFormatter

    formatter = HtmlFormatter(style="github-dark" if dark else "default", nobackground=True)
    rules: str = formatter.get_style_defs(".code")  # type: ignore[no-untyped-call]
    return rules


@cache
def _renderer() -> RendererHTML:
    from markdown_it.renderer import RendererHTML

    class Renderer(RendererHTML):
        """RendererHTML finds its rules as methods, by the token's type."""

        def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
            info = tokens[idx].info.strip()
            return _code(tokens[idx].content, info.split(maxsplit=1)[0] if info else "", info, env["highlighter"])

        def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
            return _code(tokens[idx].content, "", "", env["highlighter"])

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


def _code(content: str, language: str, info: str, highlighter: Highlighter) -> str:
    named = f' class="language-{escape(language)}"' if language else ""
    return (
        f'<div class="code"><div class="code-bar"><span class="lang">{escape(info)}</span>'
        '<button class="copy" type="button" aria-label="Copy code">Copy</button></div>'
        f"<pre><code{named}>{highlighter(replace_unsafe(content), language)}</code></pre></div>\n"
    )


def _anchor(address: str, title: str) -> str:
    titled = f' title="{escape(title)}"' if title else ""
    return f'<a href="{escape(address)}"{titled} rel="noopener noreferrer nofollow" target="_blank"><bdi>'


def _reveal_label(tokens: Sequence[Token], idx: int) -> None:
    for token in tokens[idx + 1 :]:
        if token.type == "link_close":
            return
        token.content = reveal_bidi(token.content)
