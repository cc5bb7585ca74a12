"""The page 'Workers': who does the work, how much of it waits, and draining."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.clock import utc_now
from shared.errors import AtelierError, NotFound, RedisUnavailable, ServiceError
from web.api.problems import status_of
from web.api.worker_view import read_queue, read_workers
from web.caller import current_caller
from web.pages.queue_figures import queue_figures
from web.pages.shell import page
from web.pages.worker_card import WorkerCard, WorkerJobCard, worker_card
from web.services import get_services
from web.worker_actions import drain_worker

workers_page = Blueprint("workers_page", __name__)


@workers_page.get("/workers")
def show() -> Response:
    """Show the page."""
    return _show()


@workers_page.post("/workers/<worker_id>/drain")
def drain(worker_id: str) -> AnyResponse:
    """Drain a worker, and show the page again; a refusal is shown on it."""
    try:
        drain_worker(get_services(), worker_id)
    except (NotFound, RedisUnavailable) as error:
        return _show(error)
    return redirect(url_for("workers_page.show"), 303)


def _show(error: AtelierError | None = None) -> Response:
    services, now = get_services(), utc_now()
    listed = read_workers(services, caller=current_caller())
    fault = ""
    if error is not None:
        # A service's own words may hold addresses.
        fault = error.title() if isinstance(error, ServiceError) else error.detail
    return page(
        "workers.html",
        status=status_of(type(error)) if error else 200,
        cards=[worker_card(worker, now) for worker in listed["workers"] or ()],
        blank=WorkerCard(job=WorkerJobCard()),
        is_known=listed["workers"] is not None,
        message=listed["message"] or "",
        figures=queue_figures(read_queue(services)),
        fault=fault,
        is_at_home=request.method == "GET",
    )
