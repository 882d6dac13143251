"""The tables, the same on SQLite and on PostgreSQL; `migrations/` creates them, a test compares the two.

All ids are text: platforms have 64-bit numbers, and several platforms share one table.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    false,
    literal_column,
)

from adapters.storage.sql.text import AnyText, Texts

metadata = MetaData()

# `position` is the order of arrival, which clocks do not always tell.
inbox = Table(
    "inbox",
    metadata,
    Column("account", AnyText, primary_key=True),
    Column("id", AnyText, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("chat", AnyText, nullable=False),
    Column("payload", AnyText, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("answered", Boolean, nullable=False),
    Column("process", AnyText, nullable=False),
    Column("person", AnyText, nullable=False),
    Index("inbox_by_state", "account", "answered", "position"),
)

# The text so far is the turn `answer_id`.
replies = Table(
    "replies",
    metadata,
    Column("chat", AnyText, primary_key=True),
    Column("event_id", AnyText, primary_key=True),
    Column("answer_id", AnyText, nullable=False),
    Column("person", AnyText, nullable=False),
    Column("state", AnyText, nullable=False),
    Column("question_id", AnyText),
    Column("request", AnyText, nullable=False),
    Column("ending", AnyText, nullable=False),
    Column("shown", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("process", AnyText, nullable=False),
    Index("replies_by_answer", "chat", "answer_id"),
)

# Who lives. A `process` in other tables that is not here is dead, and what it had is anybody's.
processes = Table(
    "processes",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("beat", BigInteger, nullable=False),
)

preferences = Table(
    "preferences",
    metadata,
    Column("person", AnyText, primary_key=True),
    Column("name", AnyText, primary_key=True),
    Column("value", AnyText, nullable=False),
)

# A parent is not a foreign key: what a person erases, or what grew too old, may leave younger turns behind.
turns = Table(
    "turns",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("chat", AnyText, nullable=False),
    Column("person", AnyText, nullable=False),
    Column("role", AnyText, nullable=False),
    Column("text", AnyText, nullable=False),
    Column("parent_id", AnyText),
    Column("prompt", AnyText, nullable=False),
    Column("thinking", AnyText, nullable=False),
    Column("captions", Texts, nullable=False),
    Column("state", AnyText, nullable=False),
    Column("reason", AnyText),
    Column("created_at", Double, nullable=False),
    Column("hidden", Boolean, nullable=False, server_default=false()),
    Index("turns_by_parent", "parent_id"),
)

heads = Table(
    "heads",
    metadata,
    Column("chat", AnyText, primary_key=True),
    Column("person", AnyText, primary_key=True),
    Column("turn_id", AnyText, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("chat", AnyText, primary_key=True),
    Column("message_id", AnyText, primary_key=True),
    Column("answer_id", AnyText, nullable=False),
    Column("position", Integer, nullable=False),
    Index("deliveries_by_answer", "chat", "answer_id", "position", unique=True),
)

# The page's own channel. `document` is the whole post; the other columns are what is asked for. A nonce and an event
# make at most one post; those without are NULL, which is unique to no one. A process of an older program inserts
# without a revision.
posts = Table(
    "posts",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("nonce", AnyText),
    Column("event_id", AnyText),
    Column("revision", BigInteger, nullable=False, server_default="0"),
    Column("document", AnyText, nullable=False),
    Index("posts_by_position", "position", unique=True),
    Index("posts_by_nonce", "nonce", unique=True),
    Index("posts_by_event", "event_id", unique=True),
)

# A file is there before its post is, so there is no foreign key.
files = Table(
    "files",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("media_type", AnyText, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# `folded` and `skeleton` are what the name looks like (`bots.names.keys`): nobody can be mistaken for somebody else. A
# process of an older program inserts without the second, and without when the person was last seen.
names = Table(
    "names",
    metadata,
    Column("person", AnyText, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("folded", AnyText, nullable=False),
    Column("skeleton", AnyText),
    Column("raised", AnyText),
    Column("seen_at", Double),
    Index("names_by_folded", "folded", unique=True),
    Index("names_by_skeleton", "skeleton", unique=True),
    Index("names_by_raised", "raised", unique=True),
    Index("names_by_age", "seen_at"),
)

# What signs the identities of the page's guests; a program that restores a backup knows them by it.
page_secrets = Table(
    "page_secrets",
    metadata,
    Column("name", AnyText, primary_key=True),
    Column("value", AnyText, nullable=False),
)

# What retention and erasing look for.
Index("turns_by_age", turns.c.created_at)
Index("replies_by_age", replies.c.created_at)
Index("turns_by_person", turns.c.person)
Index("replies_by_person", replies.c.person)
Index("heads_by_person", heads.c.person)
Index("heads_by_turn", heads.c.turn_id)
Index("inbox_by_age", inbox.c.received_at)
# Of answered events nobody is known, so the index holds those alone that wait; who looks there must say so, too.
WAITS = inbox.c.person != literal_column("''")
Index("inbox_by_person", inbox.c.person, postgresql_where=WAITS, sqlite_where=WAITS)

# A day is a date in UTC, as text.
usage = Table(
    "usage",
    metadata,
    Column("person", AnyText, primary_key=True),
    Column("day", AnyText, primary_key=True),
    Column("answers", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("captions", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Index("usage_by_day", "day"),
)

# Times of answers are kept as counts in buckets: a busy day takes no more room than a quiet one.
histograms = Table(
    "histograms",
    metadata,
    Column("person", AnyText, primary_key=True),
    Column("day", AnyText, primary_key=True),
    Column("kind", AnyText, primary_key=True),
    Column("bucket", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Index("histograms_by_day", "day"),
)

# What people who erased themselves had used on a day counts on for their quotas until the day ends. Who they are cannot
# be told without the day's key, and both go when the day is over.
quota_keys = Table(
    "quota_keys",
    metadata,
    Column("day", AnyText, primary_key=True),
    Column("key", AnyText, nullable=False),
)
quota_usage = Table(
    "quota_usage",
    metadata,
    Column("digest", AnyText, primary_key=True),
    Column("day", AnyText, primary_key=True),
    Column("tokens", BigInteger, nullable=False),
    Column("captions", BigInteger, nullable=False),
)

# `profile` is the id under which the settings of all linked ids are; that id has a row here too. `shares_data`: this id
# lets the others that do so as well export and erase what is kept of it.
links = Table(
    "links",
    metadata,
    Column("person", AnyText, primary_key=True),
    Column("profile", AnyText, nullable=False),
    Column("shares_data", Boolean, nullable=False, server_default=false()),
    Index("links_by_profile", "profile"),
)

# `other` has agreed to be linked to `person`, whose answer is waited for.
link_requests = Table(
    "link_requests",
    metadata,
    Column("person", AnyText, primary_key=True),
    Column("other", AnyText, nullable=False),
    Column("expires_at", Double, nullable=False),
)

# What `person` has not been told yet: that their account and `other` were linked or unlinked.
link_news = Table(
    "link_news",
    metadata,
    Column("person", AnyText, primary_key=True),
    Column("other", AnyText, primary_key=True),
    Column("what", AnyText, nullable=False),
)

# Who reads the database learns no code from it.
link_codes = Table(
    "link_codes",
    metadata,
    Column("digest", AnyText, primary_key=True),
    Column("person", AnyText, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("link_codes_by_person", "person", unique=True),
)
