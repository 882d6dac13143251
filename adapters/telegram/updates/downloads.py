"""Downloads of pictures. Its library takes 0.2 s to import, which a first poll does not wait for."""

from __future__ import annotations

import aiohttp
from yarl import URL

from adapters.files.downloads import DownloadFailed
from adapters.files.downloads import download as downloaded
from adapters.telegram.updates.files import MAX_BYTES, PictureLost


async def download(address: str) -> bytes:
    """The bytes at an address whose odd characters are quoted. Raises PictureLost."""
    url = URL(address, encoded=True)
    try:
        return await downloaded(url, MAX_BYTES, lambda other: other.origin() == url.origin())
    except DownloadFailed as error:
        local = "; a server with --local needs telegram.files_dir" if "//" in url.path else ""
        raise PictureLost(f"{error}{local}") from None
    except aiohttp.ClientError as error:
        raise PictureLost(type(error).__name__) from None
