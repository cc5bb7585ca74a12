"""What the service is measured against: Flask and Celery's `AsyncResult`, as tutorials put them together.

Nothing of it is durable beyond Redis, checked, logged or limited. Run as a program it serves until it is
ended.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from flask import Flask, Response, jsonify, request
from gunicorn.app.base import BaseApplication

from shared.settings import Settings, load_settings
from web.front.application import Front
from web.front.worker import Worker
from web.services import hold_services, open_services

#: gunicorn's worker with threads, as whoever deploys such a service would take; or the one of our own web.
SERVERS = ("gthread", "front")
TASK = "plain.stylize"


def make_celery(redis_url: str) -> Celery:
    """Return the Celery app: broker and result backend are the same Redis."""
    return Celery("plain", broker=redis_url, backend=redis_url)


def make_app(celery: Celery) -> Flask:
    """Return the Flask app: one address to submit to, one to poll."""
    app = Flask("plain")

    @app.post("/tasks")
    def submit() -> tuple[Response, int]:
        given = request.get_json()
        result = celery.send_task(TASK, kwargs=given)
        return jsonify(id=result.id), 202

    @app.get("/tasks/<task_id>")
    def read(task_id: str) -> Response:
        result = AsyncResult(task_id, app=celery)
        meta = result._get_task_meta()  # one question to Redis, where `state` and `info` ask one each
        return jsonify(id=task_id, state=meta["status"], info=meta["result"])

    return app


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, kind: str) -> None:
        self._settings, self._kind = settings, kind
        super().__init__()

    def load_config(self) -> None:
        options: Mapping[str, Any] = {
            "bind": f"127.0.0.1:{self._settings.port}",
            "workers": 1,
            "worker_class": Worker if self._kind == "front" else "gthread",
            "threads": self._settings.web_threads,
            "worker_connections": 2000,
            "asgi_lifespan": "off",
            "asgi_loop": "asyncio",
            "loglevel": "error",
            "control_socket_disable": True,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> object:
        app = make_app(make_celery(self._settings.redis_url))
        if self._kind != "front":
            return app
        # The front asks the services for what bounds it; the app has nothing of them.
        app.config["MAX_CONTENT_LENGTH"] = 1_000_000
        hold_services(app, open_services(self._settings))
        return Front(app, threads=self._settings.web_threads)


if __name__ == "__main__":
    _Server(load_settings(os.environ), sys.argv.pop()).run()
