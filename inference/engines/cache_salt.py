"""Prefix caches that tell nobody what others have asked.

An engine that has read a prompt answers the same one sooner. Where that holds for everybody, whoever repeats the words
of somebody else learns from the time that these were asked. So what is cached after the head of the template, which all
prompts share, is for its owner alone.
"""

from __future__ import annotations

import hmac
import secrets
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

_KEY = secrets.token_bytes(32)
"""Of this process: a salt tells no server who it stands for, and cannot be guessed."""
_BLOCK = 8
_MOST_BLOCKS = 200_000


def cache_salt(owner: str) -> bytes:
    """Return 16 bytes that stand for the owner as long as the process lives."""
    return hmac.digest(_KEY, owner.encode("utf-8", "surrogatepass"), "sha256")[:16]


def salted(ids: Sequence[int], head: int, salt: bytes) -> list[int]:
    """Return the token ids as a cache that hashes them is to see them: after the head, different for each owner.

    Two ids are changed by 31 bits each. What follows is hashed together with them.
    """
    changed = list(ids)
    for at, start in ((head, 0), (head + 1, 4)):
        if at < len(changed):
            changed[at] ^= int.from_bytes(salt[start : start + 4], "little") >> 1
    return changed


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The prompt of one request.

    Args:
        may_reuse: nothing but what this owner has asked, or the head, can be found in a cache for it.
        own: so many ids from the start are the head or were asked by this owner, in whole blocks.
    """

    owner: bytes
    blocks: Sequence[int]
    may_reuse: bool
    own: int
    _known: KnownPrefixes = field(repr=False)

    def read(self) -> None:
        """The engine has read the prompt, so it is in the cache by this owner's own doing."""
        self._known.note(self, read=True)


class KnownPrefixes:
    """Who has asked what, by digests, for engines whose cache cannot be salted but passed by.

    Args:
        block: so many tokens (or bytes) are compared at once.
        most: blocks that are remembered; those that were not seen for longest are forgotten.
    """

    def __init__(self, block: int = _BLOCK, most: int = _MOST_BLOCKS) -> None:
        self._block, self._most = block, most
        self._owners: OrderedDict[int, dict[bytes, bool]] = OrderedDict()
        """By block, whose prompts have it, and whether one of them was read. Until then it may be in a cache or not."""

    def of(self, owner: str, ids: Sequence[int], head: int = 0) -> Prefix:
        """Take note of a request's prompt, whose first `head` ids all prompts share."""
        name = cache_salt(owner)[:8]
        blocks = list(self._digests(ids, head))
        mine = others = 0
        for number, block in enumerate(blocks, 1):
            who = self._owners.get(block)
            if who is None:
                break
            mine = number if who.get(name) and mine == number - 1 else mine
            others = number if who.keys() - {name} and others == number - 1 else others
        prefix = Prefix(name, blocks, others <= mine, min(head, len(ids)) + mine * self._block, self)
        self.note(prefix, read=False)
        return prefix

    def note(self, prefix: Prefix, *, read: bool) -> None:
        for block in prefix.blocks:
            who = self._owners.setdefault(block, {})
            who[prefix.owner] = read or who.get(prefix.owner, False)
            self._owners.move_to_end(block)
        while len(self._owners) > self._most:
            self._owners.popitem(last=False)

    def _digests(self, ids: Sequence[int], head: int) -> list[int]:
        """One number for each whole block, which stands for all ids before it, too."""
        digest, found = blake2b(key=_KEY, digest_size=8), []
        for start in range(head, len(ids) - self._block + 1, self._block):
            digest.update(array("q", list(ids[start : start + self._block])).tobytes())
            found.append(int.from_bytes(digest.digest(), "little"))
        return found
