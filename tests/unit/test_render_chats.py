"""Discord's Markdown, Telegram's entities and the terminal: the look changes, the content does not."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.delivery.renderers.discord import render_discord
from adapters.delivery.renderers.html import render_html
from adapters.delivery.renderers.telegram import Entity, render_telegram, utf16_units
from adapters.delivery.renderers.terminal import TerminalStream, safe
from tests.conformance.chats import in_terminal, on_discord
from tests.unit.test_chunking import markdown_texts


def letters(text: str) -> str:
    return "".join(char for char in text if char.isalpha())


def letters_of_html(markdown: str) -> str:
    """Without the language of code, which the chats show in their own way or not at all."""
    html = re.sub(r'<span class="lang">[\w+#.-]{,32}(?=[\s:,;{(<])', "", render_html(markdown))
    html = re.sub(r"<button.*?</button>", "", html)
    return letters(unescape(re.sub(r"<[^>]*>", "", html)))


@settings(derandomize=True)
@given(markdown_texts)
def test_telegram_and_the_page_show_the_same_words(markdown: str) -> None:
    if "|" not in markdown:  # in a table cell the chats keep Markdown as it is
        assert letters(render_telegram(markdown).text) == letters_of_html(markdown)


@settings(derandomize=True)
@given(markdown_texts)
def test_discord_shows_the_same_words(markdown: str) -> None:
    if not re.search(r"[|`~\]]|    |\t", markdown):
        assert letters(render_discord(markdown)) == letters_of_html(markdown)


@settings(derandomize=True)
@given(markdown_texts)
def test_entities_are_within_the_text_and_never_overlap_in_part(markdown: str) -> None:
    rendered = render_telegram(markdown)
    for one in rendered.entities:
        assert 0 <= one.offset < one.offset + one.length <= rendered.units
        for other in rendered.entities:
            starts_within = one.offset < other.offset < one.offset + one.length
            assert not (starts_within and other.offset + other.length > one.offset + one.length)


def test_telegram_counts_utf16_units() -> None:
    rendered = render_telegram("👩 **bold** `x`")
    assert rendered.text == "👩 bold x"
    assert [(entity.type, entity.offset, entity.length) for entity in rendered.entities] == [
        ("bold", 3, 4),
        ("code", 8, 1),
    ]
    assert utf16_units("👩") == 2


def test_telegram_blocks() -> None:
    rendered = render_telegram("# Title\n\n> quote\n\n```py\nx = 1\n```\n\n[l](https://a.b)\n\n- one\n  1. two")
    assert rendered.text == "Title\n\nquote\n\nx = 1\n\nl\n\n- one\n  1. two".replace("l\n\n-", "l\n-")
    assert [(e.type, e.url, e.language) for e in rendered.entities] == [
        ("bold", "", ""),
        ("blockquote", "", ""),
        ("pre", "", "py"),
        ("text_link", "https://a.b", ""),
    ]


@pytest.mark.parametrize(
    ("markdown", "discord"),
    [
        ("@everyone <@123> <#4> <t:0>", r"\@everyone \<\@123\> \<\#4\> \<t:0\>"),
        ("a_b \\*c\\* ||d||", r"a\_b \*c\* \|\|d\|\|"),
        ("**b** *i* ~~s~~ `c_d`", "**b** *i* ~~s~~ `c_d`"),
        ("see https://a.b/c_d.", "see <https://a.b/c_d>."),
        ("[x](https://a.b)", "[x](<https://a.b>)"),
        ("![x](https://a.b)", "[x](<https://a.b>)"),
        ("##### five", "**five**"),
        ("1\\. no", r"1\. no"),
        ("> \\- x", r"> \- x"),
        ("- a\n  \\- b\n  1\\. c", "- a\n  \\- b\n  1\\. c"),
        ("> - \\- z\n>   \\# w", "> - \\- z\n>   \\# w"),
        ("2. a\n3. b\n5. c", "2\\. a\n3\\. b\n5\\. c"),
        ("2. a\n3. b", "2. a\n3. b"),
        ("007) a", r"007\) a"),
        ("0. a\n1. b", "0\\. a\n1\\. b"),
        ("- [ ] a\n- [x] `b`", "- ☐ a\n- ☑ `b`"),
        ("**a __b__ c**", "**a b c**"),
        ("[x](https://a.b 'why')", "[x](<https://a.b>) (why)"),
        ("[](https://a.b/_c_)", "<https://a.b/_c_>"),
        ("**https://a.b/c**: www.a.b/_c_/", r"**<https://a.b/c>**: [www.a.b/\_c\_/](<http://www.a.b/_c_/>)"),
        ("[x](mailto:a_b@c.org)", r"x (a\_b\@c.org)"),
        ("[https://a.b](https://c.d)", r"https\://a.b (<https://c.d>)"),
        ("[https://a.b/_c_](https://a.b/_c_)", "<https://a.b/_c_>"),
        ("steam://run/1", r"steam\://run/1"),
        ("- \\[ ] b\n- &#91; ] c", "- \\[ \\] b\n- \\[ \\] c"),
        ("[x](https://a.b/c)d))", r"[x](<https://a.b/c>)d))"),
        ("```python:src/a.py\nx\n```", "*src/a.py*\n```python\nx\n```"),
        ("x[^1]\n\n[^1]: y", "x\\[1\\]\n\n\\[1\\]: y"),
        (r"\(x^2\,dx\) $a_1*b_2$", r"x² dx a₁\*b₂"),
        (r"\(e^{i\pi}\)", "e^(iπ)"),
        (r"$\mathrm{H_2O}$ $\mathrm{J\,s}$ $\frac{\mathrm{d}y}{\mathrm{d}x}$", "H₂O J s (dy)/(dx)"),
        (r"\(\overline{x}\)", r"`\(\overline{x}\)`"),
        (r"\(e^{-x^2/2}\) \(x_{B}\) \(a_Bc\) \(\big\uparrow\)", r"e^(-x²/2) x\_B a\_(B)c ↑"),
        (r"\(\int_{-\infty}^{\infty} f\) \(\sqrt{x}^2\) \(\underbrace{x}\)", r"∫\_(-∞)^∞ f (√x)² `\(\underbrace{x}\)`"),
        (
            "````md\n# T\n``x`` `y`\n```py\nz\n```\nw\n````",
            "```md\n# T\n``x`` `y`\n```\n` ```py`\n```md\nz\n```\n` ``` `\n```md\nw\n```",
        ),
        ("$5 and $6", "$5 and $6"),
        ("\\- no", r"\- no"),
        ("---", "———"),
        ("> a\n> b\n\nc", "> a\n> b\n\nc"),
        ("> a\n>\n> b\n>\n> - c\n>\n>   d", "> a\n> \n> b\n> - c\n>   d"),
        ("- a\n  - b\n    c", "- a\n  - b\n    c"),
        ("~~~py\nx_1\n~~~", "```py\nx_1\n```"),
        ("````\n```\nx\n````", "``\n```\nx\n``"),
        ("````md\n# T\n```py\nx\n```\n````", "*md*\n``\n# T\n```py\nx\n```\n``"),
        ("``a ` b``", "``a ` b``"),
        ("| a | b |\n|---|---|\n| 字 | 2 |", "```\na  | b\n---+--\n字 | 2\n```"),
        ("<think>x</think>", r"\<think\>x\</think\>"),
        ("see discord.gg/a_b, or", "see `discord.gg/a_b`, or"),
        (r"discord\.gg/ab", "`discord.gg/ab`"),
        ("https://discord.gg/a_b.", "`https://discord.gg/a_b`."),
        ("[free](https://ptb.discord.com/invite/ab?x=1)", "free `https://ptb.discord.com/invite/ab?x=1`"),
        ("[discord.gg/ab](https://a.b)", "[`discord.gg/ab`](<https://a.b>)"),
        (
            "<https://discordapp.com/oauth2/authorize?client_id=1>",
            "`https://discordapp.com/oauth2/authorize?client_id=1`",
        ),
        ("discord.new/ab DISCORD.GG/AB", "`discord.new/ab` `DISCORD.GG/AB`"),
        (
            "https://discord.com/developers/docs notdiscord.gg/x",
            "<https://discord.com/developers/docs> notdiscord.gg/x",
        ),
    ],
)
def test_discord(markdown: str, discord: str) -> None:
    assert render_discord(markdown) == discord


@pytest.mark.parametrize("written", ["{}", "**{}**", "see *{}*, or", "[{}]", "- ({}).", "[x](https://a.b) {}"])
@pytest.mark.parametrize(
    "address", ["ftp://e.org/_a_/b", "postgresql://u_1:p*2*@h_3/d_4", "s3://b/*/c_/d", "https://[::1]:80/_a_/~~b~~"]
)
def test_an_address_that_is_no_link_keeps_every_character(written: str, address: str) -> None:
    markdown = written.format(address)
    page = unescape(re.sub(r"<[^>]*>", "", render_html(markdown)))
    assert all(
        address in text for text in (page, render_telegram(markdown).text, on_discord(render_discord(markdown)).text)
    )


LIVE = re.compile(r"(?<!\w)@\w|(?<![\w/<>])/\w+(?![\w/<>])|(?<![\w#])#\w*[^\W\d]|(?<![\w$])\$[A-Z]{1,8}(?![\w$])")
"""What Telegram's servers find in a text: mentions, commands, hashtags, stocks."""
NAMED = [
    "@somebody", "/start", "#topic", "$AAPL", "**@bold_name**", "/st**art**", "@some`body`", "(/help)",
    "> /stop\n", "- @item\n", "*a /x_1 b*", "[@label](https://a.b)", "`@code`", "a@b.org", "\n", " ", "word",
    "/usr/bin", ".", ",",
]  # fmt: skip


