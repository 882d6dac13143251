"""Emphasis in languages that write no blanks between words, on every platform."""

import re
from html import unescape

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from adapters.delivery.markdown.code_marks import literal_marks
from adapters.delivery.markdown.emphasis import EastAsianInline
from adapters.delivery.renderers.discord import render_discord
from adapters.delivery.renderers.html import render_html
from adapters.delivery.renderers.telegram import render_telegram


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("これは**「大切」**な話", "これは<strong>「大切」</strong>な話"),
        ("**価格（税込）**は千円", "<strong>価格（税込）</strong>は千円"),
        ("**注意：**必ず読む", "<strong>注意：</strong>必ず読む"),
        ("**「甲」**なので**「乙」**です", "<strong>「甲」</strong>なので<strong>「乙」</strong>です"),
        ("这是**“重点”**内容", "这是<strong>“重点”</strong>内容"),
        ("이것은 **'중요'**합니다", "이것은 <strong>&#x27;중요&#x27;</strong>합니다"),
        ("*補足。*続き", "<em>補足。</em>続き"),
        ("~~旧。~~新", "<s>旧。</s>新"),
        ("ab**「c」**d", "ab<strong>「c」</strong>d"),
        ("- **用途：**说明", "<strong>用途：</strong>说明"),
        ("変数_名_前", "変数_名_前"),
        ("値は ** 空白 ** です", "値は ** 空白 ** です"),
    ],
)
def test_marks_beside_full_width_punctuation_are_read(written: str, shown: str) -> None:
    assert shown in render_html(written)


def test_chats_show_it_as_the_page_does() -> None:
    assert render_discord("これは**「大切」**な話") == "これは**「大切」**な話"
    shown = render_telegram("これは**「大切」**な話")
    assert shown.text == "これは「大切」な話"
    assert [(each.type, each.offset, each.length) for each in shown.entities] == [("bold", 3, 4)]


@given(st.lists(st.sampled_from([*"*_~ aé1.,!()\"'\n😀“—", "**", "~~", "`", "[a](b)"]), max_size=24).map("".join))
def test_beside_all_other_characters_it_is_commonmark(written: str) -> None:
    assume(not re.search(r"(?<!_)__(?:\(|\.\w)", written))  # there it is a name
    assume(not literal_marks(written))
    plain, ours = (MarkdownIt("commonmark").enable("strikethrough") for _ in range(2))
    ours.inline = EastAsianInline()
    ours.enable("strikethrough")
    assert ours.render(written) == plain.render(written)


@pytest.mark.parametrize("written", ["2*3*4 = 24", "2**10 = 1024, 2**20", "x**2 + y**2 = z**2", "5*6*78", "a1*2b*3"])
def test_products_and_powers_keep_their_stars(written: str) -> None:
    assert render_html(written) == f'<p dir="auto">{written}</p>\n'
    assert render_telegram(written).entities == ()
    assert render_discord(written).replace("\\", "") == written


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("**10**x faster", "<strong>10</strong>x faster"),
        ("**2024**年", "<strong>2024</strong>年"),
        ("the *1*st", "the <em>1</em>st"),
        ("**5 * 3**", "<strong>5 * 3</strong>"),
        ("*3* and **4**", "<em>3</em> and <strong>4</strong>"),
    ],
)
def test_numbers_may_be_emphasized(written: str, shown: str) -> None:
    assert render_html(written) == f'<p dir="auto">{shown}</p>\n'


@pytest.mark.parametrize(
    "text",
    [
        "src/__init__.py and tests/__main__.py",
        "__init__(self) and __call__(x)",
        "docs.python.org/3/library/__future__.html",
        "__pycache__/ or a/_b_/c",
        "__init__.py",
        "src/**/*.py and lib/**/*.js",
        "**/*.py or **/*.js",
        "/**/ and /*.txt",
    ],
)
def test_names_and_patterns_of_files_keep_their_signs(text: str) -> None:
    assert unescape(render_html(text)).strip() == f'<p dir="auto">{text}</p>'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**Yes**/**No**", "<strong>Yes</strong>/<strong>No</strong>"),
        ("**/usr/bin** is _here_.", "<strong>/usr/bin</strong> is <em>here</em>."),
        ("_a_ (b), __c__, (_d_)", "<em>a</em> (b), <strong>c</strong>, (<em>d</em>)"),
        ("*a*.", "<em>a</em>."),
    ],
)
def test_emphasis_beside_slashes_and_brackets(text: str, html: str) -> None:
    assert render_html(text).strip() == f'<p dir="auto">{html}</p>'


