"""Clients that stand still in some phase of an exchange with the web process, on sockets of their own."""

from __future__ import annotations

import json
import os
import socket
import struct
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import httpx2

#: So little is read by the kernel for a client that reads nothing.
_RECEIVED_BYTES = 4096
_PATIENCE_SECONDS = 60
#: Of the picture: more than both kernels keep for a connection.
_PICTURE_SIDE = 2000
_MULTIPART = "Content-Type: multipart/form-data; boundary=x"
#: What each phase sends before it stands still, and what it has read before.
PHASES = (
    "silent",
    "half a head",
    "a kept connection",
    "an upload that stops",
    "an upload without length",
    "a body after 100",
    "a download that is not read",
    "an event stream",
    "a wait",
)


@dataclass(frozen=True)
class Scene:
    """A stored picture and a queued job."""

    picture_path: str
    job_path: str
    etag: str


def large_picture() -> bytes:
    """Return a PNG of noise, of 12 MB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = 1 + 3 * _PICTURE_SIDE
    data = b"".join(b"\0" + os.urandom(row - 1) for _ in range(_PICTURE_SIDE))
    header = struct.pack(">IIBBBBB", _PICTURE_SIDE, _PICTURE_SIDE, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data, 1)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def make_scene(client: httpx2.Client) -> Scene:
    """Store what slow clients ask for."""
    asset = (
        client.post("/api/v1/assets", files={"file": ("a.png", large_picture())}).raise_for_status().json()
    )
    body = {"content": asset["id"], "style": asset["id"], "reuse": False}
    job = client.post("/api/v1/jobs", json=body).raise_for_status().json()
    etag = client.get(job["urls"]["self"]).headers["ETag"]
    return Scene(asset["url"], job["urls"]["self"], etag)


class SlowClients:
    """Clients that stand still, until the end of the block."""

    def __init__(self, port: int, scene: Scene) -> None:
        self._port = port
        self._scene = scene
        self._stack = ExitStack()
        self.by_phase: dict[str, list[socket.socket]] = {phase: [] for phase in PHASES}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, phase: str) -> socket.socket:
        """Add one that stands still in this phase; it has come there when this returns."""
        line = self._stack.enter_context(socket.socket())
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_BYTES)
        line.settimeout(_PATIENCE_SECONDS)
        line.connect(("127.0.0.1", self._port))
        head, expected = self._says(phase)
        line.sendall(head)
        got = b""
        while expected not in got:
            data = line.recv(1)
            assert data, (phase, got)
            got += data
        self.by_phase[phase].append(line)
        return line

    def _says(self, phase: str) -> tuple[bytes, bytes]:
        job = self._scene.job_path
        post = ("POST /api/v1/assets", _MULTIPART)
        expecting = (*post, "Expect: 100-continue", "Content-Length: 900000")
        said, body, expected = {
            "silent": ((), b"", b""),
            "half a head": (("GET /healthz",), b"", b""),
            "a kept connection": (("GET /healthz",), b"", b'"ok"}\n'),
            "an upload that stops": ((*post, "Content-Length: 900000"), b"--x\r\n" + b"x" * 200_000, b""),
            "an upload without length": ((*post, "Transfer-Encoding: chunked"), b"5\r\n--x\r\n\r\n", b""),
            "a body after 100": (expecting, b"", b"100 Continue"),
            "a download that is not read": ((f"GET {self._scene.picture_path}",), b"", b"\r\n\r\n"),
            "an event stream": ((f"GET {job}/events",), b"", b'event: status\ndata: {"'),
            "a wait": (
                (f"GET {job}", "Prefer: wait=50", f"If-None-Match: {self._scene.etag}"), b"", b"",
            ),
        }[phase]  # fmt: skip
        if not said:
            return b"", b""
        lines = [f"{said[0]} HTTP/1.1", "Host: localhost", *said[1:]]
        head = "\r\n".join(lines).encode()
        return head + (b"" if phase == "half a head" else b"\r\n\r\n") + body, expected


def healthy(client: httpx2.Client, scene: Scene) -> None:
    """Assert that the site answers what people ask."""
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/", headers={"Accept": "text/html"}).status_code == 200
    job = client.get(scene.job_path)
    assert job.status_code == 200, job.text
    assert json.loads(job.text)["status"] == "queued"
