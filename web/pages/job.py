"""The page of a job: its forms, what it shows, and the views that show it and act on the job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from flask import Blueprint, Response, request
from pydantic import BaseModel

from shared.clock import to_rfc3339, utc_now
from shared.errors import (
    ArtifactMissing,
    AtelierError,
    NotFound,
    Refusal,
    ServiceError,
    StaleJob,
    StorageUnavailable,
)
from shared.options import Method, StyleOptions, read_stored_options
from shared.status import JobStatus
from shared.storage.layout import preview_key
from shared.storage.store import ArtifactStore
from shared.texts import field_schemas, read_texts
from web.address import link
from web.api.http import check_values
from web.api.job_view import read_view
from web.api.problems import status_of
from web.db.models import Job, JobAttempt, JobCheckpoint, JobEvent
from web.jobs.actions import ACTIONS, delete_job
from web.jobs.drafts import find_draft
from web.jobs.fields import ChangeBody, ForkBody, ShareBody
from web.jobs.forking import fork_job
from web.jobs.lists import JobFilter
from web.jobs.queries import get_job
from web.jobs.sharing import NewShare, revoke_shares, share_job
from web.jobs.states import PAUSING
from web.jobs.transitions import events_after, list_attempts, list_checkpoints
from web.pages.gallery import page_url
from web.pages.job_draft import PageDraft, make_draft, read_draft
from web.pages.job_stage import (
    Left,
    Picture,
    Stop,
    View,
    chosen_left,
    chosen_picture,
    chosen_view,
    fork_step,
    fork_steps,
    frame_size,
    latest_picture,
    shown_url,
    spread,
    stop_of,
    views_of,
    working_frame,
)
from web.pages.job_text import attempt_lines, history, job_name, lead, page_title, speed_words
from web.pages.layout import page
from web.pages.loss_plot import loss_words, merge_curves, plot_losses, px, table_rows
from web.pages.new_form import preset_values
from web.pages.option_fields import OptionField, option_fields, option_texts, option_values
from web.security import current_asker, current_caller, current_traceparent
from web.services import Services, get_backend, get_services
from web.words import said, sentence

job_page = Blueprint("job_page", __name__, url_prefix="/jobs/<job_id>")
_SHARE_NAMES = ("share", "unshare")
_ACTION_NAMES = (*ACTIONS, "fork", "draft", "delete", *_SHARE_NAMES)
#: A fork has the working size of its checkpoint.
_FIXED = {"size", "init"}
_USUAL_EXTENSION = 50
#: What the form of a fork lets people type, beside the options.
_FORK_INPUTS = ("step", "name")
#: What people call what is no option.
_TITLES = {
    "/step": "The checkpoint",
    "/name": "The name",
    "/steps": "The number of steps",
    "/priority": "The priority",
    "/labels": "The list of labels",
}
#: A history this long is not read to its end by anybody; the newest part counts.
_MOST_EVENTS = 500


@dataclass(frozen=True)
class RefusedForm:
    """What was refused, and why; `at` are the faults of single fields, by their pointers."""

    action: str
    title: str
    detail: str
    suggestion: str | None = None
    at: Mapping[str, str] = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SharedLinks:
    """What a form did to a job's share links: the one that it made, or none where it revoked all."""

    made: NewShare | None = None

    @property
    def expires_at(self) -> str:
        """When the one that was made expires, as RFC 3339."""
        return "" if self.made is None else to_rfc3339(self.made.expires_at)


def refusal_of(action: str, error: AtelierError, typed: Mapping[str, str]) -> RefusedForm:
    """Return a refusal as the page shows it, with what had been typed."""
    places = {*form_pointers(action)}
    titles = form_titles()
    at = {
        fault.pointer: said(fault.detail, fault.pointer, titles.get(fault.pointer, ""))
        for fault in error.faults
        if fault.pointer in places
    }
    elsewhere = [sentence(fault.detail) for fault in error.faults if fault.pointer not in places]
    # A service's own words may hold addresses and passwords: they belong into the log.
    detail = error.detail if error.tells_detail else error.title()
    return RefusedForm(
        action=action,
        title=error.title(),
        detail=" ".join(elsewhere) if at else sentence(detail),
        suggestion=error.suggestion,
        at=at,
        typed=typed,
    )