@pytest.mark.parametrize(
    "text",
    [
        "Write /*comment*/ or /* a comment */ and /* another */ there",
        "/** Adds two numbers. */ int add(int a, int b);",
        "int x = 1;/*one*/ int y = 2;/*two*/",
        "x/*y*/z and /users/*id*/posts",
        "a*b*c",
        "n*(n-1)*(n-2)*(n-3)*(n-4)",
        "2*(a+b)*c + 3*(d+e)*f",
        "area = width*height*depth",
        "width*height*depth = volume",
        "f(x)*g(x)*h(x) and sin(x)*cos(x)*2",
        "a**n + b**n = c**n, 2**n - 2**k, (1+r)**t and (1+q)**t",
        "πr*r and π*r*h",
        "Files (*.txt) and (*.md)",
        "copy *.* to *.py in src/*",
        "{*.py,*.js}, src/*, lib/*, and build/**, dist/**",
        "(*/15 * * * *) or (*/30 * * * *)",
        "Nutzer*innen und Leser*innen, jede*r und alle*r",
        "f*ck this sh*t",
        "the __init__ method and __name__ == '__main__'",
        "__class_getitem__, __FILE__, __proto__ and my __own_name__",
        "def f(*args, **kwargs): g(*args, **kwargs)",
        "char *argv, int **p and *q",
    ],
)
def test_marks_of_code_and_within_words_are_kept(text: str) -> None:
    assert unescape(render_html(text)).strip() == f'<p dir="auto">{text}</p>'
    assert "".join(re.findall(r"\\?(.)", render_discord(text))) == text
    assert render_telegram(text).text == text
    assert {entity.type for entity in render_telegram(text).entities} <= {"code"}


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("un*believ*able and **un**happy", "un<em>believ</em>able and <strong>un</strong>happy"),
        ("foo*bar*baz", "foo<em>bar</em>baz"),
        ("un**believable story**", "un<strong>believable story</strong>"),
        ("请使用**Visual Studio**编辑器", "请使用<strong>Visual Studio</strong>编辑器"),
        ("ใช้**Visual Studio**เพื่อ", "ใช้<strong>Visual Studio</strong>เพื่อ"),
        ("**src/**, **lib/** and *usr/*", "<strong>src/</strong>, <strong>lib/</strong> and <em>usr/</em>"),
        ("**.env** and *.gitignore*", "<strong>.env</strong> and <em>.gitignore</em>"),
        ("(a)**b** and 1.**Title**text", "(a)<strong>b</strong> and 1.<strong>Title</strong>text"),
        ("**Yes**/**No**, and/*or*", "<strong>Yes</strong>/<strong>No</strong>, and/<em>or</em>"),
        ("__important__ and __do not__", "<strong>important</strong> and <strong>do not</strong>"),
        ("**E = m*c**", "<strong>E = m*c</strong>"),
        ("Vitamin*reiche*Kost", "Vitamin<em>reiche</em>Kost"),
        ("**/etc** and **/usr/**", "<strong>/etc</strong> and <strong>/usr/</strong>"),
    ],
)
def test_emphasis_beside_the_like_of_code(text: str, html: str) -> None:
    assert render_html(text).strip() == f'<p dir="auto">{html}</p>'


@pytest.mark.parametrize("piece", ["/*", "*/", "a*", "(a*", "*.a", "x/*y", "__a_", "f(", "a*b*c*", "(", "1**"])
def test_marks_are_looked_for_in_linear_time(piece: str) -> None:
    """Ten times the text takes about ten times the steps; quadratic time would take minutes here."""
    assert len(literal_marks(piece * 50_000)) <= 100_000
