"""Pictures between their upload and the message that takes them: in memory, bounded, and forgotten after a while."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from adapters.web.files.previews import MEDIA_TYPE, Thumbnails
from adapters.web.posts.posts import PostFile, StoredFile
from adapters.web.security.token_buckets import network
from bots.messages import Picture

MAX_PICTURE_BYTES = 20 * 1024 * 1024
MAX_PICTURES = 10
MAX_WAITING_BYTES = 256 * 1024 * 1024
PERSON_BYTES = 100 * 1024 * 1024
"""Of one person. Together with `ADDRESS_BYTES` nobody can take what others need."""
ADDRESS_BYTES = 160 * 1024 * 1024
"""Of all who come from one address."""
LIFETIME_S = 900.0
_OWN_FULL = "Your pictures take too much room together. Please send or remove some first."
_FULL = "Too many pictures are waiting here right now; please try again in a minute."
TOO_MANY = f"At most {MAX_PICTURES} pictures fit into one message."


class UploadRefused(Exception):
    """An upload is not taken; the text is a sentence for the person."""


class UploadLost(UploadRefused):
    """A picture is not here any more: this server was started after it was uploaded, or it waited for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A picture that waits for its message; `preview` is None where the bytes are no usable picture."""

    id: str
    person: str
    picture: Picture
    preview: StoredFile | None
    arrived_at: float
    address: str = ""

    @property
    def size(self) -> int:
        return len(self.picture.data)

    @property
    def attachment(self) -> PostFile:
        name = self.picture.name or "picture"
        return PostFile(id=self.preview.id if self.preview else "", name=name, media_type=MEDIA_TYPE)


@dataclass(slots=True)
class _Arriving:
    """A picture of which a part is here."""

    person: str
    address: str
    data: bytearray = field(default_factory=bytearray)

    @property
    def size(self) -> int:
        return len(self.data)


class Uploads:
    """Everybody's waiting pictures, and those that are arriving, which take room from their first byte on.

    Args:
        thumbnails: makes the previews; somebody else closes it.
        clock: seconds, monotonic.
    """

    def __init__(self, thumbnails: Thumbnails, clock: Callable[[], float] = time.monotonic) -> None:
        self._thumbnails = thumbnails
        self._waiting: dict[str, Upload] = {}
        self._arriving: dict[str, _Arriving] = {}
        """By the id that each will have."""
        self._clock = clock

    @property
    def bytes_held(self) -> int:
        return sum(each.size for each in self._here())

    async def add(self, person: str, name: str, read: Callable[[], Awaitable[bytes]], address: str = "") -> Upload:
        """Keeps a picture and makes its thumbnail.

        Where no room is left, the person whose pictures take most of it loses their oldest one.

        Args:
            address: where the person's request comes from.
            read: the next bytes of the picture, nothing at its end; not called any more once it is refused.

        Raises:
            Refused: it is too large, or too many wait already.
        """
        self.forget_old()
        self._check_own(person)
        upload_id = secrets.token_urlsafe(12)
        try:
            arriving = self._arriving[upload_id] = _Arriving(person, network(address))
            while chunk := await read():
                self._check_room(arriving, len(chunk))
                arriving.data += chunk
            data = bytes(arriving.data)
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
            address=arriving.address,
        )
        self._waiting[upload.id] = upload
        return upload

    def take(self, person: str, ids: Sequence[str]) -> list[Upload]:
        """Hands the person's pictures over, in order, and forgets them.

        Raises:
            Refused: there are too many; all of them stay.
            Lost: one of them is not here (any more); all the others stay.
        """
        uploads = self.found(person, ids)
        for each in uploads:
            self._waiting.pop(each.id, None)
        return uploads

    def found(self, person: str, ids: Sequence[str]) -> list[Upload]:
        """The pictures that `take` would hand over. Raises what `take` raises."""
        if len(ids) > MAX_PICTURES:
            raise UploadRefused(TOO_MANY)
        found = [self._waiting.get(each) for each in ids]
        uploads = [each for each in found if each is not None and each.person == person]
        if len(uploads) != len(ids):
            raise UploadLost("A picture was lost on the way; please attach it again.")
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
        if [each.person for each in self._here()].count(person) >= 2 * MAX_PICTURES:
            raise UploadRefused(f"At most {MAX_PICTURES} pictures fit into one message; send or remove some first.")

    def _check_room(self, arriving: _Arriving, more: int) -> None:
        """Whether so many more bytes of a picture may come. Raises Refused."""
        if len(arriving.data) + more > MAX_PICTURE_BYTES:
            raise UploadRefused(f"This picture is larger than {MAX_PICTURE_BYTES // 1024 // 1024} MB.")
        by_person, by_address = self._sizes()
        if by_person[arriving.person] + more > PERSON_BYTES:
            raise UploadRefused(_OWN_FULL)
        # Programs and pages of this machine itself have one address together, and are told apart by person.
        if by_address[arriving.address] + more > ADDRESS_BYTES and arriving.address:
            raise UploadRefused(_FULL)
        while sum(by_person.values()) + more > MAX_WAITING_BYTES:
            if not self._made_room(by_person, by_person[arriving.person] + more):
                raise UploadRefused(_FULL)
            by_person, _ = self._sizes()

    def _here(self) -> list[Upload | _Arriving]:
        return [*self._waiting.values(), *self._arriving.values()]

    def _sizes(self) -> tuple[Counter[str], Counter[str]]:
        """Bytes by person and by address."""
        by_person: Counter[str] = Counter()
        by_address: Counter[str] = Counter()
        for each in self._here():
            by_person[each.person] += each.size
            by_address[each.address] += each.size
        return by_person, by_address

    def _made_room(self, by_person: Counter[str], wanted: int) -> bool:
        """Drop the oldest waiting picture of whoever has most, if that is more than what is `wanted`."""
        person, size = by_person.most_common(1)[0]
        oldest = next((key for key, each in self._waiting.items() if each.person == person), None)
        if size <= wanted or oldest is None:
            return False
        del self._waiting[oldest]
        return True

    def forget_old(self) -> None:
        """Drop what no message took in time."""
        limit = self._clock() - LIFETIME_S
        self._waiting = {key: each for key, each in self._waiting.items() if each.arrived_at > limit}
