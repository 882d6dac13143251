"""Pictures between their upload and the message that takes them: in memory, bounded, and forgotten after a while."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from adapters.web.posts import Attachment, StoredFile
from adapters.web.previews import MEDIA_TYPE, Thumbnails
from bots.messages import Picture

MAX_PICTURE_BYTES = 20 * 1024 * 1024
MAX_PICTURES = 10
_MAX_WAITING_BYTES = 256 * 1024 * 1024
_LIFETIME_S = 900.0
TOO_MANY = f"At most {MAX_PICTURES} pictures fit into one message."


class Refused(Exception):
    """An upload is not taken; the text is a sentence for the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A picture that waits for its message; `preview` is None where the bytes are no usable picture."""

    id: str
    person: str
    picture: Picture
    preview: StoredFile | None
    arrived_at: float

    @property
    def attachment(self) -> Attachment:
        name = self.picture.name or "picture"
        return Attachment(id=self.preview.id if self.preview else "", name=name, media_type=MEDIA_TYPE)


class Uploads:
    """Everybody's waiting pictures, and those that are arriving, which take room from their first byte on.

    Args:
        thumbnails: makes the previews; somebody else closes it.
        clock: seconds, monotonic.
    """

    def __init__(self, thumbnails: Thumbnails, clock: Callable[[], float] = time.monotonic) -> None:
        self._thumbnails = thumbnails
        self._waiting: dict[str, Upload] = {}
        self._arriving: dict[str, tuple[str, bytes | bytearray]] = {}
        """By the id that each will have: whose it is, and what of it is here."""
        self._clock = clock

    async def add(self, person: str, name: str, read: Callable[[], Awaitable[bytes]]) -> Upload:
        """Keeps a picture and makes its thumbnail.

        Args:
            read: the next bytes of the picture, nothing at its end; not called any more once it is refused.

        Raises:
            Refused: it is too large, or too many wait already.
        """
        self._forget_old()
        self._check_own(person)
        upload_id = secrets.token_urlsafe(12)
        try:
            data = await self._arrived(upload_id, person, read)
            self._arriving[upload_id] = person, data
            small = await self._thumbnails.make(data)
        finally:
            del self._arriving[upload_id]
        preview = small and StoredFile(id=secrets.token_urlsafe(12), name=name, media_type=MEDIA_TYPE, data=small)
        upload = Upload(
            id=upload_id,
            person=person,
            picture=Picture(data, name),
            preview=preview or None,
            arrived_at=self._clock(),
        )
        self._waiting[upload.id] = upload
        return upload

    async def _arrived(self, upload_id: str, person: str, read: Callable[[], Awaitable[bytes]]) -> bytes:
        arriving = bytearray()
        self._arriving[upload_id] = person, arriving
        while chunk := await read():
            self._check_room(len(arriving) + len(chunk), len(chunk))
            arriving += chunk
        return bytes(arriving)

    def take(self, person: str, ids: Sequence[str]) -> list[Upload]:
        """Hands the person's pictures over, in order, and forgets them.

        Raises:
            Refused: one of them is not here (any more); all the others stay.
        """
        found = [self._waiting.get(each) for each in ids]
        if len(ids) > MAX_PICTURES:
            raise Refused(TOO_MANY)
        uploads = [each for each in found if each is not None and each.person == person]
        if len(uploads) != len(ids):
            raise Refused("A picture was lost on the way; please attach it again.")
        for each in uploads:
            self._waiting.pop(each.id, None)
        return uploads

    def drop(self, person: str, upload_id: str) -> None:
        """Forgets a picture that its owner took out of the message again."""
        upload = self._waiting.get(upload_id)
        if upload and upload.person == person:
            del self._waiting[upload_id]

    def forget(self, person: str) -> None:
        """Drops everything that this person's next message would have taken."""
        self._waiting = {key: each for key, each in self._waiting.items() if each.person != person}

    def _check_own(self, person: str) -> None:
        own = [each.person for each in self._waiting.values()] + [owner for owner, _ in self._arriving.values()]
        if own.count(person) >= 2 * MAX_PICTURES:
            raise Refused(f"At most {MAX_PICTURES} pictures fit into one message; send or remove some first.")

    def _check_room(self, size: int, more: int) -> None:
        """Whether a picture may have `size` bytes, `more` of which are not here yet."""
        if size > MAX_PICTURE_BYTES:
            raise Refused(f"This picture is larger than {MAX_PICTURE_BYTES // 1024 // 1024} MB.")
        waiting = sum(len(each.picture.data) for each in self._waiting.values())
        if waiting + sum(len(data) for _, data in self._arriving.values()) + more > _MAX_WAITING_BYTES:
            raise Refused("Too many pictures are waiting here right now; please try again in a minute.")

    def _forget_old(self) -> None:
        limit = self._clock() - _LIFETIME_S
        self._waiting = {key: each for key, each in self._waiting.items() if each.arrived_at > limit}
