"""What outlives a restart: settings, conversations, deliveries and the shared channel of the page.

`database.database.open_database` opens SQLite or PostgreSQL, `sql.storage.SqlStorage` and
`memory.storage.MemoryStorage` implement `bots.ports.Storage`. This package itself imports nothing, so that who needs
only `memory` never loads SQLAlchemy.
"""
