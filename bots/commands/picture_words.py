"""What people's words beside a picture want: its description, a caption that begins with them, or an answer. Pure.

Words that ask for nothing but the description get the caption. Only `/caption` can begin a caption, and only with
English words that begin like one (`beginning_of_caption`). All other words are answered from the caption
(docs/decisions/026).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from bots.commands.picture_vocabulary import JOINED, VOCABULARY

_LONGEST_REQUEST = 120
_LONGEST_PHRASE = 4
"""Words of a phrase in the vocabulary."""
_LONGEST_JOINED = 10
"""Letters of a word in a language that writes them without blanks between."""
_ACCENTS = re.compile("[\u0300-\u036f\u093c]")

_MOST_WORDS = 15
"""Of a caption's beginning: a captioner reads about twice as many tokens, and cuts the rest."""
_PICTURE = r"(?:picture|photo|photograph|pic|image|drawing|painting|portrait|illustration|sketch|cartoon|screenshot)"
_COUNT = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|\d{1,3}|some|several|many|both)"
_BEGINNING = re.compile(
    rf"(?:an?|the)(?: |$)|{_COUNT} (?=[a-z])"
    r"|there (?:is|are|was|were)(?: |$)"
    r"|(?:this|that|it) (?:is|was|shows)(?: (?:an?|the|one)(?: |$)|$)"
    r"|(?:these|those) are(?: (?:the|two|three|some)(?: |$)|$)"
    rf"|this {_PICTURE} (?:is|was|of|shows|depicts|contains|features|captures)(?: |$)"
    rf"|(?:in|on) (?:the|this) {_PICTURE},? (?:there|an?|the|we|you can see)(?: |$)"
    r"|(?:(?:old|vintage|blurry|beautiful|black and white|colou?r|digital|oil|aerial|close[ -]up|front|side|wide|night)"
    rf" )*(?:{_PICTURE}s?|view|close[ -]ups?|selfie|snapshot|statue|group|pair) of(?: |$)"
)
_TEXTS = (
    r"(?:poem|haiku|limerick|sonnet|song|lyrics|story|tale|joke|pun|meme|caption|title|headline|slogan|tagline|hashtag"
    r"|tweet|description|explanation|translation|transcription|transcript|review|essay|paragraph|sentence|word|fact"
    r"|idea|tip|question(?! mark)|answer|recipe|instruction|reason|prompt|detail|opinion|thought)(?:s|es)?"
    r"|stories|summary|summaries|list|analysis|text|alt text|help|info|information|context|advice|feedback"
)
_TRAITS = (
    r"age|brand|model|make|breed|species|names?|numbers?|price|cost|value|meaning|location|difference|artist|painter"
    r"|author|date|year|language|colou?rs?|type|kind|ingredients|objects|background|foreground|subject|mood|theme"
)
_WANTED = re.compile(
    rf"(?:an?|the|{_COUNT}) (?:(?!of )\w+ ){{0,2}}(?:{_TEXTS})(?: |$)"
    rf"|the (?:\w+ )?(?:{_TRAITS})(?: (?:of|in|on) .*|)$"
    rf"|(?:the|an?) (?:{_PICTURE}|scene)$|the (?:best|same|other|next|previous|rest|opposite|hell|heck|fuck)(?: |$)"
    rf"|a (?:bit|lot|little (?:more|less|bit|longer|shorter))(?: |$)|{_COUNT} (?:more|less|at|by|or)(?: |$)"
    r"|.*\b(?:you|your|please|pls|plz|thanks|thank|thx|i)\b"
)
"""What begins as a caption may, and is something that somebody wants to have or to know."""
_IN_ENGLISH = re.compile(r"[a-z0-9 ,'-]+")


def wants_description(text: str) -> bool:
    """Whether words beside a picture ask for nothing but its description, in one of 21 languages."""
    if len(text) > _LONGEST_REQUEST:
        return False
    words = _plain(text)
    # Signs alone say no more than the picture.
    return not words or any(_asks(words, language) for language in VOCABULARY)


def wants_caption(text: str) -> bool:
    """Whether words behind `/caption` ask for nothing more than the command does: `please`, `this one`."""
    return wants_description(text) or wants_description(f"caption {text}")


def beginning_of_caption(text: str) -> str:
    """The words that the caption is to begin with; "" where what stands behind `/caption` is no beginning."""
    words = " ".join(text.replace("’", "'").split()).removesuffix("…").rstrip(". ").strip()
    plain = words.casefold()
    if len(plain) > _LONGEST_REQUEST or len(text.splitlines()) > 1 or not _IN_ENGLISH.fullmatch(plain):
        return ""
    is_beginning = len(plain.split()) <= _MOST_WORDS and _BEGINNING.match(plain) and not _WANTED.match(plain)
    return words if is_beginning else ""


def _plain(text: str) -> list[str]:
    """The words in small letters, without accents and signs."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    letters = (char if unicodedata.category(char)[0] in "LMN" else " " for char in unicodedata.normalize("NFC", bare))
    return "".join(letters).split()


@cache
def _classes(language: str) -> dict[str, str]:
    """Of each word or phrase of a language, what it may be: `v`erb, `a`sking, `s`hown, `f`iller."""
    found: dict[str, str] = {}
    for kind, words in VOCABULARY[language].items():
        for word in words.split():
            phrase = " ".join(_plain(word.replace("_", " ")))
            found[phrase] = found.get(phrase, "") + kind[0]
    return found


def _asks(words: list[str], language: str) -> bool:
    """Whether all words are of the vocabulary, and together ask what is to be seen."""
    known, found, place = _classes(language), "", 0
    parts, gap, longest = (words, " ", _LONGEST_PHRASE)
    if language in JOINED:
        parts, gap, longest = list("".join(words)), "", _LONGEST_JOINED
    while place < len(parts):
        length = next((n for n in range(longest, 0, -1) if gap.join(parts[place : place + n]) in known), 0)
        if not length:
            return False
        found += known[gap.join(parts[place : place + length])]
        place += length
    return "v" in found or ("a" in found and "s" in found)
