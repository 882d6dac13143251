"""The words of the command menu in Spanish, German, Chinese and Russian; Discord shows each person's own."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.app_commands import TranslationContextTypes, locale_str

_LOCALES = {
    discord.Locale.spain_spanish: 0,
    discord.Locale.latin_american_spanish: 0,
    discord.Locale.german: 1,
    discord.Locale.chinese: 2,
    discord.Locale.russian: 3,
}

# By the English words: Spanish, German, Chinese, Russian. A description has at most 100 characters.
WORDS: dict[str, tuple[str, str, str, str]] = {
    "Write code in a fenced block": (
        "Escribe código en un bloque",
        "Schreibt Code in einem Block",
        "在代码块中编写代码",
        "Пишет код в отдельном блоке",
    ),
    "Ask anything, about a picture too": (
        "Pregunta lo que quieras, también sobre una imagen",
        "Beantwortet jede Frage, auch zu einem Bild",
        "提出任何问题，也可以附上图片",
        "Отвечает на любой вопрос, в том числе о картинке",
    ),
    "Describe a picture; text after it begins the caption": (
        "Describe una imagen; el texto inicia la descripción",
        "Beschreibt ein Bild; Text dazu beginnt die Beschreibung",
        "描述图片；附加文字作为描述的开头",
        "Описывает картинку; текст станет началом описания",
    ),
    "See and change your settings": (
        "Ver y cambiar tus ajustes",
        "Zeigt und ändert deine Einstellungen",
        "查看和更改你的设置",
        "Показывает и меняет ваши настройки",
    ),
    "Begin a new conversation": (
        "Empieza una conversación nueva",
        "Beginnt ein neues Gespräch",
        "开始新的对话",
        "Начинает новый разговор",
    ),
    "Stop what is being written for you": (
        "Detiene lo que se está escribiendo para ti",
        "Hält an, was gerade für dich geschrieben wird",
        "停止正在为你生成的内容",
        "Останавливает ответ, который вам пишется",
    ),
    "Answer your last question anew": (
        "Responde de nuevo a tu última pregunta",
        "Beantwortet deine letzte Frage neu",
        "重新回答你的上一个问题",
        "Заново отвечает на ваш последний вопрос",
    ),
    "Go on where the last answer ended": (
        "Continúa donde terminó la última respuesta",
        "Macht weiter, wo die letzte Antwort endete",
        "从上一个回答结束处继续",
        "Продолжает с конца последнего ответа",
    ),
    "Prompts to try": ("Ejemplos para probar", "Beispiele zum Ausprobieren", "可以尝试的示例", "Примеры запросов"),
    "What can be done here": (
        "Qué se puede hacer aquí",
        "Was hier möglich ist",
        "这里能做什么",
        "Что здесь можно делать",
    ),
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
    "How adventurous answers are": (
        "Qué tan atrevidas son las respuestas",
        "Wie gewagt die Antworten sind",
        "回答的随机程度",
        "Насколько смелы ответы",
    ),
    "How large the pool of words is": (
        "De cuántas palabras se elige",
        "Aus wie vielen Wörtern gewählt wird",
        "候选词的范围",
        "Из скольких слов выбирают",
    ),
    "How long an answer may get": (
        "Qué tan larga puede ser una respuesta",
        "Wie lang eine Antwort werden darf",
        "回答的最大长度",
        "Насколько длинным может быть ответ",
    ),
    "Precise, balanced or creative": (
        "Preciso, equilibrado o creativo",
        "Genau, ausgewogen oder kreativ",
        "精确、平衡或创意",
        "Точно, сбалансированно или творчески",
    ),
    "Show, hide or attach a model's reasoning": (
        "Muestra, oculta o adjunta el razonamiento",
        "Zeigt, verbirgt oder hängt die Überlegungen an",
        "显示、隐藏或附上模型的思考",
        "Показать, скрыть или приложить рассуждения",
    ),
    "The same seed gives the same answer": (
        "La misma semilla da la misma respuesta",
        "Derselbe Startwert gibt dieselbe Antwort",
        "相同的种子得到相同的回答",
        "Одно и то же число даёт тот же ответ",
    ),
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
        words = WORDS.get(string.message)
        return words[_LOCALES[locale]] if words and locale in _LOCALES else None
