"""A caller of the API who repeats what was not answered: the web process dies now and then."""

from __future__ import annotations

from dataclasses import dataclass
from threading import local
from time import monotonic, sleep, time
from typing import Any

import httpx2

#: Longer than a disk stays full (three times stall and lease, 120 s where these are longest), and than the
#: service is stopped while a backup of thousands of jobs is put back on a busy machine.
_PATIENCE_SECONDS = 900
_PAUSE_SECONDS = 0.15
#: The service, or its disk, is not fit for it now.
_UNAVAILABLE = {503, 507}
#: Refused for the moment; the same request may be repeated.
_PASSING = {"stale_job", "idempotency_key_in_use", "too_many_streams"}


@dataclass(frozen=True)
class Answer:
    """What was answered in the end; `unheard` tries before it ended without any answer."""

    status_code: int
    content: bytes
    data: dict[str, Any]
    at: float
    unheard: int

    @property
    def is_done(self) -> bool:
        """Whether what was asked for is done."""
        return self.status_code < 300


class Asking:
    """Requests to the API, each repeated until it is answered; safe to use from many threads."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/v1"
        self._mine = local()

    def get(self, path: str) -> Answer:
        """GET a path below the API's."""
        return self._repeat("GET", path, {}, once={})

    def post(self, path: str, *, key: str = "", once: dict[str, str] | None = None, **content: Any) -> Answer:
        """POST to a path below the API's, each try with the same key; the headers `once` with the first
        that reaches the service.

        Raises:
            TimeoutError: when it was not answered for a minute and a half.
        """
        return self._repeat("POST", path, content, key=key, once=once or {})

    def patch(self, path: str, **content: Any) -> Answer:
        """PATCH a path below the API's; asked again, it changes nothing more."""
        return self._repeat("PATCH", path, content, once={})

    def post_once(self, path: str, **content: Any) -> Answer | None:
        """POST to a path below the API's, as a caller who takes the first answer; None if there is none."""
        try:
            answer = self._client().post(self._url + path, **content)
        except httpx2.TransportError:
            return None
        return Answer(answer.status_code, answer.content, answer.json(), time(), 0)

    def download(self, path: str) -> tuple[int, bytes]:
        """GET a file below the API's path; return status and content."""
        answer = self._repeat("GET", path, {}, once={})
        return answer.status_code, answer.content

    def events(self, job_id: str) -> str:
        """Return the whole event stream of a job that has ended, from its first event."""
        path, headers = f"{self._url}/jobs/{job_id}/events", {"Last-Event-ID": "0"}
        return str(self._client().get(path, headers=headers).raise_for_status().text)

    def _repeat(
        self, method: str, path: str, content: dict[str, Any], *, key: str = "", once: dict[str, str]
    ) -> Answer:
        headers = {"Idempotency-Key": key} if key else {}
        deadline, unheard = monotonic() + _PATIENCE_SECONDS, 0
        while monotonic() < deadline:
            try:
                answer = self._client().request(
                    method, self._url + path, headers={**headers, **once}, **content
                )
                is_json = "json" in answer.headers.get("Content-Type", "")
                data = answer.json() if answer.content and is_json else {}
            except httpx2.ConnectError:
                sleep(_PAUSE_SECONDS)
                continue  # it has not heard of the request
            except httpx2.TransportError:
                unheard += 1
            else:
                if answer.status_code not in _UNAVAILABLE and data.get("code") not in _PASSING:
                    return Answer(answer.status_code, answer.content, data, time(), unheard)
            once = {}
            sleep(_PAUSE_SECONDS)
        raise TimeoutError(f"{method} {path} was not answered within {_PATIENCE_SECONDS} s")

    def _client(self) -> httpx2.Client:
        if not hasattr(self._mine, "client"):
            self._mine.client = httpx2.Client(timeout=20)
        return self._mine.client
