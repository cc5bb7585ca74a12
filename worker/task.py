"""The one Celery task: a message in, the runner called, the message given back if this node is going."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.exceptions import Reject

from shared.broker import TASK_NAME
from shared.messages import read_message
from worker.runner import Outcome, Runner


def register_task(app: Celery, runner: Callable[[], Runner]) -> None:
    """Give the app its task; `runner` is called in the child that carries it out."""

    @app.task(name=TASK_NAME, acks_late=True)  # type: ignore[untyped-decorator]
    def stylize(message: dict[str, Any]) -> None:
        outcome = runner().run(read_message(message))
        if outcome is Outcome.RELEASED:
            raise Reject("this node is shutting down", requeue=True)
