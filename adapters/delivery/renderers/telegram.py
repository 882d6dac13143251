"""Markdown as Telegram's plain text and entities, which cannot fail to parse."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from adapters.delivery.markdown.tree import Link, plain
from adapters.delivery.renderers.plain.walker import Walker

_KINDS = {"bold": "bold", "italic": "italic", "strike": "strikethrough", "heading": "bold", "quote": "blockquote"}
_FRACTION = re.compile(r"(?<!\w)/(?=\w)")
_SIGNS = re.compile(r"[@/#$+]\w|\w\.\w|://|\d[ -]?\d{3}")
_OTHER_SCRIPTS = (  # noqa: SIM905
    "ελ ευ бг бел дети ею католик ком мкд мон москва онлайн орг рус рф сайт срб укр қаз հայ ישראל קום"
    " ابوظبي ارامكو الاردن البحرين الجزائر السعودية العليان المغرب امارات ایران بارت بازار بيتك بھارت تونس"
    " سودان سورية شبكة عراق عرب عمان فلسطين قطر كاثوليك كوم مصر مليسيا موريتانيا موقع همراه پاکستان ڀارت"
    " कॉम नेट भारत भारतम् भारोत संगठन বাংলা ভারত ভাৰত ਭਾਰਤ ભારત ଭାରତ இந்தியா இலங்கை சிங்கப்பூர் భారత్ ಭಾರತ"
    " ഭാരതം ලංකා คอม ไทย ລາວ გე みんな アマゾン クラウド グーグル コム ストア セール ファッション ポイント"
    " 世界 中信 中国 中國 中文网 亚马逊 企业 佛山 信息 健康 八卦 公司 公益 台湾 台灣 商城 商店 商标 嘉里"
    " 嘉里大酒店 在线 大拿 天主教 娱乐 家電 广东 微博 慈善 我爱你 手机 招聘 政务 政府 新加坡 新闻 时尚"
    " 書籍 机构 淡马锡 游戏 澳門 点看 移动 组织机构 网址 网店 网站 网络 联通 谷歌 购物 通販 集团 電訊盈科"
    " 飞利浦 食品 餐厅 香格里拉 香港 닷넷 닷컴 삼성 한국 vermögensberater vermögensberatung"
).split()
"""Top-level domains of IANA's root zone with other than English letters. In English letters any word may be one."""
_TOP = rf"(?:xn--[a-z0-9]{{2,59}}|[a-z]{{2,24}}|{'|'.join(_OTHER_SCRIPTS)})"
_LIVE = re.compile(
    r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)++"
    r"|(?<!\w)(?:tg|ton|tonsite)://\S*[^\s.,;:!?()<>]"
    r"|(?<!\w)@\w{2,}"
    r"|(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@\w{3,})?(?![\w/<>])"
    r"|(?<![\w#])#\w*[^\W\d]\w*"
    r"|(?<![\w$])\$(?-i:1INCH|[A-Z]{1,8})(?![\w$])"
    r"|(?<![\w+])\+\d(?:[ ().-]{0,2}\d){6,14}(?!\w)"
    r"|(?<![\w.,+-])(?P<card>\d(?:[ -]?\d){12,18})(?![\w])"
    r"|(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)(?::\d+)?(?:/(?:[^\s()<>]*[^\s()<>.,;:!?])?)?"
    rf"|(?<![\w@/.:-])(?:[\w-]++\.)+(?!(?-i:[A-Z][a-z]+)(?![\w-])){_TOP}(?![\w-])"
    r"(?::\d+)?(?:[/?#](?:[^\s()<>]*[^\s()<>.,;:!?])?)?",
    re.IGNORECASE,
)
"""What Telegram makes live by itself: e-mail addresses, its own links, mentions, commands, hashtags, stocks, numbers of
telephones and bank cards, addresses without a scheme, in small letters or capitals (but no `End.Next`, which begins a
sentence for Telegram). The last are often names of files (`README.md`), which would lead to somebody's site."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A Bot API `MessageEntity`: `offset` and `length` in UTF-16 units."""

    type: str
    offset: int
    length: int
    url: str = ""
    language: str = ""

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class TelegramText:
    text: str
    entities: tuple[Entity, ...]

    @property
    def units(self) -> int:
        """The length as Telegram counts it, in UTF-16 units."""
        return utf16_units(self.text)


def utf16_units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def render_telegram(markdown: str, *, live: bool = False) -> TelegramText:
    """The chunk as text and entities: nested ones in the order of their beginning, none empty.

    Names and commands are code: of what is code, Telegram makes nothing that notifies anyone or can be tapped.

    Args:
        live: commands stay what they are, as in the bot's own words. Names and addresses do not: somebody may have
            written them, as a stop word or as a value that was refused.
    """
    walker = _Telegram()
    walker.walk(markdown)
    text = "".join(walker.rendered).rstrip()
    spans = _quietened(text, walker.spans, commands=live)
    return TelegramText(text, tuple(_in_units(spans, text)))