def form_pointers(action: str) -> list[str]:
    """Return where the form of an action can show a fault: at what is typed."""
    if action == "fork":
        return [*(f"/{name}" for name in _FORK_INPUTS), *(entry.pointer for entry in fork_fields())]
    kind = ACTIONS[action].body if action in ACTIONS else None
    # What is chosen by a button has no place of its own.
    return (
        [f"/{name}" for name, schema in field_schemas(kind).items() if "enum" not in schema] if kind else []
    )


def form_titles() -> dict[str, str]:
    """Return what people call what is typed on the page, by its pointer: the beginning of a sentence."""
    return _TITLES | {entry.pointer: entry.title for entry in fork_fields()}


def fork_fields(parent: Mapping[str, Any] = MappingProxyType({})) -> list[OptionField]:
    """Return the options that a fork may change; `parent` are those of the job that is forked."""
    init = "fast" if Method.FAST in (parent.get("method"), parent.get("init")) else "content"
    return [entry for entry in option_fields(init=init) if entry.name not in _FIXED]


def read_action(action: str, sent: Mapping[str, str]) -> BaseModel | None:
    """Return the body of an action as its form has it, None if it takes none.

    Raises:
        MalformedRequest, MissingPart: naming the fields.
    """
    kind = ACTIONS[action].body
    if kind is None:
        return None
    if kind is ChangeBody:
        return _read_change(sent)
    texts = {name: text for name in field_schemas(kind) if (text := sent.get(name, "").strip())}
    return check_values(kind, read_texts(kind, texts))


def _read_change(sent: Mapping[str, str]) -> ChangeBody:
    """Return a change: the form has all of a job that can be changed, each label in a line of its own."""
    texts = {name: sent[name].strip() for name in ("priority", "name") if name in sent}
    lines = [line.strip() for line in sent.get("labels", "").splitlines() if line.strip()]
    pairs = [line.partition(":") for line in lines]
    labels = {key.strip(): value.strip() for key, _, value in pairs}
    return check_values(ChangeBody, {**read_texts(ChangeBody, texts), "labels": labels})


def read_fork(sent: Mapping[str, str], parent: Mapping[str, Any]) -> ForkBody:
    """Return a fork: what is left as the parent (its options) has it, or empty, is not said.

    Raises:
        MalformedRequest, MissingPart: naming the fields.
    """
    fields = fork_fields(parent)
    texts = {name: text for name in _FORK_INPUTS if (text := sent.get(name, "").strip())}
    given = option_values(fields, {entry.name: sent.get(entry.input_name, "") for entry in fields})
    options = {name: value for name, value in given.items() if value != parent.get(name)}
    return check_values(ForkBody, {**read_texts(ForkBody, texts), "options": options})


def extension_room(steps: int) -> int:
    """Return how many steps more a job of so many may have."""
    return _most_steps() - steps


def usual_extension(steps: int) -> int:
    """Return the number of steps that is offered for an extension."""
    return max(1, min(_USUAL_EXTENSION, extension_room(steps)))


def usual_fork_steps(steps: int, step: int) -> int:
    """Return the steps that are offered for a fork at a step: the parent's, or as many again at its end."""
    return steps if steps > step else min(step + steps, _most_steps())


def _most_steps() -> int:
    return int(field_schemas(StyleOptions)["steps"]["maximum"])


@dataclass(frozen=True)
class OptionLine:
    """An option as the job has it; `usual` is what its preset says, if that is another value."""

    field: OptionField
    value: str
    usual: str | None


@dataclass(frozen=True)
class JobSheet:
    """What there is to show; `data` is the job as the API shows it."""

    data: Mapping[str, Any]
    checkpoints: Sequence[JobCheckpoint]
    attempts: Sequence[JobAttempt]
    events: Sequence[JobEvent]
    stops: Sequence[Stop]
    latest: Picture
    chosen: Picture | None
    view: View
    content_url: str
    style_url: str
    #: What the fast method makes of the same pictures.
    draft: PageDraft
    #: What stands left of the slider.
    left: Left

    @property
    def views(self) -> list[View]:
        """What can be looked at."""
        return views_of(offers_draft=self.draft.is_offered)

    @property
    def picture(self) -> Picture:
        """What is on the stage: the checkpoint that was asked for, else the latest picture."""
        return self.chosen or self.latest

    @property
    def can_fork_here(self) -> bool:
        """Whether what is on the stage is a checkpoint whose state is kept."""
        is_checkpoint = self.picture.kind == "checkpoint"
        return is_checkpoint and any(stop.has_state and stop.step == self.picture.step for stop in self.stops)