@settings(derandomize=True)
@given(st.lists(st.sampled_from(NAMED), max_size=12).map("".join))
def test_telegram_makes_nothing_live_of_what_the_model_wrote(markdown: str) -> None:
    rendered = render_telegram(markdown)
    dead = [entity for entity in rendered.entities if entity.type in ("code", "pre", "text_link")]
    for live in LIVE.finditer(rendered.text):
        start, end = utf16_units(rendered.text[: live.start()]), utf16_units(rendered.text[: live.end()])
        assert any(entity.offset < end and start < entity.offset + entity.length for entity in dead), live[0]
    for one in rendered.entities:
        for other in rendered.entities:
            assert not one.offset < other.offset < one.offset + one.length < other.offset + other.length


def test_names_keep_every_letter() -> None:
    rendered = render_telegram("Ask **@somebody now**, or /he**lp** (#a1, $AAPL, a_b@c.org).")
    assert rendered.text == "Ask @somebody now, or /help (#a1, $AAPL, a_b@c.org)."
    code = [rendered.text[each.offset : each.end] for each in rendered.entities if each.type == "code"]
    assert code == ["@somebody", "/help", "#a1", "$AAPL", "a_b@c.org"]
    assert render_telegram("$1,000, #1, /usr/bin, a @ b, 1/2 and and/or").entities == ()


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ("| **x** | n |\n|---|--:|\n| \\*y\\* | 1 |\n| &lt; | 22 |", "x   |  n\n----+---\n*y* |  1\n<   | 22"),
        ("| a | b |\n|---|---|\n| `x | y` | z | w |", "a     | b\n------+------\nx | y | z | w"),
        ("| a | b |\n|---|:-:|\n| c<br>d | `<br>` |", "a   |  b\n----+-----\nc d | <br>"),
        (
            "| ไทย | हिन्दी |\n|---|---|\n| 👩\u200d👩\u200d👧 | x |",
            "ไทย | हिन्दी\n----+-----\n👩\u200d👩\u200d👧  | x",
        ),
        (
            "| $x^2$ | b |\n|---|---|\n| \\(\\overline{xx}\\) | c |",
            "x²                | b\n------------------+--\n\\(\\overline{xx}\\) | c",
        ),
    ],
)
def test_tables_of_lines(table: str, shown: str) -> None:
    assert render_telegram(table).text == shown
    assert render_discord(table) == f"```\n{shown}\n```"


