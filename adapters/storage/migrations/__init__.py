"""The history of the tables. A change adds a file to `versions/` and raises `schema.HEAD`; old files never change."""