def read_sheet(services: Services, job_id: str, asked: Mapping[str, str], *, caller: str) -> JobSheet:
    """Return a caller's job with all that its page shows.

    Of what is `asked` to be seen, `step` is a checkpoint, `view` another picture than the newest, and `left`
    what stands left of the slider.

    Raises:
        NotFound: when there is none with this id.
    """
    found = read_view(services.backend, job_id, caller=caller)
    with services.backend.database.read() as session:
        checkpoints = list_checkpoints(session, job_id)
        attempts = list_attempts(session, job_id)
        after = max(0, found.job.version - _MOST_EVENTS)
        events = events_after(session, job_id, after, limit=_MOST_EVENTS)
        found_draft = find_draft(session, found.job)
    stops = [
        stop_of(job_id, row.step, row.losses, row.sha256, has_state=row.has_state) for row in checkpoints
    ]
    job, data = found.job, found.data
    draft = read_draft(services.backend, job, found_draft)
    latest = latest_picture(
        data,
        stops,
        preview_attempt=_preview_attempt(services.backend.storage, job),
        draft_url=draft.url,
    )
    chosen = chosen_picture(stops, asked.get("step"))
    return JobSheet(
        data=data,
        checkpoints=checkpoints,
        attempts=attempts,
        events=events,
        stops=stops,
        latest=latest,
        chosen=chosen,
        view=chosen_view(asked.get("view"), views_of(offers_draft=draft.is_offered)),
        content_url=shown_url(data["input"]["content"]["url"], job.content.content_type),
        style_url=shown_url(data["input"]["style"]["url"], job.style.content_type),
        draft=draft,
        left=chosen_left(asked.get("left"), chosen or latest, draft_url=draft.url),
    )


def option_lines(options: Mapping[str, Any]) -> list[OptionLine]:
    """Return the options of a job that its method knows, without method and preset.

    Options that came after it are as they are by default.
    """
    told = read_stored_options(options)
    usual = option_texts(StyleOptions().model_dump() | preset_values(str(told.preset)))
    texts = usual | option_texts(options)
    return [
        OptionLine(
            field,
            texts[field.name],
            usual[field.name] if texts[field.name] != usual[field.name] else None,
        )
        for field in option_fields(method=told.method, init=told.init)
    ]


def _preview_attempt(storage: ArtifactStore, job: Job) -> int | None:
    """Return the last attempt that has a preview; None if none has, or while that cannot be told."""
    for attempt in range(job.attempt, 0, -1):
        try:
            storage.stat(preview_key(job.id, attempt))
        except ArtifactMissing:
            continue
        except StorageUnavailable:
            return None
        return attempt
    return None


@job_page.get("")
def show(job_id: str) -> Response:
    """Show the page; `step`, `view` and `left` ask for what is to be seen, as `read_sheet` has them."""
    return _show(job_id)


@job_page.post("/<action>")
def act(job_id: str, action: str) -> Response:
    """Do what a form asks for and go to the page that shows it; refused, show why, with what was typed."""
    if action not in _ACTION_NAMES:
        known = ", ".join(_ACTION_NAMES)
        raise NotFound(f"'{action}' is nothing that can be asked of a job; known are {known}")
    form = request.form  # first: one that cannot be read is refused as it is anywhere
    try:
        if action in _SHARE_NAMES:
            # No redirect: the link would stand in the next address, which histories and logs keep.
            answer = _show(job_id, shared=_share(action, job_id))
            answer.headers["Cache-Control"] = "no-store"
            return answer
        target = _carry_out(action, job_id)
    except (Refusal, ServiceError, StaleJob) as error:
        if isinstance(error, NotFound) and not error.faults:
            raise  # the job itself is not there; a fault would be of something that it refers to
        return _show(job_id, refusal_of(action, error, form), status=status_of(type(error)))
    return Response(status=303, headers={"Location": target})