def test_a_table_that_lines_cannot_show_is_a_list_of_records() -> None:
    wide = "| Name | What it does |\n|---|---|\n| **a** | " + "words " * 12 + "|\n| b | c |"
    assert render_discord(wide) == f"**Name**: **a**\n**What it does**: {'words ' * 12}".strip() + (
        "\n\n**Name**: b\n**What it does**: c"
    )
    assert render_discord("| a | b |\n|---|---|\n| [x](https://a.b) | ``` |") == (
        "**a**: [x](<https://a.b>)\n**b**: \\`\\`\\`"
    )


@pytest.mark.parametrize(
    ("formula", "drawn"),
    [
        (r"A = \begin{pmatrix} 1 & -2 \\ 30 & x^2 \end{pmatrix}", ["A = ⎛ 1   -2 ⎞", "    ⎝ 30  x² ⎠"]),
        (r"\begin{bmatrix}1\\2\\3\end{bmatrix}", ["⎡ 1 ⎤", "⎢ 2 ⎥", "⎣ 3 ⎦"]),
        (
            r"\begin{bmatrix}1 & 2\end{bmatrix} \begin{bmatrix}x \\ y\end{bmatrix} = z",
            ["[ 1  2 ] ⎡ x ⎤ = z", "         ⎣ y ⎦"],
        ),
        (
            r"|x| = \begin{cases} x & x \ge 0 \\ -x & \text{otherwise} \end{cases}",
            ["|x| = ⎧ x   x ≥ 0", "      ⎩ -x  otherwise"],
        ),
        (r"\det\begin{vmatrix} a & b \\ c & d \\ \end{vmatrix}, x", ["det │ a  b │, x", "    │ c  d │"]),
    ],
)
def test_matrices_are_drawn_on_chats_and_in_a_terminal(formula: str, drawn: list[str]) -> None:
    text = "\n".join(drawn)
    assert render_discord(f"\\[{formula}\\]") == f"```\n{text}\n```"
    assert render_telegram(f"$$\n{formula}\n$$").text == text
    for written in (f"\\[\n{formula}\n\\]", f"$${formula}$$"):
        stream = TerminalStream(colour=True)
        assert in_terminal(stream.feed(written) + stream.finish()).text == f"{text}\n"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\\begin{align*}\nx &= 1 \\\\[4pt]\n&= y^2 \\\\\n\\end{align*}", "x = 1\n= y²"),
        ("\\[\n\\begin{aligned} a &= b, & c &= d \\end{aligned}\n\\]", "a = b, c = d"),
        ("\\begin{equation} E = mc^2 \\end{equation}", "E = mc²"),
        ("$$\n\\begin{gather} a \\\\ b \\end{gather}\n$$", "a\nb"),
    ],
)
def test_aligned_lines_are_readable(written: str, shown: str) -> None:
    assert render_telegram(written).text == shown
    assert render_discord(written) == shown
    stream = TerminalStream(colour=True)
    assert in_terminal(stream.feed(written) + stream.finish()).text == f"{shown}\n"


