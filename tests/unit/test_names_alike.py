"""What passes for the bot's name, whatever it is written with; and that ordinary names never do."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web.posts.guests import BOT_NAME, rename, tidy_name
from adapters.web.posts.memory import MemoryPosts
from bots.names import keys, passes_for


def drawn(first: str) -> str:
    """The bot's name with letters of a block that begins with an A like this."""
    return "".join(chr(ord(first) + ord(letter) - ord("A")) for letter in BOT_NAME.upper())


ONE_SIGN = {
    **{sign: f"{sign}artyline" for sign in "₽Þ卩尸"},
    **{sign: f"Partylin{sign}" for sign in "єεɘ"},
    "¥": "Part¥line",
    "п": "Partyliпe",
    "И": "PartyliИe",
    "®": "Pa®tyline",
    "丨": "Partyl丨ne",
    "enclosed": "P⃝artyline",
}
PASSING = {
    "small capitals": "ᴘᴀʀᴛʏʟɪɴᴇ",
    "fullwidth": "Ｐａｒｔｙｌｉｎｅ",
    "mathematical": "𝔓𝔞𝔯𝔱𝔶𝔩𝔦𝔫𝔢",
    "superscript": "ᴾᵃʳᵗʸˡⁱⁿᵉ",
    "circled": "Ⓟⓐⓡⓣⓨⓛⓘⓝⓔ",
    "in parentheses": "⒫⒜⒭⒯⒴⒧⒤⒩⒠",
    "regional": drawn("🇦"),
    "regional, apart": " ".join(drawn("🇦")),
    "white in squares": drawn("🅰"),
    "white in circles": drawn("🅐"),
    "upside down": "ǝuıʅʎʇɹɐd",
    "upside down, with another P": "ǝuᴉlʎʇɹɐԀ",
    "overlaid": "P̶a̶r̶t̶y̶l̶i̶n̶e̶",
    "with strokes": "Pⱥrŧyłɨne",
    "with hooks": "Ᵽąŗťɏļįņę",
    "a digit between": "Part1yline",
    "digits in place": "P4r7yl1n3",
    "signs in place": "P@r+yl!n€",
    "repeated": "Parttyylinne",
    "with points": "P.a.r.t.y.l.i.n.e",
    "among other words": "The Partyline Bot",
    "Cyrillic": "Раrtylіnе",
    "Greek": "Ρartyliηe",
    "Cherokee": "ᏢartyᏞine",
    "Lisu": "ꓑꓮꓣꓔꓬꓡꓲꓠꓰ",
    "Chinese": "卩卂尺ㄒㄚㄥ丨几乇",
    "currencies": "₱₳Ɽ₮ɎⱠł₦Ɇ",
    "Armenian": "թąɾէվӀìղҽ",
    "Canadian": "ᑭᗩᖇTYᒪIᑎE",
    "Cherokee, in small letters": "ᎮᎯɾtᎩlᎥnᏋ",
    "Cyrillic by its looks": "Pдятчliпэ",
    "Greek by its looks": "ραятуℓιηє",
    "turned letters": "Pɐɹʇʎlᴉnǝ",
    **{f"one sign, {sign}": name for sign, name in ONE_SIGN.items()},
}

# Of each script two that differ little, where one is easily found.
NAMES = """
    Ada Lovelace|Zoë Brontë|Nguyễn Thị Minh Khai|Łukasz Żółć|Þórdís Ævarsdóttir|Şule Çağlayan|João Partido|Patty Lane
    Вера Фигнер|Віра|Параскева Тихая|Αρετή Παπαδοπούλου|Νίκος|Անահիտ Բագրատունի|Լևոն|שרה כהן|נועה|محمد|محمود
    فاطمة الزهراء
    ܐܦܪܝܡ|अनन्या शर्मा|प्रिया|মেঘনা সেন|ਹਰਪ੍ਰੀਤ ਕੌਰ|નીતા પટેલ|ଅନିତା|தமிழ்ச்செல்வி|శ్రీనివాస్|ಪಾರ್ವತಿ|പാർവ്വതി|නිමල්|สมชาย ใจดี|ສົມພອນ|မြင့်မြင့်|សុខា
    ნინო|თამარ|አበበ|ᏍᏏᏉᏯ|ᐊᓄᒃ|山田太郎|山口|李小龍|ひかり|ヒカル|김민준|ᠮᠥᠩᠬᠡ|བསྟན་འཛིན་|ⴰⵎⴰⵣⵉⵖ|𞤀𞤣𞤤𞤢𞤥
    😀|🇧🇷 Bia|R2D2|Agent 47|x_X|M4rt1n|Þór|Ω|René|O'Neil|O'Neill|Ångström|Нил|Лия|Э. Пи|Жан-Поль|Д|Σ
"""


@pytest.mark.parametrize("typed", PASSING.values(), ids=PASSING)
def test_what_reads_as_the_bots_name_cannot_be_had(typed: str) -> None:
    with pytest.raises(ValueError, match="bot's own name"):
        tidy_name(typed)