@job_page.get("/<action>")
def go_back(job_id: str, action: str) -> Response:
    """Lead from the address of a form, which a reload or a link on its page asks for, to the job's page."""
    if action not in _ACTION_NAMES:
        raise NotFound(f"there is nothing at {link(request.path)}")
    query = request.query_string.decode("latin-1")
    return Response(status=303, headers={"Location": _path(job_id) + (f"?{query}" if query else "")})


def _show(
    job_id: str,
    refusal: RefusedForm | None = None,
    *,
    shared: SharedLinks | None = None,
    status: int = 200,
) -> Response:
    sheet = read_sheet(get_services(), job_id, request.args, caller=current_caller())
    job, points = sheet.data, merge_curves(sheet.checkpoints)
    frame, steps = working_frame(job), int(job["progress"]["steps"])
    from_step = fork_step(sheet.stops, sheet.chosen.step if sheet.chosen else None)
    options = option_lines(job["options"])
    whose = _whose()
    return page(
        "job.html",
        status=status,
        whose=whose,
        jobs_url=page_url(JobFilter(), caller=whose),
        deleted_url=_deleted_url(whose),
        job=job,
        sheet=sheet,
        refusal=refusal,
        shared=shared,
        name=job_name(job),
        title=page_title(job),
        lead=lead(job),
        speed=speed_words(job["progress"]["steps_per_second"]),
        is_final=JobStatus(job["status"]).is_final,
        is_pausing=job["status_reason"] == PAUSING,
        here=link(request.full_path.rstrip("?")),
        draft_seconds=get_backend().settings.draft_hours * 3600,
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
        priorities=[*reversed(range(max(get_backend().settings.max_priority, job["priority"]) + 1))],
        titles=form_titles(),
        fork_fields=fork_fields(job["options"]),
        fork_steps=fork_steps(sheet.stops, from_step),
        fork_step=from_step,
        fork_values=_fork_values(options, steps, from_step),
    )


def _fork_values(options: Iterable[OptionLine], steps: int, step: int | None) -> dict[str, str]:
    values = option_texts(StyleOptions().model_dump()) | {line.field.name: line.value for line in options}
    return values | {"steps": str(usual_fork_steps(steps, step or 0))}


def _carry_out(action: str, job_id: str) -> str:
    """Carry an action out as its form says, and return where to go then."""
    backend, caller, now = get_backend(), current_caller(), utc_now()
    if action == "delete":
        delete_job(backend, job_id, caller=caller)
        return _deleted_url(_whose())
    if action in ("fork", "draft"):
        with backend.database.read() as session:
            job = get_job(session, job_id, caller=caller)
        if action == "draft":
            make_draft(get_services(), job, caller=caller, now=now)
            return f"{_path(job_id)}?view=draft"
        body = read_fork(request.form, job.options)
        traceparent = current_traceparent()
        return _path(fork_job(backend, job_id, body, caller=caller, now=now, traceparent=traceparent))
    ACTIONS[action].run(backend, job_id, read_action(action, request.form), caller=caller, now=now)
    return _path(job_id)


def _share(action: str, job_id: str) -> SharedLinks:
    """Make a link as the form says, or revoke all of them."""
    backend, caller = get_backend(), current_caller()
    if action == "unshare":
        revoke_shares(backend, job_id, caller=caller)
        return SharedLinks()
    texts = {name: text for name in field_schemas(ShareBody) if (text := request.form.get(name, "").strip())}
    body = check_values(ShareBody, read_texts(ShareBody, texts))
    return SharedLinks(share_job(backend, job_id, body, caller=caller, now=utc_now()))


def _whose() -> str | None:
    """Return whose job it is; None for one's own."""
    caller = current_caller()
    return None if caller == current_asker().caller else caller


def _deleted_url(whose: str | None) -> str:
    """Return where to go when a job is deleted: to the others of its owner."""
    return page_url(JobFilter(), caller=whose, note="deleted")


def _path(job_id: str) -> str:
    return link(f"/jobs/{job_id}")