def quieted(text: str, *, commands: bool = False) -> tuple[Entity, ...]:
    """The entities that keep the names in plain text from being live, and the commands unless they may be."""
    return tuple(_in_units(_quietened(text, [], commands=commands), text))


def _quietened(text: str, spans: list[Entity], *, commands: bool) -> list[Entity]:
    """The spans, counted in code points, and code over all that would be live and must not be."""
    if not _SIGNS.search(text):
        return spans
    covered = sorted(
        (span for span in spans if span.type in ("code", "pre", "text_link")), key=lambda span: span.offset
    )
    found, index = list[Entity](), 0
    for live in _LIVE.finditer(text):
        if (live["card"] and not _is_card(live["card"])) or (commands and live[0].startswith("/")):
            continue
        while index < len(covered) and covered[index].end <= live.start():
            index += 1
        end = min(live.end(), covered[index].offset) if index < len(covered) else live.end()
        if end > live.start():
            found.append(Entity("code", live.start(), end - live.start()))
    begins = [code.offset for code in found]
    return [*(_outside(span, found, begins) for span in spans), *found] if found else spans


def _is_card(number: str) -> bool:
    """Whether it may be a bank card's: by Luhn's check digit (ISO/IEC 7812)."""
    digits = [int(char) for char in reversed(number) if char.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _outside(span: Entity, codes: Sequence[Entity], begins: Sequence[int]) -> Entity:
    """The span without what it shares with code that it does not hold whole, and that does not hold it."""
    index = bisect_right(begins, span.offset) - 1
    first = codes[index] if index >= 0 else span
    if first.offset < span.offset < first.end < span.end:
        span = replace(span, offset=first.end, length=span.end - first.end)
    index = bisect_left(begins, span.end) - 1
    last = codes[index] if index >= 0 else span
    if span.offset < last.offset < span.end < last.end:
        span = replace(span, length=last.offset - span.offset)
    return span


def _in_units(spans: list[Entity], text: str) -> list[Entity]:
    offsets = [0, *accumulate(1 if ord(char) < 0x10000 else 2 for char in text)]
    entities = []
    for span in sorted(spans, key=lambda span: (span.offset, -span.length)):
        end = min(span.end, len(text))
        while end > span.offset and text[end - 1].isspace():  # Telegram trims them, and counts again
            end -= 1
        if end > span.offset:
            start = offsets[span.offset]
            entities.append(replace(span, offset=start, length=offsets[end] - start))
    return entities


class _Telegram(Walker):
    # On Android code is 15 units high, so a column has 9; a bubble leaves about 330 of a telephone's 412.
    widest = 36

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Entity] = []
        self._length = 0
        self._counted = 0
        self._opened: list[tuple[str, int]] = []

    @property
    def rendered(self) -> list[str]:
        return self._pieces

    def _here(self) -> int:
        self._length += sum(map(len, self._pieces[self._counted :]))
        self._counted = len(self._pieces)
        return self._length

    def open(self, kind: str, detail: str = "") -> None:
        self.emit("")
        self._opened.append((kind, self._here()))

    def close(self, kind: str, detail: str = "") -> None:
        name, start = self._opened.pop()
        if name not in (each for each, _ in self._opened):  # bold in bold is bold
            self.spans.append(Entity(_KINDS[name], start, self._here() - start))

    def link(self, link: Link) -> None:
        address = link.address
        if address.lower().startswith("mailto:"):  # no address of a link there
            if link.bare:
                self.code(plain(link.children))
            else:
                self.label(link.children)
                self.text(f" ({address[len('mailto:') :]})")
            return
        self.emit("")
        start = self._here()
        self.label(link.children)
        self.spans.append(Entity("text_link", start, self._here() - start, url=address))

    def formula(self, readable: str) -> str:
        """A slash behind a bracket would begin a command, so the fraction has a sign of its own."""
        return _FRACTION.sub("∕", readable)

    def text(self, text: str) -> None:
        self.emit(text)

    def code(self, code: str) -> None:
        if self._links:
            self.emit(code)  # one or the other
        else:
            self._spanned(code, "code", "")

    def code_block(self, code: str, language: str) -> None:
        self._spanned(code.removesuffix("\n"), "pre", language)

    def _spanned(self, code: str, kind: str, language: str) -> None:
        self.emit("")
        start = self._here()
        prefixes, self._prefixes = self._prefixes, []
        self.emit(code)
        self._prefixes = prefixes
        self.spans.append(Entity(kind, start, self._here() - start, language=language))
