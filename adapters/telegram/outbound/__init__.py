"""Frames as Telegram's messages: text with entities, drafts, buttons."""
