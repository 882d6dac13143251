"""The words of the command menu in Spanish, German, Chinese and Russian; Discord shows each person's own."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.app_commands import TranslationContextTypes, locale_str

from bots.commands.registry import COMMANDS
from bots.commands.summaries import LANGUAGES, summary

_LANGUAGES = {
    discord.Locale.spain_spanish: "es",
    discord.Locale.latin_american_spanish: "es",
    discord.Locale.german: "de",
    discord.Locale.chinese: "zh",
    discord.Locale.russian: "ru",
}
_COMMANDS = {command.summary: command for command in COMMANDS}

# By the English words, in the order of `LANGUAGES`. A description has at most 100 characters.
WORDS: dict[str, tuple[str, str, str, str]] = {
    "What it should do; leave it out to write a long one": (
        "Qué debe hacer; omítelo para escribir un texto largo",
        "Was er tun soll; ohne Angabe öffnet sich ein Feld für lange Texte",
        "它应该做什么；留空可输入长文本",
        "Что он должен делать; оставьте пустым для длинного текста",
    ),
    "Your question; leave it out to write a long one": (
        "Tu pregunta; omítela para escribir una larga",
        "Deine Frage; ohne Angabe öffnet sich ein Feld für lange Texte",
        "你的问题；留空可输入长文本",
        "Ваш вопрос; оставьте пустым для длинного текста",
    ),
    "The programming language": (
        "El lenguaje de programación",
        "Die Programmiersprache",
        "编程语言",
        "Язык программирования",
    ),
    "A picture": ("Una imagen", "Ein Bild", "图片", "Картинка"),
    "How the caption begins, or a question": (
        "Cómo empieza la descripción, o una pregunta",
        "Wie die Beschreibung beginnt, oder eine Frage",
        "描述的开头，或一个问题",
        "Начало описания или вопрос",
    ),
    "An example to try at once": (
        "Un ejemplo para probar ya",
        "Ein Beispiel, das gleich beantwortet wird",
        "立即尝试一个示例",
        "Пример, на который сразу ответят",
    ),
    "What follows the command": (
        "Lo que sigue al comando",
        "Was auf den Befehl folgt",
        "命令后的内容",
        "Что следует за командой",
    ),
    "Show your settings": (
        "Muestra tus ajustes",
        "Zeigt deine Einstellungen",
        "显示你的设置",
        "Показывает ваши настройки",
    ),
    "Bring the defaults back": (
        "Restablece los valores predeterminados",
        "Stellt die Vorgaben wieder her",
        "恢复默认设置",
        "Возвращает значения по умолчанию",
    ),
    "Settings for those who know them": (
        "Ajustes para quienes los conocen",
        "Einstellungen für Kenner",
        "高级设置",
        "Настройки для знатоков",
    ),
    "The new value": ("El valor nuevo", "Der neue Wert", "新的值", "Новое значение"),
    "What this server's admins decide": (
        "Lo que deciden los administradores del servidor",
        "Was die Admins dieses Servers bestimmen",
        "由服务器管理员决定",
        "Что решают администраторы сервера",
    ),
    "Where the bot answers on this server": (
        "Dónde responde el bot en este servidor",
        "Wo der Bot auf diesem Server antwortet",
        "机器人在此服务器的哪些频道回答",
        "Где бот отвечает на этом сервере",
    ),
    "The most that people may choose here": (
        "Lo máximo que se puede elegir aquí",
        "Was hier höchstens gewählt werden darf",
        "此处可选的最大值",
        "Наибольшее, что здесь можно выбрать",
    ),
    "What to do": ("Qué hacer", "Was zu tun ist", "操作", "Что сделать"),
    "The channel, if it is not this one": (
        "El canal, si no es este",
        "Der Kanal, wenn es nicht dieser ist",
        "频道（如果不是当前频道）",
        "Канал, если не этот",
    ),
    "Which setting": ("Qué ajuste", "Welche Einstellung", "哪项设置", "Какая настройка"),
    "The highest value that counts here, or off": (
        "El valor máximo aquí, u off",
        "Der höchste Wert, der hier gilt, oder off",
        "此处的最大值，或 off",
        "Наибольшее значение здесь или off",
    ),
    "Caption image": ("Describir imagen", "Bild beschreiben", "描述图片", "Описать картинку"),
    "Explain this code": ("Explicar este código", "Diesen Code erklären", "解释这段代码", "Объяснить этот код"),
    "Continue from here": ("Continuar desde aquí", "Von hier weitermachen", "从这里继续", "Продолжить отсюда"),
}


class Translations(app_commands.Translator):
    """For `CommandTree.set_translator`."""

    async def translate(
        self, string: locale_str, locale: discord.Locale, context: TranslationContextTypes
    ) -> str | None:
        return translated(string.message, _LANGUAGES[locale]) if locale in _LANGUAGES else None


def translated(words: str, language: str) -> str | None:
    """What a command does is the same on every platform; the other words of the menu are only Discord's."""
    if (command := _COMMANDS.get(words)) is not None:
        return summary(command, language)
    return WORDS[words][LANGUAGES.index(language)] if words in WORDS else None
