"""Deaths of the web process at a chosen point of a request, which the request itself names in a header."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask, Response, g, has_request_context, request
from sqlalchemy.orm import Session

import web.server
from shared.settings import Settings
from web.db.database import Database

HEADER = "X-Chaos-Death"
#: Before anything; inside and after each of the transactions that write; before the answer leaves.
POINTS = ("arrival", "transaction-1", "commit-1", "transaction-2", "commit-2", "answer")


def install_deaths() -> None:
    """Let the web process of this program die where a request says so."""
    create_app: Callable[[Settings], Flask] = web.server.create_app

    def create_mortal_app(settings: Settings) -> Flask:
        app = create_app(settings)
        app.before_request_funcs.setdefault(None, []).insert(0, lambda: _die_at("arrival"))
        app.after_request(_die_at_answer)
        return app

    web.server.create_app = create_mortal_app
    write = Database.write

    @contextmanager
    def mortal_write(self: Database) -> Iterator[Session]:
        count = 0
        if has_request_context():
            g.chaos_writes = count = g.get("chaos_writes", 0) + 1
        with write(self) as session:
            yield session
            _die_at(f"transaction-{count}")
        _die_at(f"commit-{count}")

    Database.write = mortal_write  # type: ignore[method-assign]


def _die_at(point: str) -> None:
    if has_request_context() and request.headers.get(HEADER) == point:
        os.killpg(os.getpgrp(), signal.SIGKILL)  # gunicorn's parent and child are one group


def _die_at_answer(response: Response) -> Response:
    _die_at("answer")
    return response
