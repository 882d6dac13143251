"""A model hub on loopback with a few repositories, one of them gated, as the `huggingface_hub` library asks it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """`files` are the repositories' contents by path, `owner/name/file`; a repository in `gated` shows none of them."""

    def __init__(self, files: Mapping[str, bytes], gated: frozenset[str] = frozenset()) -> None:
        self._files = files
        self._gated = gated

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Yields the address."""
        app = web.Application()
        app.router.add_get("/api/models/{repo:[^/]+/[^/]+}/revision/{revision}", self._info)
        app.router.add_get("/api/models/{repo:[^/]+/[^/]+}/tree/{revision}", self._tree)
        app.router.add_get("/{repo:[^/]+/[^/]+}/resolve/{revision}/{path:.+}", self._file)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    def _listed(self, request: web.Request) -> list[str]:
        repo = request.match_info["repo"] + "/"
        names = [path.removeprefix(repo) for path in self._files if path.startswith(repo)]
        if not names:
            raise web.HTTPNotFound(headers={"X-Error-Code": "RepoNotFound"})
        return names

    async def _info(self, request: web.Request) -> web.Response:
        names = self._listed(request)
        siblings = [{"rfilename": name} for name in names]
        return web.json_response({"id": request.match_info["repo"], "sha": COMMIT, "siblings": siblings})

    async def _tree(self, request: web.Request) -> web.Response:
        repo = request.match_info["repo"]
        sizes = {name: self._files[f"{repo}/{name}"] for name in self._listed(request)}
        return web.json_response(
            [{"type": "file", "path": name, "size": len(data), "oid": _tag(data)} for name, data in sizes.items()]
        )

    async def _file(self, request: web.Request) -> web.Response:
        repo, path = request.match_info["repo"], request.match_info["path"]
        if repo in self._gated:
            raise web.HTTPForbidden(headers={"X-Error-Code": "GatedRepo"})
        data = self._files.get(f"{repo}/{path}")
        if data is None:
            raise web.HTTPNotFound(headers={"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_tag(data)}"', "Accept-Ranges": "bytes"}
        return web.Response(body=data, headers=headers)


def _tag(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
