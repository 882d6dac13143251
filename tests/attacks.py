"""Each costly input as what a client does with a socket, in a process of its own: its time is not the service's."""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import select
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from types import TracebackType
from typing import Self

from tests import costly

KEY = "the key"
HELD_S = 0.3
POURED_S = 3.0


@dataclass(frozen=True)
class Target:
    """The addresses of the page and the service."""

    page: str
    service: str


Attack = Callable[[Target], None]


def attacks() -> Iterator[tuple[str, Attack]]:
    """All costly inputs, each as what a client with a socket does."""
    for name, data in costly.pictures():
        yield f"caption: {name}", lambda target, data=data: _caption(target, data)  # type: ignore[misc]
        yield f"upload: {name}", lambda target, data=data: _upload(target, data)  # type: ignore[misc]
    for number, (language, code) in enumerate(costly.code_blocks()):
        words = f"{language}: {code[:9]!r}"
        yield words, lambda target, number=number: _socket(target, _typed(f"code {number}"))  # type: ignore[misc]
    for name, text in costly.socket_frames():
        yield f"frame: {name}", lambda target, text=text: _socket(target, text)  # type: ignore[misc]
    for name, to, request in (*costly.bodies(KEY), *costly.heads()):
        yield name, lambda target, to=to, request=request: _raw(target, to, request)  # type: ignore[misc]
    yield "900 connections that say nothing", _silent
    yield "four uploads in chunks of one byte", partial(_uploading, b"1\r\n-\r\n" * 5000)
    yield "four uploads in chunks of nothing but extensions", partial(_uploading, b"1;a=b\r\n-\r\n" * 4000)
    yield "four sockets of frames that unpack to 2 MB", _unpacking


def _typed(text: str) -> str:
    return json.dumps({"type": "message", "client_id": text, "text": text})


def _connect(address: str) -> socket.socket:
    host, _, port = address.rstrip("/").rpartition("//")[2].rpartition(":")
    made = socket.create_connection((host, int(port)), timeout=20)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _raw(target: Target, to: str, request: bytes) -> None:
    """Sends what there is to send, and stays for a while or until the other side has gone."""
    with _connect(target.page if to == "page" else target.service) as connection:
        try:
            connection.sendall(request)
            connection.settimeout(HELD_S)
            while connection.recv(2**16):
                pass
        except OSError:  # closed by the other side, or nothing came
            pass


def _answered(address: str, request: bytes) -> None:
    with _connect(address) as connection:
        connection.sendall(request)
        connection.recv(1000)


def _caption(target: Target, data: bytes) -> None:
    body = json.dumps({"image": base64.b64encode(data).decode()}).encode()
    _answered(target.service, costly.post("/v1/captions", body, KEY))


def _upload(target: Target, data: bytes) -> None:
    head = b'--xxxx\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
    form = "Content-Type: multipart/form-data; boundary=xxxx"
    _answered(target.page, costly.post("/upload", head + data + b"\r\n--xxxx--\r\n", "", form))


def _socket(target: Target, text: str) -> None:
    data = text.encode()
    with _connect(target.page) as connection:
        connection.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        connection.recv(1000)
        size = struct.pack(">BBQ", 0x81, 0xFF, len(data))
        try:
            connection.sendall(size + bytes(4) + data)
            connection.settimeout(HELD_S)
            for _ in range(50):  # what is told to everybody, for a while
                if not connection.recv(2**16):
                    break
        except OSError:
            pass


def _silent(target: Target) -> None:
    connections = []
    for number in range(900):
        try:
            connections.append(_connect(target.page if number % 2 else target.service))
        except OSError:
            break
    time.sleep(HELD_S)
    for each in connections:
        each.close()


@cache
def _all() -> list[Attack]:
    return [attack for _, attack in attacks()]


def _uploading(chunks: bytes, target: Target) -> None:
    """Four bodies that are sent as fast as they are taken, for a while."""
    head = (
        b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    part = b'--B\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
    _pour(target, [head + f"{len(part):x}\r\n".encode() + part + b"\r\n"] * 4, chunks)


def _unpacking(target: Target) -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = (packer.compress(b"x" * 1_900_000) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    frame = struct.pack(">BBH", 0xC1, 0xFE, len(packed)) + bytes(4) + packed
    head = (
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    _pour(target, [head] * 4, frame * 16)


def _pour(target: Target, heads: list[bytes], data: bytes) -> None:
    """One connection for each head; `data` again and again behind it, as fast as it is taken."""
    connections = [_connect(target.page) for _ in heads]
    left = {}
    for connection, head in zip(connections, heads, strict=True):
        connection.sendall(head)
        connection.setblocking(False)
        left[connection] = memoryview(data)
    until = time.monotonic() + POURED_S
    while left and time.monotonic() < until:
        _, ready, _ = select.select([], list(left), [], 0.1)
        for connection in ready:
            try:
                left[connection] = left[connection][connection.send(left[connection]) :] or memoryview(data)
            except OSError:  # closed by the other side
                del left[connection]
    for connection in connections:
        connection.close()


def _attack(number: int, target: Target) -> None:
    _all()[number](target)


class Attacker:
    """A process that sends one costly input at a time."""

    def __init__(self) -> None:
        self._process = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.shutdown(cancel_futures=True)

    async def ready(self) -> None:
        """Returns when the process has made its inputs."""
        await asyncio.get_running_loop().run_in_executor(self._process, _all_made)

    async def attack(self, target: Target, number: int) -> None:
        """Returns when the input with this number (of `attacks`) was answered, refused or held long enough."""
        await asyncio.get_running_loop().run_in_executor(self._process, _attack, number, target)


def _all_made() -> int:
    return len(_all())
