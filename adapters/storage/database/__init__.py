"""SQLite and PostgreSQL: where a database lies, how it is opened, its threads and its version."""
