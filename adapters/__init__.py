"""Everything that touches the outside: platforms, delivery, storage, the command line."""
