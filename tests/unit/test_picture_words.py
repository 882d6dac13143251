"""Which words beside a picture ask for its description alone."""

import pytest

from bots.picture_words import wants_description

DESCRIPTIONS = [
    "",
    "Describe this picture.",
    "Please describe what you see",
    "describe",
    "what's in this photo",
    "What’s in the picture?",
    "what is this?",
    "What do you see?",
    "what can you see in this image",
    "Can you describe this image for me?",
    "caption this",
    "Describe it in detail please",
    "tell me about this picture",
    "tell me what you see",
    "give me a short description of this image",
    "What is happening here?",
    "what does this picture show?",
    "Beschreibe dieses Bild",
    "Beschreib mir bitte das Foto",
    "Was siehst du auf diesem Bild?",
    "Was ist das?",
    "was ist auf dem Bild zu sehen?",
    "Décris cette image",
    "Décrivez l'image s'il vous plaît",
    "Qu'est-ce que c'est ?",
    "Que vois-tu sur cette photo ?",
    "Describe esta imagen",
    "¿Qué ves en esta foto?",
    "¿Qué es esto?",
    "Descreva esta imagem",
    "O que você vê?",
    "Descrivi questa immagine",
    "Cosa vedi?",
    "Beschrijf deze foto",
    "Wat zie je?",
    "Opisz to zdjęcie",
    "Co to jest?",
    "Опиши эту картинку",
    "Что это?",
    "Что изображено на фото?",
    "Bu resmi açıkla",
    "صف هذه الصورة",
    "ما هذا؟",
    "इस तस्वीर का वर्णन करें",
    "请描述这张图片",
    "这是什么？",
    "この画像を説明してください",
    "これは何ですか",
    "이 사진을 설명해줘",
    "???",
    "👀",
]
OTHERS = [
    "a drawing of",
    "Who painted this?",
    "What colour is it?",
    "Describe this picture as a poem",
    "describe this picture in German",
    "what is the capital of France?",
    "look, my cat!",
    "is this safe to eat?",
    "How many people are there?",
    "Write a story about this",
    "translate this",
    "what is this worth?",
    "Was kostet das?",
    "das",
    "Bild",
    "tell me a joke",
    "what breed is this dog?",
    "Wie viele Hunde siehst du?",
    "describe the man on the left",
    "kannst du das lösen?",
    "cosa",
    "che",
    "什么",
    "是什么意思",
]


@pytest.mark.parametrize("text", DESCRIPTIONS)
def test_a_request_for_the_description(text: str) -> None:
    assert wants_description(text)
    assert wants_description(f"  {text.replace('W', 'w')}\n")


@pytest.mark.parametrize("text", OTHERS)
def test_anything_else_is_for_the_model(text: str) -> None:
    assert not wants_description(text)


def test_a_long_text_is_not_looked_at() -> None:
    assert not wants_description("please " * 100_000 + "describe this")
