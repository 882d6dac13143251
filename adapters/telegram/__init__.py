"""Telegram: updates become `Incoming`, frames become messages with entities; python-telegram-bot speaks the Bot API."""
