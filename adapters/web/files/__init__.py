"""Pictures, code and fonts of the page: uploads, previews, colours."""
