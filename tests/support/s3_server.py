"""An S3 store of our own: moto's server, as a process, on loopback."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from shared.protocol import new_id
from tests.support.ports import free_port
from tests.support.waiting import wait_until

#: Who asks; moto takes anybody.
CREDENTIALS: Mapping[str, str] = MappingProxyType(
    {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "a secret", "AWS_DEFAULT_REGION": "eu-west-1"}
)
_START_SECONDS = 60


class S3Server:
    """A server, as a context; what it stores ends with it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._log = (folder / "s3.log").open("w")
        self._process: subprocess.Popen[bytes] | None = None

    def make_bucket(self) -> str:
        """Return the name of a bucket that is new and empty."""
        name = f"bucket-{new_id()}"
        self.client().create_bucket(Bucket=name)
        return name

    @cache  # noqa: B019 - there is one server
    def client(self) -> Any:
        """Return a client of the server itself, past the store."""
        import boto3  # here, since most tests need none

        return boto3.session.Session(
            CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
        ).client("s3", endpoint_url=self.endpoint)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return all keys of a bucket, hidden ones, too."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(each["Key"] for page in pages for each in page.get("Contents", ()))

    def __enter__(self) -> S3Server:
        words = ["-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        # A session of its own: Ctrl-C must not end it before the processes that use it.
        self._process = subprocess.Popen(
            [sys.executable, *words], stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )
        wait_until(self._answers, seconds=_START_SECONDS, what="moto's server answers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)  # there is nothing that it could lose
        self._process.wait()
        self._log.close()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, Path(self._log.name).read_text()
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
