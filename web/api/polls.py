"""Polls of a job answered on a short way: what the view would answer, without the app around it.

A service is polled more often than it is asked for everything else, and the way through the app costs ten
times what is looked up at its end. So a plain poll is recognised before the app sees it. Whatever is not
plain (a query, a wait, another condition than `If-None-Match`, a host that is refused) takes the usual way;
and so does what goes wrong, so that the app says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn

from flask import Flask, Response
from werkzeug.http import quote_etag

from shared.errors import DatabaseUnavailable
from web.access.gate import require
from web.access.tokens import Access, Scope
from web.address import WsgiApp
from web.api import API_PATH
from web.api.conditional import is_known
from web.api.http import JSON_TYPE, NO_CACHE
from web.api.rendered_jobs import (
    JobKey,
    RenderedJob,
    find_rendered,
    is_kept_live,
    key_of,
    look_together,
    read_rendered,
)
from web.later import INSTEAD_KEY, WouldLook, WouldWait
from web.security import QUOTA_KEY, begin_request, end_request, is_own_host
from web.services import Services, services_of

_PATH = re.compile(re.escape(API_PATH) + r"/jobs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_METHODS = ("GET", "HEAD")
#: What makes a request one that has to be looked at more closely, even when it is empty.
_NOT_PLAIN = ("HTTP_PREFER", "HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "CONTENT_LENGTH", INSTEAD_KEY)
#: As the compression says it of every answer.
_VARY = ("Vary", "Accept-Encoding")
_StartResponse = Callable[..., Any]


class Polls:
    """The short way before the WSGI app of an app; `hosts` are the names it may be asked by."""

    def __init__(self, app: Flask, inner: WsgiApp, *, hosts: Collection[str]) -> None:
        self._app, self._inner, self._hosts = app, inner, hosts

    def __call__(self, environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        job_id = self._polled(environ)
        if job_id is None:
            return self._inner(environ, start_response)
        begin_request(environ)
        services = services_of(self._app)
        try:
            access = services.gate.identify(environ)
            environ[QUOTA_KEY] = services.rates.require(access)
            require(access, Scope.READ)
            access = services.gate.as_owner(access, job_id=job_id, asset_id=None)
            job = read_rendered(services, job_id, caller=access.caller)
        except Exception as error:  # noqa: BLE001 - the app answers it
            environ[INSTEAD_KEY] = _raiser(error)
            return self._inner(environ, start_response)
        return _answer(job, environ, start_response)

    def answer_at_once(self, environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        """Answer a poll if that takes some microseconds and waits for nobody.

        Raises:
            WouldLook: for a poll of a job with a worker, of which Redis is to be asked.
            WouldWait: for any other request, of which nothing was logged.
        """
        job_id = self._polled(environ)
        if job_id is None:
            raise WouldWait
        services = services_of(self._app)
        access = services.gate.identify_at_once(environ)
        if access is None or not access.allows(Scope.READ):
            raise WouldWait  # and is told why
        if services.rates.is_used_up(access):
            raise WouldWait  # as above
        key = key_of(job_id, caller=access.caller)
        if is_kept_live(services, key):
            begin_request(environ)
            raise WouldLook(self._look, key, partial(_give, services, access))
        try:
            job = find_rendered(services, job_id, caller=access.caller)
        except DatabaseUnavailable as error:
            raise WouldWait from error  # and is told why
        if job is None:
            raise WouldWait
        begin_request(environ)
        return _give(services, access, job)(environ, start_response)

    def _look(self, keys: Collection[JobKey]) -> Mapping[JobKey, RenderedJob]:
        return look_together(services_of(self._app), keys)

    def _polled(self, environ: Mapping[str, Any]) -> str | None:
        """Return the id of the job that a plain poll asks for; None for any other request."""
        found = _PATH.fullmatch(environ["PATH_INFO"])
        is_plain = (
            found is not None
            and environ["REQUEST_METHOD"] in _METHODS
            and not environ.get("QUERY_STRING")
            and not any(name in environ for name in _NOT_PLAIN)
            and is_own_host(environ.get("HTTP_HOST", ""), self._hosts)
        )
        return found[1] if found is not None and is_plain else None


def _give(services: Services, access: Access, job: RenderedJob) -> WsgiApp:
    """Return what answers a poll with a job, and counts it: only now it takes no other way."""

    def answer(environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        environ[QUOTA_KEY] = services.rates.count(access)
        return _answer(job, environ, start_response)

    return answer


def _answer(job: RenderedJob, environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
    etag = quote_etag(job.etag)
    headers = [("Cache-Control", NO_CACHE), ("ETag", etag), _VARY]
    if is_known(environ, etag, None):
        start_response("304 NOT MODIFIED", headers + end_request(environ, JSON_TYPE, 304))
        return []
    headers += [("Content-Type", JSON_TYPE), ("Content-Length", str(len(job.content)))]
    start_response("200 OK", headers + end_request(environ, JSON_TYPE, 200))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [job.content]


def _raiser(error: Exception) -> Callable[[], Response]:
    def answer() -> NoReturn:
        raise error

    return answer