async def test_names_of_all_scripts_can_be_had_beside_each_other() -> None:
    posts = MemoryPosts()
    names = [name.strip() for line in NAMES.split("\n") for name in line.split("|") if name.strip()]
    assert len(names) > 50
    for name in names:
        assert not passes_for(name, BOT_NAME)
        assert await rename(posts, f"web:{name}", name) == tidy_name(name)


@pytest.mark.parametrize(
    "typed",
    [
        *(
            "Guest VII",
            "guest iv",
            "Guest Ⅶ",
            "GUEST XL",
            "Guest l0",
            "Guest O",
            "Guest ⑦",
            "Гость 7",
            "ГОСТЬ-12",
            "Gast7",
        ),
        *("Invité 3", "invite 3", "ゲスト１", "访客 9", "ضيف ٧", "Ｇｕｅｓｔ　７", "Visitor 5", "Gość III"),
    ],
)
def test_names_that_read_as_a_guests_cannot_be_had(typed: str) -> None:
    with pytest.raises(ValueError, match="given out by the page"):
        tidy_name(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "Guest",
        "Guest of Honour",
        "Gastl",
        "Vi Gast",
        "C. Guest",
        "Ada VII",
        "Agent 47",
        "Гость",
        "Guestav",
        "Gast Wirt",
    ],
)
def test_names_that_are_not_stay(typed: str) -> None:
    assert tidy_name(typed) == typed


@pytest.mark.parametrize(
    ("one", "other"),
    [("Mia Cooper 10", "MIA COOPER IO"), ("MIA COOPER IO", "mia cooper 1o"), ("Lil 1", "LIL I"), ("ᴍɪᴀ ɪᴏ", "Mia 10")],
)
async def test_a_name_in_capitals_is_no_other_name(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        posts = MemoryPosts()
        await rename(posts, "web:1", first)
        with pytest.raises(ValueError, match="already"):
            await rename(posts, "web:2", second)


async def test_capitals_keep_apart_who_is_apart() -> None:
    posts = MemoryPosts()
    for number, name in enumerate(["Neil", "Nell", "Al", "Ali", "Alf", "Mia", "Mla"]):
        await rename(posts, f"web:{number}", name)


ANN = "Ann Cooper"
LIKE_ANN = ["Ann Cooper.", "A̲nn Cooper", "Ann Cooper͡", "Ann Cooper⃝", "Ann-Cooper", "Ann·Cooper", "Ann “Cooper”"]


@pytest.mark.parametrize("typed", LIKE_ANN)
async def test_marks_and_punctuation_make_no_other_name(typed: str) -> None:
    for first, second in ((ANN, typed), (typed, ANN)):
        posts = MemoryPosts()
        await rename(posts, "web:1", first)
        with pytest.raises(ValueError, match="already"):
            await rename(posts, "web:2", second)


MARKS = "\u0332\u0361\u0489\u20dd"
SIGNS = ".,-·'’\"()_!?&"


@given(st.sampled_from(["Ann Cooper", "Łukasz Żółć", "Вера Фигнер", "Νίκος", "Agent 47"]), st.data())
def test_wherever_marks_and_punctuation_stand_the_name_is_the_same(name: str, data: st.DataObject) -> None:
    typed = "".join(char + data.draw(st.text(MARKS + SIGNS, max_size=2)) for char in name)
    assert set(zip("123", keys(typed), strict=True)) & set(zip("123", keys(name), strict=True))


@given(st.sampled_from(["अनन्या", "محمّد", "שָׂרָה", "ก้อง"]), st.data())
def test_marks_that_spell_a_name_tell_it_apart(name: str, data: st.DataObject) -> None:
    marked = [index for index, char in enumerate(name) if unicodedata.category(char).startswith("M")]
    if marked:
        without = data.draw(st.sampled_from(marked))
        assert not set(keys(name)) & set(keys(name[:without] + name[without + 1 :]))


SPELLINGS = ["partyline", "PARTYLINE", "þar₮¥ʟ丨пє", "₽ᗩ®τч£¡几є", "卩卂尺ㄒㄚㄥ丨几乇", "թɅɾէУլᎥղҽ", "ᑭ₳я丅ץⱠ工Иε"]


@given(
    st.tuples(*map(st.sampled_from, zip(*SPELLINGS, strict=True))), st.sampled_from(["", "\u0332", "\u20dd", ".", " "])
)
def test_the_bots_name_is_read_in_any_mixture_of_spellings(letters: tuple[str, ...], between: str) -> None:
    assert passes_for(between.join(letters), BOT_NAME)


def test_small_capitals_are_no_way_to_be_called_like_somebody() -> None:
    assert set(keys("ᴍɪᴀ Cooper")) & set(keys("Mia Cooper"))
    assert set(keys("🅼🅸🅰")) & set(keys("Mia"))
