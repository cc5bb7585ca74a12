"""The client of the HTTP API: each method is one request; every failure is one of our errors."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx2

from shared.errors import Fault, InvalidSettings
from shared.status import JobKind
from web.cli.output import (
    NAMED_IDS,
    ConnectionLost,
    ServiceProblem,
    ServiceUnreachable,
    UnknownId,
    UsageRefused,
    only_one,
)
from web.cli.views import Event, JobAnswer, JobFields, JobView, Submitted, read_events

_BASE = "/api/v1"
#: A file, or the id of one that was uploaded before.
Picture = Path | str
_WHOLE_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: Shorter ones are of all jobs of weeks.
_SHORTEST_PREFIX = 4
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0


class ApiClient:
    """A client of one service; use it in a ``with``.

    Every method raises `ServiceUnreachable` when no answer comes, and `ServiceProblem` for a refusal.
    """

    def __init__(self, url: str, *, token: str = "") -> None:
        """Prepare a client, which shows a token if there is one.

        Raises:
            InvalidSettings: when `url` is no http or https URL of a service, or the token cannot be sent.
        """
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise InvalidSettings("ATELIER_TOKEN is no token: it has a space, or letters that no token has")
        parsed = _parse_url(url)
        #: As it may be shown: without a name and password.
        self.url = str(parsed.copy_with(username=None, password=None)).rstrip("/")
        try:
            self._http = httpx2.Client(
                base_url=parsed,
                headers={"Authorization": f"Bearer {token}"} if token else {},
                timeout=httpx2.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
                # A proxy from the environment cannot reach this machine's loopback.
                trust_env=not _is_loopback(parsed.host),
            )
        except (ImportError, ValueError, OSError) as error:
            raise InvalidSettings(
                "the proxy or the certificates that the environment names (HTTP_PROXY, HTTPS_PROXY, "
                f"ALL_PROXY, SSL_CERT_FILE, SSL_CERT_DIR) cannot be used: {_reason(error)}"
            ) from error

    def __enter__(self) -> ApiClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def submit(
        self,
        content: Picture,
        style: Picture,
        fields: JobFields,
        *,
        idempotency_key: str | None = None,
        wait_seconds: int = 0,
    ) -> Submitted:
        """Submit two pictures and return the new job, as it is after `wait_seconds` or as soon as it ends.

        With a key it may be repeated when the answer was lost: it creates only one job.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        if wait_seconds:
            headers["Prefer"] = f"wait={wait_seconds}"
        return _submitted(self._send_pictures(content, style, fields, headers=headers))

    def validate(self, content: Picture, style: Picture, fields: JobFields) -> dict[str, Any]:
        """Let all be checked as `submit` would, and return what the job would be carried out with.

        Raises:
            UsageRefused: for a file beside an asset: it would have to be uploaded, and that stores it.
        """
        if isinstance(content, Path) != isinstance(style, Path):
            raise UsageRefused("a dry run stores nothing: name two files, or two uploaded pictures")
        query = {"validate_only": "true"}
        return dict(self._send_pictures(content, style, fields, params=query).json())

    def upload(self, picture: Path) -> dict[str, Any]:
        """Upload a picture, and return its asset; the same bytes are the same asset."""
        with picture.open("rb") as file:
            files = {"file": (_told_name(picture), file, _media_type(picture))}
            return dict(self._send("POST", f"{_BASE}/assets", files=files).json())

    def own_access(self) -> dict[str, Any]:
        """Return for whom this client asks, and what it may do."""
        return dict(self._send("GET", f"{_BASE}/token").json())

    def limits(self) -> dict[str, Any]:
        """Return what this client's caller may use, and what is used of it."""
        return dict(self._send("GET", f"{_BASE}/limits").json())

    def asset(self, asset_id: str) -> dict[str, Any]:
        """Return what is known of an uploaded picture."""
        return dict(self._send("GET", f"{_BASE}/assets/{quote(asset_id, safe='')}").json())

    def assets(self, *, starred: bool, limit: int) -> list[dict[str, Any]]:
        """Return at most `limit` uploaded pictures, newest first; of all, or of those that are starred."""
        query = [("starred", "true")] if starred else []
        return list(self._pages("assets", query, limit=limit))

    def star(self, asset_id: str) -> dict[str, Any]:
        """Star an uploaded picture, and return its asset."""
        return dict(self._send("PUT", self.asset_path(asset_id, "star")).json())

    def unstar(self, asset_id: str) -> dict[str, Any]:
        """Take the star off an uploaded picture, and return its asset."""
        return dict(self._send("DELETE", self.asset_path(asset_id, "star")).json())

    def _pages(self, what: str, query: list[tuple[str, str]], *, limit: int) -> Iterator[dict[str, Any]]:
        """Yield at most `limit` items of a list, such as ``jobs``, of as many pages as it takes."""
        token = ""
        while limit > 0:
            size = ("page_size", str(min(100, limit)))
            page = [("page_token", token)] if token else []
            document = self._send("GET", f"{_BASE}/{what}", params=[*query, size, *page]).json()
            yield from document[what][:limit]
            limit -= len(document[what])
            token = document.get("next_page_token") or ""
            if not token:
                return

    def _send_pictures(
        self,
        content: Picture,
        style: Picture,
        fields: JobFields,
        **more: Any,  # noqa: ANN401 - httpx2's own
    ) -> httpx2.Response:
        if not isinstance(content, Path) or not isinstance(style, Path):
            # The API takes two ids, or two files.
            ids = [
                str(self.upload(picture)["id"]) if isinstance(picture, Path) else picture
                for picture in (content, style)
            ]
            body = {"content": ids[0], "style": ids[1], **fields.to_json()}
            return self._send("POST", f"{_BASE}/jobs", json=body, **more)
        with content.open("rb") as content_file, style.open("rb") as style_file:
            files = {
                "content": (_told_name(content), content_file, _media_type(content)),
                "style": (_told_name(style), style_file, _media_type(style)),
            }
            return self._send("POST", f"{_BASE}/jobs", data=fields.to_parts(), files=files, **more)

    def find_job(self, text: str) -> str:
        """Return the id of the only job whose id is, or begins with, a text.

        Raises:
            UnknownId: when there is none, or more than one.
        """
        if _WHOLE_ID.fullmatch(text):
            return text.lower()
        if len(text) < _SHORTEST_PREFIX:
            raise UnknownId(
                f"there is no job with the id '{text}'; an id may be shortened to {_SHORTEST_PREFIX} "
                "characters or more"
            )
        ids = []
        for kind in JobKind:
            query = {"id_prefix": text, "page_size": str(NAMED_IDS + 1), "kind": kind.value}
            found = self._send("GET", f"{_BASE}/jobs", params=query).json()["jobs"]
            ids += [str(job["id"]) for job in found]
        return only_one(text.lower(), ids, kind="jobs")

    def find_worker(self, text: str) -> str:
        """Return the id of the only connected worker whose id is, or begins with, a text.

        Raises:
            UnknownId: when there is more than one.
        """
        ids = [str(worker["id"]) for worker in self.workers().get("workers") or ()]
        # A name that nobody has is asked for all the same: the service knows best why not.
        is_begun = any(worker_id.startswith(text) for worker_id in ids)
        return only_one(text, ids, kind="workers") if text and is_begun else text

    def page(self, job_id: str) -> str:
        """Return the address of a job's page."""
        return f"{self.url}/jobs/{quote(job_id, safe='')}"

    def address(self, url: str) -> str:
        """Return a path of the service as an address; an address as it is."""
        return str(self._http.base_url.join(url))

    def job(self, job_id: str, *, etag: str | None = None, wait_seconds: int = 0) -> JobAnswer:
        """Return a job; with an `etag`, wait up to `wait_seconds` until the job has another one."""
        headers = {}
        if etag:
            headers["If-None-Match"] = etag
        if etag and wait_seconds:
            headers["Prefer"] = f"wait={wait_seconds}"
        response = self._send("GET", _job_path(job_id), headers=headers)
        if response.status_code == httpx2.codes.NOT_MODIFIED:
            return JobAnswer(None, etag)
        return JobAnswer(JobView(response.json()), response.headers.get("ETag"))

    def jobs(
        self,
        *,
        kind: str = JobKind.JOB.value,
        statuses: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
        created_after: str | None = None,
        batch_id: str | None = None,
        caller: str | None = None,
        limit: int = 20,
    ) -> list[JobView]:
        """Return at most `limit` jobs, newest first, that have one of these statuses and all else."""
        query = [("kind", kind), *(("status", status) for status in statuses)]
        query += [("label", f"{key}:{value}") for key, value in (labels or {}).items()]
        single = {"name": name, "created_after": created_after, "batch_id": batch_id, "caller": caller}
        query += [(key, value) for key, value in single.items() if value is not None]
        return [JobView(item) for item in self._pages("jobs", query, limit=limit)]

    def about(self, job_id: str, what: str) -> dict[str, Any]:
        """Return a list that belongs to a job: its ``checkpoints`` or its ``attempts``."""
        return dict(self._send("GET", f"{_job_path(job_id)}/{what}").json())

    def picture_path(self, job_id: str, *words: object) -> str:
        """Return the path of a picture of a job, such as ``checkpoints``, 10."""
        return "/".join([_job_path(job_id), *(quote(str(word), safe="") for word in words)])

    def asset_path(self, asset_id: str, what: str) -> str:
        """Return the path of an asset's ``content``, ``thumbnail`` or ``star``."""
        return f"{_BASE}/assets/{quote(asset_id, safe='')}/{what}"

    def estimate(self, query: Mapping[str, object]) -> dict[str, Any]:
        """Return how long a job with these options and sizes of pictures is likely to take, and to wait."""
        texts = {name: str(value) for name, value in query.items()}
        return dict(self._send("GET", f"{_BASE}/estimate", params=texts).json())

    def ask(self, job_id: str, action: str, body: Mapping[str, object] | None = None) -> JobView:
        """Request an action on a job, such as ``pause``, and return the job."""
        return JobView(self._send("POST", f"{_job_path(job_id)}/{action}", json=dict(body or {})).json())

    def change(self, job_id: str, body: Mapping[str, object]) -> JobView:
        """Change the priority, name or labels of a job that has not begun, and return the job."""
        return JobView(self._send("PATCH", _job_path(job_id), json=dict(body)).json())

    def ask_once(
        self, job_id: str, action: str, body: Mapping[str, object], *, idempotency_key: str
    ) -> Submitted:
        """Request ``fork`` or ``extend``; with its key it may be repeated when the answer was lost."""
        headers = {"Idempotency-Key": idempotency_key}
        path = f"{_job_path(job_id)}/{action}"
        return _submitted(self._send("POST", path, json=dict(body), headers=headers))

    def delete(self, job_id: str) -> None:
        """Remove a job that has ended."""
        self._send("DELETE", _job_path(job_id))

    def webhooks(self) -> list[dict[str, Any]]:
        """Return the caller's webhooks."""
        return list(self._send("GET", f"{_BASE}/webhooks").json()["webhooks"])

    def webhook(self, name: str) -> dict[str, Any]:
        """Return a webhook by its name."""
        return dict(self._send("GET", _webhook_path(name)).json())

    def put_webhook(self, name: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Make a webhook, or change it; what is returned has its ``secret`` if it is new."""
        return dict(self._send("PUT", _webhook_path(name), json=dict(body)).json())

    def delete_webhook(self, name: str) -> None:
        """Delete a webhook."""
        self._send("DELETE", _webhook_path(name))

    def rotate_secret(self, name: str) -> dict[str, Any]:
        """Make a new secret for a webhook, and return it."""
        return dict(self._send("POST", f"{_webhook_path(name)}/secrets").json())

    def end_secret(self, name: str, secret_id: str) -> None:
        """End a secret that another one has replaced."""
        self._send("DELETE", f"{_webhook_path(name)}/secrets/{quote(secret_id, safe='')}")

    def deliveries(self, asked: Mapping[str, str | None], *, limit: int) -> list[dict[str, Any]]:
        """Return at most `limit` messages to webhooks, newest first, that are as asked."""
        query = [(name, value) for name, value in asked.items() if value is not None]
        return list(self._pages("deliveries", query, limit=limit))

    def delivery(self, delivery_id: str) -> dict[str, Any]:
        """Return a message to a webhook, with its attempts."""
        return dict(self._send("GET", f"{_BASE}/deliveries/{quote(delivery_id, safe='')}").json())

    def redeliver(self, delivery_id: str) -> dict[str, Any]:
        """Let a message be sent again, and return it."""
        path = f"{_BASE}/deliveries/{quote(delivery_id, safe='')}/redeliver"
        return dict(self._send("POST", path).json())

    def share(self, job_id: str, of: str, *, expires_in_seconds: int) -> dict[str, Any]:
        """Make a link to a job, its ``page`` or its ``output``, and return it."""
        body = {"of": of, "expires_in_seconds": expires_in_seconds}
        return dict(self._send("POST", f"{_job_path(job_id)}/shares", json=body).json())

    def unshare(self, job_id: str) -> None:
        """Revoke all links to a job."""
        self._send("DELETE", f"{_job_path(job_id)}/shares")

    def workers(self) -> dict[str, Any]:
        """Return the workers that are connected, as the service lists them."""
        return dict(self._send("GET", f"{_BASE}/workers").json())

    def drain(self, worker_id: str) -> dict[str, Any]:
        """Ask a worker to release its job and end; return the worker."""
        return dict(self._send("POST", f"{_BASE}/workers/{quote(worker_id, safe='')}/drain").json())

    def queue(self) -> dict[str, Any]:
        """Return the state of the queue: how many jobs wait, and for how long."""
        return dict(self._send("GET", f"{_BASE}/queue").json())

    def download(self, url: str) -> Iterator[bytes]:
        """Yield a file's bytes in pieces."""
        with _transport_errors(self.url), self._http.stream("GET", self.address(url)) as response:
            if not response.is_success:
                response.read()
                raise _problem(response)
            yield from response.iter_bytes()

    def events(self, job_id: str, after: int) -> Iterator[Event]:
        """Yield what becomes of a job: first what has after event `after`, then the rest as it happens.

        It ends when the job has ended, or after minutes: whoever wants more comes back with the last number.
        """
        headers = {"Last-Event-ID": str(after)}
        path = f"{_job_path(job_id)}/events"
        with _transport_errors(self.url), self._http.stream("GET", path, headers=headers) as response:
            if not response.is_success:
                response.read()
                raise _problem(response)
            yield from read_events(response.iter_lines())

    def readiness(self) -> dict[str, Any]:
        """Return how each part of the service is; also of one that is not ready."""
        with _transport_errors(self.url):
            response = self._http.get("/readyz")
        if response.status_code not in (httpx2.codes.OK, httpx2.codes.SERVICE_UNAVAILABLE):
            raise _problem(response)
        try:
            return dict(response.json())
        except ValueError:
            raise _problem(response) from None

    def is_ready(self) -> bool:
        """Whether all parts of the service work; False also while nothing answers."""
        try:
            return self._http.get("/readyz").is_success
        except httpx2.TransportError:
            return False

    def _send(self, method: str, path: str, **arguments: Any) -> httpx2.Response:  # noqa: ANN401 - httpx2's own
        with _transport_errors(self.url):
            response = self._http.request(method, path, **arguments)
        if not response.is_success and response.status_code != httpx2.codes.NOT_MODIFIED:
            raise _problem(response)
        return response


def _submitted(response: httpx2.Response) -> Submitted:
    return Submitted(JobView(response.json()), response.headers.get("Idempotency-Replayed") == "true")


@contextmanager
def _transport_errors(url: str) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        raise UsageRefused(
            f"what was given holds bytes that are no text: {error.object[:100]!r}; write it in UTF-8"
        ) from error
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.InvalidURL, UnicodeError) as error:
        raise ServiceUnreachable(f"the service at {url} cannot be reached: {_reason(error)}") from error
    except httpx2.TransportError as error:
        raise ConnectionLost(f"the connection to the service at {url} was lost: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _problem(response: httpx2.Response) -> ServiceProblem:
    """Return the error in a ``problem+json`` body, or a plain one for any other body."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    title = str(body.get("title") or response.reason_phrase or f"HTTP {response.status_code}")
    faults = tuple(
        Fault(str(item.get("pointer", "")), str(item.get("code", "")), str(item.get("detail", "")))
        for item in body.get("errors") or []
        if isinstance(item, dict)
    )
    detail = str(body.get("detail") or f"the service answered {response.status_code} {title}")
    return ServiceProblem(
        detail,
        status=response.status_code,
        code=str(body.get("code") or "http_error"),
        title=title,
        suggestion=body.get("suggestion"),
        faults=faults,
    )


def _job_path(job_id: str) -> str:
    # Fully quoted: an id with a slash in it is an unknown job, not another path.
    return f"{_BASE}/jobs/{quote(job_id, safe='')}"


def _webhook_path(name: str) -> str:
    return f"{_BASE}/webhooks/{quote(name, safe='')}"


def _told_name(path: Path) -> str:
    """Return a file's name as text: bytes that are none are replaced."""
    return os.fsencode(path.name).decode(errors="replace")


def _media_type(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _parse_url(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
        is_one = parsed.scheme in ("http", "https") and bool(parsed.host) and not parsed.query
        is_one = is_one and not parsed.fragment and 0 < (parsed.port or 1) < 65536
    except (httpx2.InvalidURL, ValueError):
        is_one = False
    if not is_one:
        raise InvalidSettings(f"'{url}' is not the URL of a service, such as http://127.0.0.1:8000")
    return parsed


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
