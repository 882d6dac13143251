"""Names that others chose, of people and of files: as one line, and as what they look like. Pure.

Two names look alike if their keys are equal: those of the skeletons of Unicode's UTS #39, section 4.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import regex

_LONGEST = 128
# Section 4 ignores these; in names they are good for nothing but to hide (variation selectors, fillers, joiners).
_IGNORABLE = regex.compile(r"\p{Default_Ignorable_Code_Point}")
# These join letters or keep them apart, and Persian and the scripts of India are misspelt without; elsewhere they hide.
_JOINERS = "\u200c\u200d"
_HIDDEN = regex.compile(
    r"(?!(?<=[\p{L}\p{M}])(?<![\p{Latin}\p{Greek}\p{Cyrillic}])[\u200c\u200d](?=\p{L}))\p{Default_Ignorable_Code_Point}"
)
# Blank, although they are symbols: the Braille pattern without dots, a note without a head, a replaced object.
_BLANK = str.maketrans(dict.fromkeys("\u2800\U0001d159\ufffc", " "))
_STACKED = regex.compile(r"(\p{M}\p{M})\p{M}+")
# Marks that make no letter of their own with theirs (José and Jose are two), where nobody spells by such marks.
_MARKS = regex.compile(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}\p{N}\p{P}\s]\p{M}*)\p{M}")
_PUNCTUATION = regex.compile(r"\p{P}")
_VISIBLE = regex.compile(r"[\p{L}\p{N}\p{So}]")
_NO_WORD = regex.compile(r"[^\p{L}\p{N}\p{So}]")
# Likeness and case together: O is 0's twin and o's capital. I is l's twin, but small i and l are two: Neil and Nell.
_TWINS = str.maketrans({"l": "1", "|": "1", "0": "o"})
# What Unicode's name of a character says of the letter that people read in it.
_CAPITAL = regex.compile(r"LATIN (?:CAPITAL )?LETTER SMALL CAPITAL ([A-Z])|NEGATIVE .* LATIN CAPITAL LETTER ([A-Z])")
_DRAWN = regex.compile(
    r"(?:REGIONAL INDICATOR SYMBOL|LATIN (?:SMALL|CAPITAL)) LETTER (?:SMALL CAPITAL )?"
    r"(?:(?:REVERSED|TURNED|INVERTED|OPEN|DOTLESS|SIDEWAYS) )*([A-Z])(?: WITH .*)?"
)
_TURNED = regex.compile(r"LATIN .*(?:TURNED|INVERTED) ([A-Z])")
# Digits and signs in place of letters, and letters that look like others upside down.
_DIGITS = str.maketrans("4@3€7+5$|!", "aaeettss11")
# Currency signs and letters of other scripts that people take for one of these, and that are in no table of Unicode's.
# They are read so in the bot's name alone: elsewhere each is a letter of its own.
_DRAWN_ALIKE = str.maketrans(
    {
        sign: letter
        for letter, signs in {
            "a": "ΛΔ∆₳卂ԹɅᗅᗩᎯคДд",
            "p": "Þþ₱₽卩尸קթƿᎮφ℗ᑭ",
            "r": "®Яя₹尺ɾԻՐᖇгГ",
            "t": "₮₸₺ㄒ丅十テեէ†Ттτ",
            "y": "¥ㄚ丫ץչվՎчЧуγ",
            "l": "₤£Ⱡㄥ乚丨լӀᒪ",
            "i": "工ㄐเᎥ¡",
            "n": "ПпИиЛлНнηΠπΝמภ几₦ղռՌᑎ",
            "e": "ЄєεΕΣΞξЭэҼҽ乇モ℮ཇع೯ՅᏋ",
        }.items()
        for sign in signs
    }
)
_FLIPPED = str.maketrans("udnbqp\u0285", "npuqbdl")
_REPEATED = regex.compile(r"(.)\1+")


def one_line(name: str, longest: int = _LONGEST) -> str:
    """The name without what could begin another line or hide in it.

    Line breaks, control and formatting characters (Unicode's category C, and the line and paragraph separators) become
    one space each, runs of spaces become one.

    Args:
        longest: in code points; what goes beyond is cut, the end of a file's name kept.
    """
    if not name.isprintable():
        name = "".join(" " if _breaks(char) else char for char in name)
    name = " ".join(name.split())
    if len(name) <= longest:
        return name
    stem, dot, ending = name.rpartition(".")
    ending = dot + ending if stem and len(ending) < 12 else ""
    return name[: longest - len(ending) - 1].rstrip() + "…" + ending


def _breaks(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] == "C" or category in ("Zl", "Zp")


def shown(name: str, longest: int) -> str:
    """The name as people may show themselves: one line of visible characters, at most so many code points.

    "" if nothing visible is left.
    """
    name = _HIDDEN.sub("", unicodedata.normalize("NFKC", name)).translate(_BLANK)
    name = "".join(" " if _breaks(char) and char not in _JOINERS else char for char in name)
    name = _STACKED.sub(r"\1", " ".join(name.split()))[:longest].rstrip(_JOINERS).strip()
    return name if _VISIBLE.search(name) else ""


def keys(name: str) -> tuple[str, str, str]:
    """Three keys; names of which one and the same is equal look alike, whatever their case.

    The first folds case before it takes the skeleton, the second afterwards: Cyrillic В looks like B, and its small
    letter like nothing Latin. The third is of the name in capitals: MIA COOPER IO is Mia Cooper 10. Punctuation
    counts for nothing, and neither do marks that make no other letter of a Latin, Greek or Cyrillic one.
    """
    name = _IGNORABLE.sub("", unicodedata.normalize("NFKC", name)).translate(_BLANK)
    name = "".join(_read(_CAPITAL, char) for char in name)
    name = _MARKS.sub("", name)
    raised = "".join(_without_punctuation(skeleton(name.upper())).split())
    return _joined(skeleton(name.casefold())), _joined(skeleton(name)), raised


def bare_keys(name: str) -> tuple[str, str]:
    """The keys without marks and punctuation, all digits ASCII (the key of 0 is "o", that of 1 "1")."""
    name = "".join(_digit(char) for char in unicodedata.normalize("NFKC", name))
    first, second, _ = map(_bare, keys(name))
    return first, second


def _digit(char: str) -> str:
    value = unicodedata.numeric(char, -1.0)
    return str(int(value)) if value >= 0 and value.is_integer() else char


def passes_for(name: str, known: str) -> bool:
    """Whether people may read a known name (ASCII letters) in this one, alone or among other words.

    This looks further than `keys`, at what is no likeness in an ordinary name: marks, spaces, punctuation and repeated
    letters count for nothing, digits and signs may stand for letters or between them, letters for their variants, and
    all of it may be upside down.
    """
    upright = unicodedata.normalize("NFKC", name)
    turned = skeleton("".join(_read(_TURNED, char) for char in upright).lower()).translate(_FLIPPED)[::-1]
    without_digits = "".join(char for char in upright if not char.isdigit())
    (wanted,) = set(_letters(known))
    return any(wanted in read for each in (upright, without_digits, turned) for read in _letters(each))


def _letters(name: str) -> tuple[str, str]:
    """The letters that are read in a name, by both of its keys; i is l, and each run of one letter is one."""
    name = unicodedata.normalize("NFKD", name).translate(_DRAWN_ALIKE).translate(_DIGITS)
    drawn = "".join(_read(_DRAWN, char) for char in _bare(name))
    first, second = (_REPEATED.sub(r"\1", _bare(key).replace("i", "1")) for key in keys(drawn)[:2])
    return first, second


def _read(form: regex.Pattern[str], char: str) -> str:
    """The letter that the character is a form of; the character itself where it is of none."""
    found = None if char.isascii() else form.fullmatch(unicodedata.name(char, ""))
    return next(filter(None, found.groups())) if found else char


def skeleton(text: str) -> str:
    """The text with each character replaced by the one that stands for all that look like it (UTS #39, section 4)."""
    prototypes = _prototypes()
    text = _IGNORABLE.sub("", unicodedata.normalize("NFD", text))
    return unicodedata.normalize("NFD", "".join(prototypes.get(char, char) for char in text))


def _joined(skeleton: str) -> str:
    return "".join(_without_punctuation(skeleton).casefold().split()).translate(_TWINS)


def _without_punctuation(skeleton: str) -> str:
    """The skeleton is taken before: some punctuation is drawn like letters. What is all punctuation stays."""
    return str(_PUNCTUATION.sub("", skeleton)) or skeleton


def _bare(name: str) -> str:
    return str(_NO_WORD.sub("", unicodedata.normalize("NFKD", _IGNORABLE.sub("", name))))


@cache
def _prototypes() -> dict[str, str]:
    """By character: what stands for its class. Reads Unicode's table of confusables, which takes 50 ms."""
    from confusable_homoglyphs.confusables import confusables_data

    parents: dict[str, str] = {}

    def root(char: str) -> str:
        while (above := parents.setdefault(char, char)) != char:
            parents[char] = parents[above] = parents.setdefault(above, above)
            char = above
        return char

    for char, others in confusables_data.items():
        for other in others:
            # The table has marks of direction around what is written from right to left.
            parents[root(char.strip(_MARK))] = root(other["c"].strip(_MARK))
    classes: dict[str, list[str]] = {}
    for char in list(parents):
        classes.setdefault(root(char), []).append(char)
    # At most one in a class is more than one character, as "rn" for "m": then it stands for them.
    chosen = {name: max(chars, key=lambda char: (len(char), -ord(char[0]))) for name, chars in classes.items()}
    return {char: chosen[root(char)] for char in parents if len(char) == 1}


_MARK = "\N{LEFT-TO-RIGHT MARK}"
