"""The page of one job, and the forms on it: each is a POST that leads back to the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from flask import Blueprint, Response, request

from shared.clock import utc_now
from shared.errors import NotFound, Refusal, ServiceError, StaleJob
from shared.status import JobStatus
from web import job_actions as actions
from web.api.problems import status_of
from web.caller import current_caller
from web.forking import fork_job
from web.pages.job_card import job_name
from web.pages.job_forms import (
    RefusedForm,
    extension_room,
    fork_fields,
    read_extend,
    read_fork,
    read_retry,
    refusal_of,
    usual_extension,
    usual_fork_steps,
)
from web.pages.job_sheet import OptionLine, option_lines, read_sheet
from web.pages.job_stage import fork_steps, frame_size, spread, working_frame
from web.pages.job_words import attempt_lines, history, lead, page_title, speed_words
from web.pages.loss_plot import loss_words, merge_curves, plot_losses, px, table_rows
from web.pages.shell import page
from web.repository.jobs import get_job
from web.services import Services, get_services
from web.states import PAUSING

job_page = Blueprint("job_page", __name__, url_prefix="/jobs/<job_id>")

#: Carries an action out, and returns where to go then.
Act = Callable[[Services, str, str, datetime], str]


@job_page.get("")
def show(job_id: str) -> Response:
    """Show the page; `step` asks for the checkpoint of a step, `view` for another picture."""
    return _show(job_id)


@job_page.post("/<action>")
def act(job_id: str, action: str) -> Response:
    """Do what a form asks for and go to the page that shows it; refused, show why, with what was typed."""
    if action not in _ACTS:
        raise NotFound(f"'{action}' is nothing that can be asked of a job; known are {', '.join(_ACTS)}")
    try:
        target = _ACTS[action](get_services(), job_id, current_caller(), utc_now())
    except NotFound:
        raise  # the job itself is not there
    except (Refusal, ServiceError, StaleJob) as error:
        return _show(job_id, refusal_of(action, error, request.form), status=status_of(type(error)))
    return Response(status=303, headers={"Location": target})


@job_page.get("/<action>")
def go_back(job_id: str, action: str) -> Response:
    """Lead from the address of a form, which a reload asks for, to the page."""
    if action not in _ACTS:
        raise NotFound(f"there is nothing at {request.path}")
    return Response(status=303, headers={"Location": _path(job_id)})


def _show(job_id: str, refusal: RefusedForm | None = None, *, status: int = 200) -> Response:
    sheet = read_sheet(
        get_services(),
        job_id,
        caller=current_caller(),
        step=request.args.get("step"),
        view=request.args.get("view"),
    )
    job, points = sheet.data, merge_curves(sheet.checkpoints)
    frame, steps = working_frame(job), int(job["progress"]["steps"])
    fork_step = sheet.chosen.step if sheet.chosen else (sheet.stops[-1].step if sheet.stops else None)
    options = option_lines(job["options"])
    return page(
        "job.html",
        status=status,
        job=job,
        sheet=sheet,
        refusal=refusal,
        name=job_name(job),
        title=page_title(job),
        lead=lead(job),
        speed=speed_words(job["progress"]["steps_per_second"]),
        is_final=JobStatus(job["status"]).is_final,
        is_pausing=job["status_reason"] == PAUSING,
        frame=frame,
        canvas=frame_size(*frame),
        thumbnails=spread(sheet.stops),
        plot=plot_losses(points, steps=steps),
        rows=table_rows(points),
        loss_words=loss_words,
        px=px,
        options=options,
        attempts=attempt_lines(sheet.attempts),
        happenings=history(sheet.events),
        room=extension_room(steps),
        extension=usual_extension(steps),
        fork_fields=fork_fields(),
        fork_steps=fork_steps(sheet.stops, fork_step),
        fork_step=fork_step,
        fork_values=_fork_values(options, steps, fork_step),
    )


def _fork_values(options: Iterable[OptionLine], steps: int, step: int | None) -> dict[str, str]:
    values = {line.field.name: line.value for line in options}
    return values | {"steps": str(usual_fork_steps(steps, step or 0))}


def _cancel(services: Services, job_id: str, caller: str, now: datetime) -> str:
    actions.cancel_job(services, job_id, caller=caller, now=now)
    return _path(job_id)


def _pause(services: Services, job_id: str, caller: str, now: datetime) -> str:
    actions.pause_job(services, job_id, caller=caller, now=now)
    return _path(job_id)


def _resume(services: Services, job_id: str, caller: str, now: datetime) -> str:
    actions.resume_job(services, job_id, caller=caller, now=now)
    return _path(job_id)


def _retry(services: Services, job_id: str, caller: str, now: datetime) -> str:
    body = read_retry(request.form)
    actions.retry_job(services, job_id, caller=caller, now=now, from_zero=body.start == "zero")
    return _path(job_id)


def _extend(services: Services, job_id: str, caller: str, now: datetime) -> str:
    body = read_extend(request.form)
    actions.extend_job(services, job_id, caller=caller, now=now, steps=body.steps)
    return _path(job_id)


def _fork(services: Services, job_id: str, caller: str, now: datetime) -> str:
    with services.database.read() as session:
        parent = get_job(session, job_id, caller=caller)
    return _path(fork_job(services, job_id, read_fork(request.form, parent.options), caller=caller, now=now))


def _delete(services: Services, job_id: str, caller: str, now: datetime) -> str:  # noqa: ARG001 - an Act
    actions.delete_job(services, job_id, caller=caller)
    return "/?note=deleted"


_ACTS: dict[str, Act] = {
    "cancel": _cancel,
    "pause": _pause,
    "resume": _resume,
    "retry": _retry,
    "extend": _extend,
    "fork": _fork,
    "delete": _delete,
}


def _path(job_id: str) -> str:
    return f"/jobs/{job_id}"
