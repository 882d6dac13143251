"""What people's words beside a picture want: its description, or an answer. Pure.

Only `/caption` and words after it begin a caption. Anything else that people write beside a picture is meant for
somebody who sees it: a plain request to describe it gets the caption, and all the rest is answered from the caption.
A request that is not recognised here costs little: it is answered from the caption, too.
"""

# Patterns are longer than a line may be.
# ruff: noqa: E501

from __future__ import annotations

import re
import unicodedata

_LONGEST_REQUEST = 120

_EN = (
    r"(?:(?:hey|hi|hello|ok|okay|now|just) )?(?:(?:please|pls|can you|could you|would you|will you|can u) )*",
    r"(?:(?:this|the|that|these|those|my|attached|above|following|here) )*"
    r"(?:pictures?|images?|photos?|photographs?|pics?|drawings?|paintings?|screenshots?|scene|it|them|this|that|these)",
    r"(?: (?:to|for) me)?(?: (?:briefly|shortly|in detail|in (?:a|one) sentence|in a few words))?(?: please| pls)?",
)
_REQUESTS = {
    "en": (
        rf"{_EN[0]}(?:(?:describe|caption|annotate|look at) (?:(?:to|for) me )?(?:what (?:you|u)(?: can)? see"
        rf"(?: (?:in|on) {_EN[1]})?|what(?: is|s) (?:shown |there )?(?:in|on) {_EN[1]}|{_EN[1]})"
        rf"|(?:give me |write |i want |i need )?an? (?:short |brief |detailed )?(?:description|caption) (?:of|for) {_EN[1]}"
        rf"|describe|caption){_EN[2]}",
        rf"{_EN[0]}(?:tell me )?(?:about {_EN[1]}|what(?: is|s| are|re)? (?:(?:it|this|that|these|here|there|shown|depicted"
        rf"|visible|happening|going on|(?:can |do )?(?:you|u)(?: can)? see|does {_EN[1]} show)(?: here)?"
        rf"(?: (?:in|on) {_EN[1]})?|(?:in|on) {_EN[1]})){_EN[2]}",
        rf"{_EN[0]}what (?:(?:do|can) (?:you|u) see|does {_EN[1]} show)(?: here)?(?: (?:in|on) {_EN[1]})?{_EN[2]}",
    ),
    "de": (
        r"(?:bitte )?beschreib(?:e|en sie)?(?: (?:mir|bitte|mal))*"
        r"(?: (?:das|dieses|dies|die|diese|den|es|mein)(?: (?:bild|foto|bilder|fotos|zeichnung|gemälde))?)?(?: bitte)?",
        r"(?:bitte )?(?:kannst du|können sie|könntest du)(?: (?:mir|bitte|mal))* (?:das|dieses|dies|die|diese|es)"
        r"(?: (?:bild|foto|bilder|fotos|zeichnung|gemälde))? beschreiben",
        r"(?:bitte )?beschreib(?:e|en sie)?(?: mir)?(?: bitte)?,? was du (?:hier |da )?siehst",
        r"was (?:siehst du|sehen sie|sieht man|ist|zeigt|erkennst du)(?: (?:das|dies|hier|da|zu sehen))*"
        r"(?: (?:auf|in) (?:dem|diesem|der|dieser) (?:bild|foto|zeichnung))?(?: (?:zu sehen|bild|foto))?",
    ),
    "fr": (
        r"(?:s'il (?:te|vous) plaît )?(?:décris|décrivez|décrire|peux tu décrire|pouvez vous décrire)(?: moi)?"
        r"(?: (?:cette|l'|la|ce|ces|cet) ?(?:image|photo|dessin|photos|images))?(?: s'il (?:te|vous) plaît)?",
        r"(?:qu'est ce que c'est|qu'y a t il|que vois tu|que voyez vous|qu'est ce que (?:tu vois|vous voyez)|c'est quoi)"
        r"(?: (?:sur|dans) (?:cette|l'|la) ?(?:image|photo))?",
    ),
    "es": (
        r"(?:por favor )?(?:describe|describa|describeme|descríbeme|puedes describir|podrías describir)"
        r"(?: (?:esta|la|este|el) (?:imagen|foto|fotografía|dibujo))?(?: por favor)?",
        r"qué (?:ves|hay|se ve|es esto|es|muestra)(?: (?:en )?(?:esta|la) (?:imagen|foto|fotografía))?",
    ),
    "pt": (
        r"(?:por favor )?(?:descreva|descreve|pode descrever|você pode descrever)"
        r"(?: (?:esta|essa|a|este|o) (?:imagem|foto|desenho))?(?: por favor)?",
        r"o que (?:você vê|vês|há|tem|é isso|é isto|mostra)(?: (?:nesta|nessa|na|esta|a) (?:imagem|foto))?",
    ),
    "it": (
        r"(?:per favore )?(?:descrivi|descrivimi|puoi descrivere)(?: (?:questa|l'|la|questo) ?(?:immagine|foto|disegno))?"
        r"(?: per favore)?",
        r"(?:che )?(?:cosa |che )(?:vedi|c'è|mostra|è questo|è)(?: (?:in|nella|questa)(?: questa)? (?:immagine|foto))?",
        r"(?:che )?cos'è(?: questo)?",
    ),
    "nl": (
        r"(?:kun je |alsjeblieft )?beschrijf(?: (?:deze|de|dit) (?:foto|afbeelding|plaatje|tekening))?(?: alsjeblieft)?",
        r"wat (?:zie je|is dit|staat er|is er te zien)(?: (?:op|in) (?:deze|de|dit) (?:foto|afbeelding|plaatje))?",
    ),
    "pl": (
        r"(?:proszę )?opisz(?: (?:to|ten|tę) (?:zdjęcie|obraz|obrazek))?",
        r"co (?:widzisz|to jest|jest|widać)(?: na (?:tym )?(?:zdjęciu|obrazku))?",
    ),
    "ru": (
        r"(?:пожалуйста )?опиши(?:те)?(?: (?:эту|это|мне))*(?: (?:картинку|изображение|фото|фотографию|рисунок))?(?: пожалуйста)?",
        r"что (?:это|(?:ты )?видишь|изображено|показано|здесь|тут)(?: (?:на|здесь|тут))?"
        r"(?: (?:этой |этом )?(?:картинке|изображении|фото|фотографии))?",
    ),
    "tr": (
        r"(?:lütfen )?bu (?:resmi|fotoğrafı|görseli) (?:açıkla|tarif et|betimle|anlat)(?: lütfen)?",
        r"bu (?:ne|nedir)|(?:bu )?(?:resimde|fotoğrafta) ne (?:var|görüyorsun)",
    ),
    "ar": (r"(?:من فضلك )?صف(?: لي)?(?: هذه)?(?: الصورة)?", r"ما(?:ذا)?(?: هذا| ترى| يوجد)(?: في)?(?: هذه)?(?: الصورة)?"),
    "hi": (
        r"(?:कृपया )?(?:इस )?(?:तस्वीर|चित्र|फोटो|छवि) का वर्णन (?:करें|करो|कीजिए)",
        r"(?:यह|ये|इस (?:तस्वीर|चित्र|फोटो) में) क्या है",
    ),
    "zh": (
        r"(?:请)?(?:帮我)?(?:描述|形容|说明|介绍)(?:一下)?(?:这|此)?(?:张|幅|个)?(?:图片|照片|图像|图|画)?(?:的内容)?",
        r"(?:这|这张图|这张照片|图|图片|照片|图中)(?:是|里|中|上)?(?:有)?什么",
    ),
    "ja": (r"(?:この)?(?:画像|写真|絵)を(?:説明|描写)(?:して(?:ください)?)?", r"(?:これは)?何(?:が写って(?:いますか|る)|ですか)?"),
    "ko": (
        r"(?:이 )?(?:사진|그림|이미지)(?:을|를)? ?(?:설명|묘사)해 ?(?:줘|주세요)?",
        r"(?:이게|이건|이것은) (?:뭐야|뭐예요|무엇인가요)",
    ),
}  # fmt: skip
_REQUEST = re.compile("|".join(f"(?:{pattern})" for patterns in _REQUESTS.values() for pattern in patterns))
# Apostrophes stay in French and Italian; English drops them.
_ENGLISH_APOSTROPHE = re.compile(r"\b(what|that|it)'(s|re)\b")


def wants_description(text: str) -> bool:
    """Whether words beside a picture ask for nothing but its description, in one of fifteen languages."""
    if len(text) > _LONGEST_REQUEST:
        return False
    plain = unicodedata.normalize("NFC", text).casefold().replace("’", "'")
    plain = _ENGLISH_APOSTROPHE.sub(r"\1\2", plain)
    letters = (letter if letter == "'" or unicodedata.category(letter)[0] in "LMN" else " " for letter in plain)
    plain = " ".join("".join(letters).split())
    # Signs alone say no more than the picture.
    return not plain or _REQUEST.fullmatch(plain) is not None
