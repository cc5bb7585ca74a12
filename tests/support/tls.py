"""A server with TLS before a real Redis, which takes none itself, and certificates for it."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
_PIECE_BYTES = 65_536


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    file: Path
    key: Path


def make_authority(folder: Path, name: str) -> Certificate:
    """Return a new authority of this name, which signs certificates."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    extensions = ["-addext", "keyUsage=critical,keyCertSign"]
    _openssl("req", "-x509", *_KEY, "-subj", f"/CN={name}", *extensions, *_out(made))
    return made


def make_certificate(folder: Path, name: str, *, authority: Certificate, host: str) -> Certificate:
    """Return a certificate for a host, such as ``DNS:localhost``, that an authority has signed."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text(
        f"subjectAltName={host}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
        "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    _openssl("req", "-new", *_KEY[:-2], "-subj", f"/CN={name}", "-keyout", made.key, "-out", request)
    signed = ["-CA", authority.file, "-CAkey", authority.key, "-CAcreateserial", "-days", "2"]
    _openssl("x509", "-req", "-in", request, *signed, "-extfile", extensions, "-out", made.file)
    return made


def _out(made: Certificate) -> list[object]:
    return ["-keyout", made.key, "-out", made.file]


def _openssl(*words: object) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class TlsServer:
    """Takes connections with TLS on a free port of loopback, and passes them on; use it in a ``with``.

    `heard` is what clients sent once they took it for the right server.
    """

    def __init__(self, certificate: Certificate, *, upstream_port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.file, certificate.key)
        self._upstream_port = upstream_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.heard = b""

    def __enter__(self) -> TlsServer:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(30)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self._run(self._serve, plain)

    def _serve(self, plain: socket.socket) -> None:
        self._sockets.append(plain)
        try:
            client = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            return  # who does not trust us leaves
        server = socket.create_connection(("127.0.0.1", self._upstream_port))
        self._sockets += [client, server]
        self._run(self._pump, server, client, False)
        self._pump(client, server, True)

    def _pump(self, source: socket.socket, target: socket.socket, is_heard: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE_BYTES):
                if is_heard:
                    self.heard += data
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _run(self, act: object, *words: object) -> None:
        thread = threading.Thread(target=act, args=words, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
