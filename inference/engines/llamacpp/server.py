"""llama.cpp's server in a child process, as a library that is called."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from inference.api import Unavailable
from inference.engines.llamacpp.process import LlamaOptions
from inference.processes.worker_pool import reap

_COMMAND = (sys.executable, "-m", "inference.engines.llamacpp.process")
_SECRETS = ("PARTYLINE_", "DISCORD_", "TELEGRAM_")
Chunk = dict[str, Any]


class LlamaServer:
    """One model in a child, which ends with this process however that ends. Methods may be called in any thread."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._address = self._key = ""

    @property
    def listening_address(self) -> str:
        """Where the library's own HTTP server listens, behind the key."""
        return self._address

    def load(self, path: Path, options: LlamaOptions, key: str) -> None:
        """Start the child; return when the model is there.

        Raises:
            Unavailable: it cannot be loaded, or `close` was called meanwhile.
        """
        with self._lock:
            if self._closed:
                raise Unavailable("the engine is closing")
            # A session of its own: Ctrl-C is for this process alone.
            self._child = child = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), start_new_session=True
            )
        assert child.stdin is not None
        assert child.stdout is not None
        asked = {"path": str(path), "key": key, "options": asdict(options)}
        try:
            child.stdin.write(json.dumps(asked).encode() + b"\n")
            child.stdin.flush()
            reply = json.loads(child.stdout.readline() or "{}")
        except (OSError, ValueError):  # it has ended, or `close` has ended it
            reply = {}
        if "address" not in reply:
            child.kill()
            reap(child)
            raise Unavailable(str(reply.get("unavailable", self._why_ended(path.name, child.returncode))))
        self._address, self._key = reply["address"], key

    def handle_completions(self, body: Chunk, take: Callable[[Chunk], bool]) -> None:
        """Give the chunks of one streamed completion to `take`, one after the other, until that returns True.

        Raises:
            Unavailable: the child ended.
        """
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "Connection": "close"}
        connection = http.client.HTTPConnection(urlsplit(self._address).netloc)
        with self._worked_on():
            try:
                connection.request("POST", "/v1/completions", json.dumps(body).encode(), headers)
                with connection.getresponse() as response:
                    for chunk in _chunks(response):
                        if take(chunk):
                            return
            except (OSError, http.client.HTTPException) as error:
                raise Unavailable("the engine is closing" if self._closed else "llama.cpp has ended") from error
            finally:
                connection.close()

    def close(self) -> None:
        """End the child, whatever it does; calls that are under way raise."""
        with self._lock:
            self._closed, child = True, self._child
        if child is not None:
            child.kill()
            reap(child)

    @contextmanager
    def _worked_on(self) -> Iterator[None]:
        self._say(b"1\n")
        try:
            yield
        finally:
            self._say(b"-1\n")

    def _say(self, line: bytes) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            with self._lock:
                self._child.stdin.write(line)
                self._child.stdin.flush()
        except (OSError, ValueError):
            pass  # it has ended; whoever calls it hears of that

    def _why_ended(self, name: str, status: int) -> str:
        if self._closed:
            return "the engine is closing"
        return f"llama.cpp ended with status {status} while it loaded {name}"


def _environment() -> dict[str, str]:
    """What finds the same packages and devices, and no secret of a platform."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _chunks(response: http.client.HTTPResponse) -> Iterator[Chunk]:
    """The chunks of a stream of server-sent events, or the one error in place of a stream."""
    if response.status != http.client.OK:
        error = json.loads(response.read() or "{}").get("error")
        yield {"error": error or {"message": f"status {response.status}"}}
        return
    for line in response:
        kind, _, data = line.strip().partition(b": ")
        if data == b"[DONE]":
            return
        if kind == b"data":
            yield json.loads(data)
        elif kind == b"error":
            yield {"error": json.loads(data)}
            return
    raise ConnectionResetError  # a stream that is cut off reads as one that is over
