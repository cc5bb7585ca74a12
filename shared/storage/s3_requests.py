"""How a bucket is asked: the client of a process, what its errors mean, and the reader of a large object."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from shared.errors import ArtifactMissing, StorageUnavailable

_TRIES = 4
#: How often the bytes of an answer are asked for that breaks off.
BODY_TRIES = 3
#: Of threads that ask at once: as many as web has by default.
_CONNECTIONS = 64
#: Of a process: mostly there is one store, with two addresses at most.
_MOST_CLIENTS = 8
_making = Lock()
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
#: What is raised where the bytes of an answer break off, or are not those that were stored.
BROKEN_BODY = (FlexibleChecksumError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError)


@dataclass(frozen=True)
class S3Access:
    """How the store is reached; who asks is found by boto3's own chain: variables, files, the machine's role.

    An empty `endpoint` is that of Amazon, an empty `region` boto3's own; `public_endpoint` is where clients
    find the store, if that is another address. A request may take `timeout_seconds` to connect, as long for
    each piece of the answer, and is tried four times.
    """

    endpoint: str = ""
    public_endpoint: str = ""
    region: str = ""
    timeout_seconds: float = 10.0


def client_of(access: S3Access, endpoint: str) -> Any:  # noqa: ANN401 - boto3 makes its classes as it runs
    """Return the client of this process for an endpoint; an empty one is that of Amazon."""
    with _making:
        return _make_client(access, endpoint, process=os.getpid())


@lru_cache(_MOST_CLIENTS)
def _make_client(access: S3Access, endpoint: str, *, process: int) -> Any:  # noqa: ANN401, ARG001
    """Return the client of a process: it takes half a second to make, and all threads may use it.

    Connections must not be shared with a parent, so each process has its own.
    """
    # At the level debug it writes down what requests are signed with.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    session = boto3.session.Session()
    return session.client(
        "s3",
        endpoint_url=endpoint or None,
        # A store of one's own mostly has no regions, and signatures name one.
        region_name=access.region or session.region_name or "us-east-1",
        config=Config(
            connect_timeout=access.timeout_seconds,
            read_timeout=access.timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            max_pool_connections=_CONNECTIONS,
            signature_version="s3v4",
            # Names of hosts for each bucket are what Amazon has.
            s3={"addressing_style": "path" if endpoint else "auto"},
        ),
    )


@contextmanager
def storage_errors(key: str, *, writes: bool = False) -> Iterator[None]:
    """Tell of what goes wrong inside the block; `writes`: what it is about need not have been there."""
    try:
        yield
    except ClientError as error:
        if is_missing(error) and not writes:
            raise ArtifactMissing(f"{key} is not in the storage") from error
        told = error.response.get("Error", {})
        words = " ".join(str(told[name]) for name in ("Code", "Message") if told.get(name))
        raise StorageUnavailable(f"storage failed at {key}: {words or error}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"storage failed at {key}: {error}") from error


def is_missing(error: ClientError) -> bool:
    """Whether an answer says that there is no such object."""
    # A bucket that is not there has another code, but for HEAD, whose answers have no body.
    return str(error.response.get("Error", {}).get("Code")) in _MISSING


def status_of(error: ClientError) -> int:
    """Return the HTTP status of an answer; 0 where there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


class ObjectReader(io.RawIOBase):
    """A reader of a large object; a stream that breaks off is begun again where it was."""

    def __init__(self, fetch: Callable[[int], Any], key: str, size_bytes: int, body: Any) -> None:  # noqa: ANN401
        """`body` is the stream from the beginning on, `fetch` begins one elsewhere."""
        self._fetch, self._key, self._size_bytes = fetch, key, size_bytes
        self._body, self._body_at = body, 0
        self._at = 0

    def readable(self) -> bool:
        """See `io.RawIOBase`, as all that follows."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Ask for nothing yet: who seeks to the end mostly wants to know the size."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - typeshed's buffer
        """Read on; raise `StorageUnavailable` when the store fails."""
        most = min(len(buffer), self._size_bytes - self._at)
        if most <= 0:
            return 0
        with storage_errors(self._key):
            data = self._next(most)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """End the stream, too."""
        self._drop()
        super().close()

    def _next(self, most: int) -> bytes:
        if self._body_at != self._at:
            self._drop()
        for tries_left in reversed(range(BODY_TRIES)):
            try:
                if self._body is None:
                    self._body, self._body_at = self._fetch(self._at), self._at
                data = bytes(self._body.read(most))
            except BROKEN_BODY:
                self._drop()
                if not tries_left:
                    raise
            else:
                self._body_at += len(data)
                if data:
                    return data
                self._drop()
        raise StorageUnavailable(
            f"storage failed at {self._key}: it ends before its {self._size_bytes} bytes"
        )

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
