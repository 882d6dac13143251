"""Slash commands, menus, forms and pressed buttons."""
