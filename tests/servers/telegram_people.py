"""People on Telegram: what they write, show, edit and press, as their apps would send it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from tests.servers.telegram_world import Chat, Message

if TYPE_CHECKING:
    from tests.servers.telegram import TelegramServer


class Person:
    """Somebody who writes to the bot and reads what it says."""

    def __init__(self, server: TelegramServer, user: dict[str, Any]) -> None:
        self.server, self.user = server, user
        self.private = server.world.chats.setdefault(user["id"], Chat(user["id"], "private", user["first_name"]))

    def says(self, text: str = "", chat: Chat | None = None, **fields: Any) -> Message:
        """Sends a message with the entities that a client adds for commands and mentions."""
        chat = chat or self.private
        content: dict[str, Any] = dict(fields)
        if text:
            content["caption" if "photo" in fields or "document" in fields else "text"] = text
            if entities := _client_entities(text):
                content["caption_entities" if "caption" in content else "entities"] = entities
        if isinstance(replied := content.pop("reply_to", None), Message):
            content["reply_to_message"] = self.server.world.view(chat, replied)
        message = Message(self.server.world.next_message_id(chat), self.user, content)
        chat.messages.append(message)
        kind = "channel_post" if chat.type == "channel" else "message"
        self.server.happen(**{kind: self.server.world.view(chat, message)})
        return message

    def says_as(self, chat: Chat, text: str, **fields: Any) -> Message:
        """What an anonymous admin says in the name of the group."""
        hidden = Person(self.server, {"id": 1087968824, "is_bot": True, "first_name": "Group"})
        return hidden.says(text, chat, sender_chat=chat.view(), **fields)

    def shows(self, picture: bytes, caption: str = "", chat: Chat | None = None, **fields: Any) -> Message:
        file_id = fields.pop("file_id", f"photo{len(self.server.world.files)}")
        self.server.world.files[file_id] = picture
        size = {"file_id": file_id, "file_unique_id": file_id, "width": 90, "height": 90, "file_size": len(picture)}
        return self.says(caption, chat, photo=[size], **fields)

    def edits(self, message: Message, text: str, chat: Chat | None = None) -> None:
        chat = chat or self.private
        is_caption = "photo" in message.content
        message.content["caption" if is_caption else "text"] = text
        message.content.pop("entities", None)
        if (entities := _client_entities(text)) and not is_caption:
            message.content["entities"] = entities
        view = self.server.world.view(chat, message) | {"edit_date": int(time.time()), "from": self.user}
        self.server.happen(edited_message=view)

    def presses(self, message: Message, label: str, chat: Chat | None = None, data: str | None = None) -> str:
        """Presses the button (or sends made-up data, as a modified client can); returns the query's id."""
        chat = chat or self.private
        query_id = f"q{len(self.server.world.toasts)}-{next(self.server.query_numbers)}"
        self.server.world.queries.add(query_id)
        self.server.happen(
            callback_query={
                "id": query_id,
                "from": self.user,
                "chat_instance": "c",
                "message": self.server.world.view(chat, message),
                "data": message.buttons[label] if data is None else data,
            }
        )
        return query_id


def _client_entities(text: str) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = []
    word = text.split(maxsplit=1)[0]
    if word.startswith("/"):
        entities.append({"type": "bot_command", "offset": 0, "length": len(word)})
    for mention in [] if word.startswith("/") else re.finditer(r"@\w+", text):
        start = len(text[: mention.start()].encode("utf-16-le")) // 2
        entities.append({"type": "mention", "offset": start, "length": len(mention[0])})
    return entities