@pytest.mark.parametrize(
    "formula", [r"\begin{pmatrix} \overline{xy} \end{pmatrix}", r"\begin{pmatrix} " + "x & " * 40 + r"y \end{pmatrix}"]
)
def test_a_matrix_that_lines_cannot_show_stays_as_it_was_written(formula: str) -> None:
    assert formula in render_discord(f"\\[{formula}\\]")
    assert formula in render_telegram(f"\\[{formula}\\]").text


def test_mathematics_in_a_terminal() -> None:
    stream = TerminalStream(colour=True)
    printed = stream.feed("so \\(x^2\\), \\(\\overline{x}\\) for $5 and $6\n\\[\n\\overline{x} **x**\n\\]\n**b**\n")
    assert "so x², \x1b[36m\\(\\overline{x}\\)\x1b[0m for $5 and $6\n" in printed
    assert "\x1b[36m\\overline{x} **x**\x1b[0m\n\x1b[36m\\]\x1b[0m\n\x1b[1m**b**\x1b[0m\n" in printed


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_formula_of_several_lines_becomes_readable_when_it_is_closed(size: int) -> None:
    for written, shown in (
        ("a\n\\[\n\\int_0^1 x^2\n\\]\nb\n", "a\n∫₀¹ x²\nb\n"),
        ("a\n$$\nx^2 \\\\\ny\n$$\nb\n", "a\nx²\ny\nb\n"),
        ("a\n\\[\n\\int_0^1 x^2\n", "a\n\\[\n\\int_0^1 x^2\n"),
        ("\\[\n" + "x\n" * 20 + "\\]\n", "\\[\n" + "x\n" * 20 + "\\]\n"),
    ):
        stream = TerminalStream(colour=True)
        pieces = [written[at : at + size] for at in range(0, len(written), size)]
        assert in_terminal("".join(map(stream.feed, pieces)) + stream.finish()).text == shown


