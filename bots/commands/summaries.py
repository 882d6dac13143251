"""What each command does, in the languages other than English; a platform shows it where people choose a command."""

from __future__ import annotations

from bots.commands.registry import Command

_SUMMARIES = {
    "code": {
        "es": "Escribe código en un bloque",
        "de": "Schreibt Code in einem Block",
        "zh": "用代码块编写代码",
        "ru": "Пишет код в отдельном блоке",
    },
    "ask": {
        "es": "Pregunta lo que quieras, también sobre una imagen",
        "de": "Beantwortet jede Frage, auch zu einem Bild",
        "zh": "随便提问，也可以针对图片",
        "ru": "Отвечает на любой вопрос, в том числе о картинке",
    },
    "caption": {
        "es": "Describe una imagen; el texto que sigue inicia la descripción",
        "de": "Beschreibt ein Bild; Text danach beginnt die Beschreibung",
        "zh": "描述图片；后面的文字作为描述的开头",
        "ru": "Описывает картинку; текст после команды начинает описание",
    },
    "settings": {
        "es": "Ver y cambiar tus ajustes",
        "de": "Zeigt und ändert deine Einstellungen",
        "zh": "查看和更改你的设置",
        "ru": "Показывает и меняет твои настройки",
    },
    "temperature": {
        "es": "Lo aventuradas que son las respuestas, de 0.1 a 1.0",
        "de": "Wie gewagt Antworten sind, 0.1 bis 1.0",
        "zh": "回答的随机程度，0.1 到 1.0",
        "ru": "Насколько смелы ответы, от 0.1 до 1.0",
    },
    "top_p": {
        "es": "Lo amplia que es la selección de palabras, de 0.1 a 1.0",
        "de": "Wie groß die Auswahl an Wörtern ist, 0.1 bis 1.0",
        "zh": "候选词范围的大小，0.1 到 1.0",
        "ru": "Насколько широк выбор слов, от 0.1 до 1.0",
    },
    "max_tokens": {
        "es": "Lo larga que puede ser una respuesta",
        "de": "Wie lang eine Antwort werden darf",
        "zh": "回答的最大长度",
        "ru": "Насколько длинным может быть ответ",
    },
    "preset": {
        "es": "Preciso, equilibrado o creativo",
        "de": "Genau, ausgewogen oder kreativ",
        "zh": "精确、均衡或创意",
        "ru": "Точно, взвешенно или творчески",
    },
    "thinking": {
        "es": "Mostrar, ocultar o adjuntar el razonamiento del modelo",
        "de": "Zeigt, verbirgt oder hängt die Gedanken des Modells an",
        "zh": "显示、隐藏或附上模型的思考过程",
        "ru": "Показать, скрыть или приложить рассуждения модели",
    },
    "seed": {
        "es": "La misma semilla da la misma respuesta; off la quita",
        "de": "Derselbe Startwert gibt dieselbe Antwort; off hebt ihn auf",
        "zh": "相同的种子得到相同的回答；off 取消",
        "ru": "Одно и то же число даёт тот же ответ; off отменяет",
    },
    "reset": {
        "es": "Empezar una conversación nueva",
        "de": "Beginnt ein neues Gespräch",
        "zh": "开始新的对话",
        "ru": "Начинает новый разговор",
    },
    "stop": {
        "es": "Detener lo que se está escribiendo para ti",
        "de": "Hält an, was gerade für dich geschrieben wird",
        "zh": "停止正在为你生成的内容",
        "ru": "Останавливает то, что пишется для тебя",
    },
    "regenerate": {
        "es": "Responder de nuevo a tu última pregunta",
        "de": "Beantwortet deine letzte Frage neu",
        "zh": "重新回答你的上一个问题",
        "ru": "Отвечает на последний вопрос заново",
    },
    "continue": {
        "es": "Seguir donde terminó la última respuesta",
        "de": "Schreibt weiter, wo die letzte Antwort endete",
        "zh": "从上一个回答结束处继续",
        "ru": "Продолжает с конца последнего ответа",
    },
    "examples": {
        "es": "Ideas para probar",
        "de": "Beispiele zum Ausprobieren",
        "zh": "可以试试的示例",
        "ru": "Примеры, которые можно попробовать",
    },
    "help": {
        "es": "Qué se puede hacer aquí",
        "de": "Was hier möglich ist",
        "zh": "这里能做什么",
        "ru": "Что здесь можно делать",
    },
    "privacy": {
        "es": "Qué se guarda de ti, como archivo, o borrarlo",
        "de": "Was von dir gespeichert ist, als Datei, oder es löschen",
        "zh": "保存了你的哪些数据：导出文件或删除",
        "ru": "Что о тебе хранится: файлом, или удалить",
    },
    "stats": {
        "es": "Lo que has usado, como imagen",
        "de": "Was du genutzt hast, als Bild",
        "zh": "你的使用情况（图片）",
        "ru": "Сколько ты использовал, картинкой",
    },
    "link": {
        "es": "Comparte tus ajustes entre dos plataformas",
        "de": "Gleiche Einstellungen auf zwei Plattformen",
        "zh": "在两个平台之间共享你的设置",
        "ru": "Общие настройки на двух платформах",
    },
}
LANGUAGES = ("es", "de", "zh", "ru")
"""ISO 639-1 codes."""


def summary(command: Command, language: str) -> str:
    """The command's summary in that language, in English where there is none."""
    return _SUMMARIES.get(command.name, {}).get(language, command.summary)
