"""What Telegram and a terminal make of a rendered answer, as HTML that a browser can show: for people to look at."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

from adapters.delivery.composing.chunker import Chunker
from adapters.delivery.renderers.telegram import Entity, TelegramText, render_telegram
from adapters.delivery.renderers.terminal import TerminalStream

_TAGS = {
    "bold": "b",
    "italic": "i",
    "strikethrough": "s",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "text_link": "a",
}
_AGAIN = re.compile(r"(?:\x1b\[\d+A)?\r\x1b\[(?:2K|J)")
"""From its beginning, a line is printed again in styles."""
_UP = re.compile(r"\x1b\[(\d+)A\r\x1b\[J")
"""So many rows above, what is printed next takes the place of all below."""
_STYLE = re.compile(r"\x1b\[(\d*)m")
_TELEGRAM_CSS = """
body { margin: 0; background: #cfd9c3; font: 15px/1.35 system-ui, "Noto Sans", "DejaVu Sans", sans-serif; }
.shot { display: flex; width: 390px; padding: 8px; box-sizing: border-box; flex-direction: column; gap: 6px; }
.bubble {
  width: fit-content; max-width: 350px; padding: 6px 10px; border-radius: 12px; box-sizing: border-box;
  background: #fff; color: #000; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext;
}
.bubble a { color: #168acd; }
.bubble :is(code, pre) { color: #a0522d; font: 13px/1.4 "DejaVu Sans Mono", monospace; }
.bubble :is(pre, blockquote) { margin: 2px 0; padding: 4px 8px; border-radius: 4px; border-left: 3px solid #168acd; }
.bubble pre { background: #f0f4f7; color: #222; text-align: start; unicode-bidi: plaintext; white-space: pre-wrap; }
.bubble pre[title]::before { display: block; color: #168acd; font-weight: 600; content: attr(title); }
.bubble blockquote { background: #eaf4fb; }
"""
_TERMINAL_CSS = """
body { margin: 0; background: #1b1d1f; }
.shot { width: fit-content; padding: 10px; background: #1b1d1f; color: #d6d6d2; }
.shot pre {
  width: 80ch; margin: 0; font: 14px/1.3 "DejaVu Sans Mono", monospace;
  tab-size: 8; white-space: pre-wrap; word-break: break-all;
}
.s1 { color: #fff; font-weight: bold; }
.s2 { opacity: 0.6; }
.s36 { color: #4fc3d0; }
"""


def messages(markdown: str, limit: int, measure: Callable[[str], int]) -> list[str]:
    """The Markdown of each message of the answer."""
    chunker = Chunker(lambda _: limit, measure)
    chunker.feed(markdown)
    chunker.finish()
    return [chunk.markdown for chunk in (*chunker.frozen, chunker.live()) if chunk.markdown.strip()]


def telegram_page(answers: dict[str, str]) -> str:
    """Every answer as bubbles on a telephone 390 px wide."""
    shots = []
    for name, markdown in answers.items():
        chunks = messages(markdown, 4096, lambda markdown: render_telegram(markdown).units)
        bubbles = "".join(f'<div class="bubble" dir="auto">{_bubble(render_telegram(chunk))}</div>' for chunk in chunks)
        shots.append(f'<div class="shot" id="{name}">{bubbles}</div>')
    return f'<!doctype html><meta charset="utf-8"><style>{_TELEGRAM_CSS}</style>{"".join(shots)}'


def _bubble(shown: TelegramText) -> str:
    units = shown.text.encode("utf-16-le", "surrogatepass")
    opens: dict[int, list[Entity]] = {}
    for entity in shown.entities:
        opens.setdefault(entity.offset, []).append(entity)
    edges = sorted({0, len(units) // 2, *opens, *(entity.end for entity in shown.entities)})
    pieces, stack = list[str](), list[Entity]()
    for begin, end in zip(edges, [*edges[1:], edges[-1]], strict=True):
        while stack and stack[-1].end <= begin:
            pieces.append(f"</{_TAGS[stack.pop().type]}>")
        for entity in opens.get(begin, []):
            stack.append(entity)
            titled = f' title="{escape(entity.language)}"' if entity.language else ""
            linked = f' href="{escape(entity.url)}"' if entity.url else ""
            pieces.append(f"<{_TAGS[entity.type]}{titled}{linked}>")
        text = units[2 * begin : 2 * end].decode("utf-16-le", "replace")
        if pieces and pieces[-1] in ("</pre>", "</blockquote>"):
            text = text.removeprefix("\n")  # the block is a line of its own
        pieces.append(escape(text))
    return "".join(pieces)


def terminal_page(answers: dict[str, str], piece: int = 7) -> str:
    """Every answer as a terminal of 80 columns shows it once it has come in pieces."""
    shots = "".join(
        f'<div class="shot" id="{name}"><pre>{_screen(markdown, piece)}</pre></div>'
        for name, markdown in answers.items()
    )
    return f'<!doctype html><meta charset="utf-8"><style>{_TERMINAL_CSS}</style>{shots}'


def _screen(markdown: str, piece: int) -> str:
    stream = TerminalStream(colour=True, width=80)
    pieces = [stream.feed(markdown[start : start + piece]) for start in range(0, len(markdown), piece)]
    printed = "".join([*pieces, stream.finish()])
    lines = list[str]()
    for line in printed.split("\n"):
        for up in _UP.finditer(line):
            rows = max(0, len(_AGAIN.split(line[: up.start()])[-1]) - 1) // 80
            lines = lines[: max(0, len(lines) - max(0, int(up[1]) - rows))]
        lines.append(_AGAIN.split(line)[-1])
    return "\n".join(map(_coloured, lines))


def _coloured(line: str) -> str:
    pieces, opened = list[str](), 0
    for text, style in zip(*[iter([*_STYLE.split(line), "0"])] * 2, strict=True):
        pieces.append(escape(text))
        if style in ("", "0"):
            pieces.append("</span>" * opened)
            opened = 0
        else:
            pieces.append(f'<span class="s{style}">')
            opened += 1
    return "".join(pieces)