def test_what_telegram_would_make_live_is_code() -> None:
    markdown = (
        "call +1-212-555-0123, card 4111 1111 1111 1111, see README.md, **python.org/doc**, 127.0.0.1:80/x,"
        " tg://resolve?domain=x, me@x.org"
    )
    rendered = render_telegram(markdown)
    assert rendered.text == markdown.replace("**", "")
    code = [rendered.text[each.offset : each.end] for each in rendered.entities if each.type == "code"]
    assert code == [
        "+1-212-555-0123", "4111 1111 1111 1111", "README.md", "python.org/doc", "127.0.0.1:80/x",
        "tg://resolve?domain=x", "me@x.org",
    ]  # fmt: skip
    quiet = "On 2024-05-01 100 000 000 e.g. 3.14, 1234567890123456, 1.2.3.4.5 and U.S.A."
    assert render_telegram(quiet).entities == ()


@pytest.mark.parametrize(
    "written",
    [
        "EVIL.COM", "evil.COM", "T.ME/ann", "README.MD", "a.PY", "TG://resolve?domain=ann", "tonSite://x.TON",
        "TON://x/Y", "evil.xn--p1ai", "пример.РФ", "evil.香港", "evil.भारत", "EVIL.COM:80/x?y=Z", "ME@X.ORG",
        "1.1.1.1", "#TAG", "@ANN",
    ],
)  # fmt: skip
@pytest.mark.parametrize("around", ["{}", "see {}.", "**{}**", "> - ({})", "| a |\n|---|\n| [x](https://a.b) {} |"])
def test_capitals_and_other_scripts_are_not_live_on_telegram(written: str, around: str) -> None:
    rendered = render_telegram(around.format(written))
    assert written in [on_telegram_text(rendered.text, entity) for entity in rendered.entities if entity.type == "code"]


def on_telegram_text(text: str, entity: Entity) -> str:
    units = text.encode("utf-16-le")
    return units[2 * entity.offset : 2 * entity.end].decode("utf-16-le")


def test_what_telegram_takes_for_the_next_sentence_stays_text() -> None:
    assert render_telegram("It ends.Next one. 1.首先 2.中国的首都 $usd U.S.A. Ph.D").entities == ()


BLANK = [
    "", " ", "\u2800" * 40, "\u200b", "\u3164", "\u00ad", "\u115f", "\u2060", "\u034f", "\U000e0041", "\U0001d159",
    "\uffa0", "\u0301", "&#x200b;", "&zwnj;", "&nbsp;", "*\u200b*", "**~~\u2800~~**", "`\u200b`", "` `",
    "$\\quad$", "$\\,\\;$", "\\(\\phantom{x}\\)", "$\\hspace{3em}$", "\\boxed{}", "\\boxed{\\text{ }}", "\u180e",
    "\ufe0f", "\u17b4", "\u202e", "\u2061", "\U00013441",
]  # fmt: skip


@pytest.mark.parametrize("label", BLANK)
@pytest.mark.parametrize("picture", ["", "!"])
def test_a_link_that_cannot_be_seen_is_its_address(label: str, picture: str) -> None:
    address = "https://evil.example/x"
    markdown = f"see {picture}[{label}]({address}) now"
    assert f"<bdi>{address}</bdi>" in render_html(markdown)
    assert render_discord(markdown) == f"see <{address}> now"
    assert render_telegram(markdown).text == f"see {address} now"


@pytest.mark.parametrize(
    "label", ["a", "👩‍👩‍👧", "7️⃣", "字", "हि", "—", "é", "$\\alpha$", "\\(x\\)", "\\boxed{1}", "`|`", "\ue000", "→"]
)
def test_a_label_that_can_be_seen_stays(label: str) -> None:
    assert "evil" not in render_telegram(f"[{label}](https://evil.example/x)").text


def test_in_the_bots_own_words_commands_are_live_and_nothing_else() -> None:
    rendered = render_telegram("Send /stop, “@everybody” #x evil.com /help", live=True)
    code = [rendered.text[each.offset : each.end] for each in rendered.entities if each.type == "code"]
    assert code == ["@everybody", "#x", "evil.com"]


def test_fractions_on_telegram_are_no_commands() -> None:
    rendered = render_telegram("\\(\\frac{n(n+1)}{2}\\) and\n\n\\[\n\\frac{f(x+h)-f(x)}{h}\n\\]")
    assert rendered.text == "(n(n+1))∕2 and\n\n(f(x+h)-f(x))∕h"
    assert rendered.entities == ()


def test_tables_on_telegram_are_as_wide_as_a_telephone() -> None:
    rows = ["| a | b |\n|---|---|\n| {} | x |".format("y" * width) for width in (32, 33)]
    assert [render_telegram(row).entities[0].type for row in rows] == ["pre", "bold"]
    assert all(render_discord(row).startswith("```") for row in rows)


