"""A receiver of webhooks beside a run: it fails now and then, is slow now and then, and forgets nothing."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from threading import Lock
from time import sleep

import httpx2
from standardwebhooks.webhooks import Webhook

from tests.support.receiver import Receiver, Reply, Told
from tests.support.waiting import wait_until

#: Of a hundred messages so many are refused when they come first, and so many are kept waiting.
_REFUSED, _SLOW = 8, 8
_SLOW_SECONDS = 0.7


@dataclass(frozen=True)
class Heard:
    """One message as it came; `is_forged`: its signature is not that of the secret."""

    id: str
    body: bytes
    type: str
    job_id: str
    version: int
    status: str
    is_forged: bool


class Hearing:
    """Listens from its `__enter__` on; `join` lets the service tell it of every job."""

    def __init__(self, *, seed: int) -> None:
        self._chance = Random(f"{seed} hearing")
        self._lock = Lock()
        self._seen: set[str] = set()
        self._receiver = Receiver(self._reply)
        self._secret = ""

    def __enter__(self) -> Hearing:
        self._receiver.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._receiver.__exit__(*exception)

    def join(self, url: str) -> None:
        """Be the default webhook of the service at an address."""

        def put() -> str:
            try:
                answer = httpx2.put(f"{url}/api/v1/webhooks/default", json={"url": self._receiver.url()})
            except httpx2.TransportError:
                return ""
            return str(answer.json().get("secret", ""))

        self._secret = wait_until(put, seconds=60, what="the webhook is made")

    def heard(self) -> list[Heard]:
        """Return all that came, in order."""
        return [self._read(told) for told in self._receiver.told]

    def _reply(self, told: Told) -> Reply:
        with self._lock:
            is_new = told.id not in self._seen
            self._seen.add(told.id)
            point = self._chance.uniform(0, 100)
        if is_new and point < _REFUSED:
            return Reply(500)
        if point > 100 - _SLOW:
            sleep(_SLOW_SECONDS)
        return Reply(204)

    def _read(self, told: Told) -> Heard:
        job = told.json["data"]
        # Signed with the service's clock, which jumps: how old it is says nothing here.
        at = datetime.fromtimestamp(int(told.headers["webhook-timestamp"]), tz=UTC)
        signature = Webhook(self._secret).sign(told.id, at, told.body.decode())
        return Heard(
            id=told.id,
            body=told.body,
            type=told.json["type"],
            job_id=job["id"],
            version=job["version"],
            status=job["status"],
            is_forged=signature not in told.headers["webhook-signature"].split()
            or len(base64.b64decode(signature.partition(",")[2])) != 32,
        )