@settings(derandomize=True)
@given(markdown_texts)
def test_a_terminal_without_colour_gets_the_text_as_it_is(text: str) -> None:
    plain = TerminalStream(colour=False)
    assert "".join(plain.feed(char) for char in text) + plain.finish() == "".join(map(safe, text))


@settings(derandomize=True)
@given(markdown_texts)
def test_nothing_in_the_text_commands_the_terminal(text: str) -> None:
    stream = TerminalStream(colour=True)
    printed = "".join(stream.feed(f"{char}") for char in text + "\x1b[2J\x9b\x07") + stream.finish()
    assert set(re.findall(r"\x1b\[(?!\d+A)[^A-Za-z]*[A-Za-z]?", printed)) <= {
        "\x1b[2K",
        "\x1b[J",
        "\x1b[1m",
        "\x1b[2m",
        "\x1b[36m",
        "\x1b[0m",
    }
    assert not re.search("[\x07\x9b]", printed)


def test_a_terminal_shows_styles() -> None:
    stream = TerminalStream(colour=True)
    printed = stream.feed("# Title\nsome **bold** and `code`\n```py\nx = 1\n```\nlast")
    assert "\x1b[1m# Title\x1b[0m\n" in printed
    assert "some \x1b[1m**bold**\x1b[0m and \x1b[36m`code`\x1b[0m\n" in printed
    assert "\x1b[36mx = 1\x1b[0m\n" in printed
    assert stream.finish() == "\r\x1b[2Klast\n"


def _screen(printed: str, width: int) -> list[str]:
    """The rows of a terminal that is high enough, without styles; it breaks a row when the next letter comes."""
    rows, row, column = [""], 0, 0
    for found in re.finditer(r"\x1b\[(\d*)([A-Za-z])|[^\x1b]", printed):
        match found[2] or found[0]:
            case "m":
                continue
            case "A":
                row -= int(found[1])
            case "K":
                rows[row] = ""
            case "J":
                rows[row:] = [rows[row][:column]]
            case "\r":
                column = 0
            case "\n":
                row, column = row + 1, 0
            case letter:
                if column == width:
                    row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
                rows[row] = rows[row][:column] + letter
                column += 1
        rows += [""] * (row + 1 - len(rows))
    return rows


@pytest.mark.parametrize("piece", [1, 3, 19, 20, 21, 40, 1000])
@pytest.mark.parametrize("filler", [*range(14, 27), 30, 50, 55, 150])
def test_a_line_over_several_rows_is_styled_too(piece: int, filler: int) -> None:
    line = "x" * filler + r" is \(\frac{1}{2}\) of **all** or `code`"
    text = f"before\n{line}\nafter"
    stream = TerminalStream(colour=True, width=20)
    printed = "".join(stream.feed(text[at : at + piece]) for at in range(0, len(text), piece)) + stream.finish()
    shown = "x" * filler + " is ½ of **all** or `code`"
    rows = [shown[at : at + 20] for at in range(0, len(shown), 20)]
    if filler < 150:
        assert _screen(printed, 20) == ["before", *rows, "after", ""]
        assert "\x1b[1m**all**" in printed
    else:
        assert "".join(_screen(printed, 20)).replace("½", r"\(\frac{1}{2}\)") == f"before{line}after"


def test_letters_of_two_columns_are_left_where_they_stand() -> None:
    stream = TerminalStream(colour=True, width=20)
    text = "**a** 字" * 12 + "\n"
    assert "".join(stream.feed(char) for char in text) == text


@pytest.mark.parametrize(
    "code",
    [
        "1. a\n   - b\n\n     ```sh\n     echo $A and $B \\(x\\)\n     ```\n",
        "- ```py\n  a = r'\\(x\\)'\n  ```\n",
        "> - ```\n>   $x$\n>   ```\n",
        "words\n\n    re.match(r'\\(x\\)', $a$)\n",
        "- a\n\n      indented $a$\n",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_code_in_containers_is_no_mathematics_in_a_terminal(code: str, size: int) -> None:
    stream = TerminalStream(colour=True)
    text = f"{code}\nafter \\(x^2\\)"
    printed = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size)) + stream.finish()
    assert in_terminal(printed).text == f"{code}\nafter x²\n"
