"""The page 'New job': what it shows, what its buttons do, and where faults are shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from flask import Blueprint, Response, request

from shared.clock import utc_now
from shared.errors import (
    AtelierError,
    FastModelUnavailable,
    Fault,
    InsufficientMemory,
    InvalidOptions,
    MalformedRequest,
    MissingPart,
    NotFound,
    PictureRefused,
    PriorityNotAllowed,
    Refusal,
    SizeNotAllowed,
    TooManyBytes,
    TooManyDrafts,
    TooManyJobs,
    TooManyStars,
)
from shared.options import PRESETS, StyleOptions
from shared.picture import PictureLimits, allowed_kinds
from shared.picture_file import CONTENT_TYPES, reads_heic
from shared.status import JobKind
from shared.texts import field_schemas
from web.address import link
from web.api import API_PATH
from web.api.http import check_values, receive_upload
from web.api.problems import status_of
from web.api.schemas import estimate_out
from web.assets.stars import star_asset, starred_assets, unstar_asset
from web.assets.uploads import get_asset
from web.db.models import Asset, Job
from web.jobs.drafts import read_options
from web.jobs.fields import MAX_LABEL_KEY_CHARS, MAX_LABEL_VALUE_CHARS, SubmitFields
from web.jobs.line import make_forecast
from web.jobs.queries import get_job, recent_styles
from web.jobs.submission import PARTS, JobRequest, KnownAsset, gone_words, submit
from web.pages.layout import page
from web.pages.new_form import (
    ACTION,
    DRAFT_OPTIONS,
    INIT,
    NewForm,
    asked_options,
    field_values,
    form_names,
    form_of_job,
    form_options,
    label_faults,
    preset_values,
    read_form,
)
from web.pages.option_fields import PRESET, OptionField, option_texts
from web.pages.picture_strips import (
    EXAMPLES,
    MOST_RECENT,
    MOST_STARRED,
    example_file,
    is_example,
    picture_strips,
)
from web.security import check_form, current_caller
from web.services import Services, get_services
from web.words import said

#: The size of the presets' pictures, in pixels, for all of them.
PRESET_PICTURE_PX = (320, 213)
_FIELDS = field_schemas(SubmitFields)
MAX_LABELS = int(_FIELDS["labels"]["maxProperties"])
#: How many characters the inputs take.
_MAX_CHARS = {
    "name": _FIELDS["name"]["maxLength"],
    "label_key": MAX_LABEL_KEY_CHARS,
    "label_value": MAX_LABEL_VALUE_CHARS,
}
#: What people call what is no option.
_TITLES = {
    "/content": "The content",
    "/style": "The style",
    "/options": "Options",
    f"/options/{PRESET}": "The preset",
    "/name": "The name",
    "/labels": "The list of labels",
    "/priority": "The priority",
    "/queue_timeout_seconds": "Start within",
    "/run_timeout_seconds": "Run at most",
    "/reuse": "Reuse",
}
#: Empty rows for labels, where no script adds any.
_SPARE_ROWS = 2
_HINTS = {"content": "the scene that is kept", "style": "the hand it is painted in"}
_MAX_PARTS = 200
#: What a button says that makes a draft; of one that sets a star, or takes it off, the asset's id follows.
_DRAFT, _STAR, _UNSTAR = JobKind.DRAFT.value, "star", "unstar"
#: Some of them are among the examples, or starred.
_RECENT_ASKED = MOST_RECENT + MOST_STARRED + len(EXAMPLES["style"])
new_page = Blueprint("new_page", __name__)


@dataclass(frozen=True)
class PresetCard:
    """A preset: its picture's file, and as JSON what it makes of the options."""

    name: str
    title: str
    line: str
    picture: str
    values: str


@dataclass(frozen=True)
class PictureWell:
    """One half of the page: the picture that is there already, if any."""

    part: str
    title: str
    hint: str
    asset: Asset | None = None

    @property
    def url(self) -> str | None:
        """Where the picture is."""
        return link(f"{API_PATH}/assets/{self.asset.id}/content") if self.asset else None


@dataclass(frozen=True)
class FaultsAt:
    """Faults by the pointer of the field where they are shown; `elsewhere` are those without one."""

    by_pointer: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Sequence[str] = ()

    @property
    def count(self) -> int:
        """How many places are at fault."""
        return len(self.by_pointer) + len(self.elsewhere)

    def at(self, pointer: str) -> str:
        """Return what is wrong with a field; nothing is an empty text."""
        return self.by_pointer.get(pointer, "")

    def under(self, pointers: Iterable[str]) -> bool:
        """Whether one of some fields is at fault, or something in it."""
        heads = tuple(pointers)
        return any(
            known == head or known.startswith(f"{head}/") for known in self.by_pointer for head in heads
        )


@new_page.get("/new")
def show() -> Response:
    """Show the form: empty, or with `from`, as the job with this id was submitted."""
    services, job_id = get_services(), request.args.get("from")
    if not job_id:
        return _page(services, NewForm(), form_options(), {})
    with services.backend.database.read() as session:
        job = get_job(session, job_id, caller=current_caller())
    assets = {"content": job.content, "style": job.style}
    return _page(services, form_of_job(job), form_options(), assets, source=job)


@new_page.post("/new")
def create() -> Response:
    """Hand a job or a draft in as a form without scripts does, and go to it.

    Refused, show the form with all it had; so, too, when a star was set or taken off.
    """
    services, fields = get_services(), form_options()
    request.max_form_parts = _MAX_PARTS
    try:
        receive_upload(services.backend.settings.picture_limits(), known=form_names(fields))
    except Refusal as error:
        # What was typed could not be read, so there is nothing to show again.
        return _page(services, NewForm(), fields, {}, faults=_faults_of(error))
    check_form()
    form, now = read_form(request.form, fields), utc_now()
    pressed, _, asset_id = request.form.get(ACTION, "").partition(" ")
    kind = JobKind.DRAFT if pressed == _DRAFT else JobKind.JOB
    full = services.backend.find_no_room()
    if full is not None:
        # Nothing is stored now; all that was typed or stored before is there for another try.
        faults = [Fault("", full.code, full.detail)]
        kept = _known_pictures(services, form)
        return _page(services, form, fields, kept, faults=faults, status=status_of(type(full)))
    refused = _change_star(services, pressed, asset_id, now=now) if pressed in (_STAR, _UNSTAR) else None
    assets, faults = _take_pictures(services, form, now=now)
    if pressed in (_STAR, _UNSTAR):
        # What is not chosen yet may still be.
        faults = [fault for fault in faults if fault.code != MissingPart.code]
        faults += [Fault("/style", refused.code, refused.detail)] if refused else []
        status = status_of(type(refused)) if refused else None
        return _page(services, form, fields, assets, faults=faults, status=status)
    try:
        options = read_options(asked_options(form, fields, kind), kind)
    except InvalidOptions as error:
        faults += error.faults
    faults += label_faults(form)
    try:
        fields_given = check_values(SubmitFields, {**field_values(form), "kind": kind.value})
    except (MalformedRequest, MissingPart) as error:
        faults += error.faults
    if not faults:
        inputs = {part: KnownAsset(assets[part].id) for part in PARTS}
        try:
            added = submit(
                services.backend,
                services.uploads,
                JobRequest(inputs, options, fields_given),
                caller=current_caller(),
                now=now,
            )
            return Response(status=303, headers={"Location": link(f"/jobs/{added.job_id}")})
        except (
            PictureRefused,
            NotFound,
            PriorityNotAllowed,
            SizeNotAllowed,
            TooManyBytes,
            TooManyJobs,
            TooManyDrafts,
            InsufficientMemory,
            FastModelUnavailable,
        ) as error:
            faults += _faults_of(error)
            return _page(services, form, fields, assets, faults=faults, status=status_of(type(error)))
    return _page(services, form, fields, assets, faults=faults)


def _take_pictures(
    services: Services, form: NewForm, *, now: datetime
) -> tuple[dict[str, Asset], list[Fault]]:
    """Return the pictures, stored: no browser fills in files again, so those of a refused form stay here."""
    assets: dict[str, Asset] = {}
    faults: list[Fault] = []
    caller = current_caller()
    for part in PARTS:
        file = request.files.get(part)
        try:
            if file is not None and file.filename:
                assets[part], _ = services.uploads.add(file, caller=caller, now=now, name=part)
            elif is_example(form.asset_ids.get(part, "")):
                example = example_file(part, form.asset_ids[part])
                assets[part], _ = services.uploads.add(example, caller=caller, now=now, name=part)
            elif part in form.asset_ids:
                with services.backend.database.read() as session:
                    assets[part] = get_asset(session, form.asset_ids[part], caller=caller)
            else:
                raise MissingPart(f"choose a {part} picture")
        except NotFound as error:
            faults.append(Fault(f"/{part}", error.code, gone_words(part)))
        except (PictureRefused, MissingPart, TooManyBytes) as error:
            faults += error.faults or (Fault(f"/{part}", error.code, error.detail),)
    return assets, faults


def _change_star(services: Services, word: str, asset_id: str, *, now: datetime) -> Refusal | None:
    """Star a picture or take its star off; return why not, if not."""
    caller, backend = current_caller(), services.backend
    try:
        if word == _STAR:
            star_asset(backend, asset_id, caller=caller, now=now)
        else:
            unstar_asset(backend, asset_id, caller=caller)
    except NotFound:
        return NotFound(gone_words("style"))
    except TooManyStars as error:
        return error
    return None


def _known_pictures(services: Services, form: NewForm) -> dict[str, Asset]:
    """Return the pictures that were stored with an earlier try of the form."""
    found = {}
    with services.backend.database.read() as session:
        for part, asset_id in form.asset_ids.items():
            with suppress(NotFound):
                found[part] = get_asset(session, asset_id, caller=current_caller())
    return found


def _page(
    services: Services,
    form: NewForm,
    fields: Sequence[OptionField],
    assets: Mapping[str, Asset],
    *,
    faults: Sequence[Fault] = (),
    source: Job | None = None,
    status: int | None = None,
) -> Response:
    limits = services.backend.settings.picture_limits()
    sizes = {part: (asset.width, asset.height) for part, asset in assets.items()}
    with services.backend.database.read() as session:
        starred = starred_assets(session, caller=current_caller(), limit=MOST_STARRED)
        recent = recent_styles(session, caller=current_caller(), limit=_RECENT_ASKED)
    placed = place_faults(faults, fields, form)
    usual_priority = SubmitFields().priority_within(services.backend.settings.max_priority)
    in_fold = [entry for entry in fields if entry.name not in {INIT, *DRAFT_OPTIONS}]
    return page(
        "new.html",
        status=status or (422 if faults else 200),
        form=form,
        fields=in_fold,
        draft_fields=[entry for entry in fields if entry.name in DRAFT_OPTIONS],
        wells=picture_wells(assets),
        strips=picture_strips(starred, recent),
        presets=preset_cards(),
        preset_px=PRESET_PICTURE_PX,
        labels=label_rows(form),
        max_labels=MAX_LABELS,
        max_chars=_MAX_CHARS,
        more=[f"/{name}" for name in _FIELDS],
        said=said_options(form, in_fold),
        faults=placed,
        options_open=any(entry.name in form.options for entry in in_fold)
        or any(placed.at(pointer) for pointer in ["/options", *(entry.pointer for entry in in_fold)]),
        estimate=estimate_out(
            make_forecast(
                services.backend,
                _options_for_estimate(form, fields),
                sizes,
                now=utc_now(),
                caller=current_caller(),
                priority=usual_priority,
            )
        ),
        priorities=[*reversed(range(services.backend.settings.max_priority + 1))],
        usual_priority=usual_priority,
        titles=field_titles(fields),
        accept=accepted_types(),
        kinds=allowed_kinds(),
        max_bytes=limits.max_bytes,
        largest=largest_file(limits),
        source=source,
    )


def _options_for_estimate(form: NewForm, fields: Sequence[OptionField]) -> StyleOptions:
    try:
        return read_options(asked_options(form, fields, JobKind.JOB), JobKind.JOB)
    except InvalidOptions:
        return StyleOptions()


def _faults_of(error: AtelierError) -> list[Fault]:
    return list(error.faults) or [Fault("", error.code, error.detail)]


def preset_cards() -> list[PresetCard]:
    """Return the presets in their order."""
    return [
        PresetCard(
            name, preset.title, preset.line, f"presets/{name}.webp", _json(option_texts(preset_values(name)))
        )
        for name, preset in PRESETS.items()
    ]


def picture_wells(assets: Mapping[str, Asset]) -> list[PictureWell]:
    """Return both halves, with the pictures that are known."""
    return [PictureWell(part, part.capitalize(), hint, assets.get(part)) for part, hint in _HINTS.items()]


def label_rows(form: NewForm) -> list[tuple[str, str]]:
    """Return the rows of labels: those given, and some to fill."""
    spare = max(0, min(_SPARE_ROWS, MAX_LABELS - len(form.labels)))
    return [*form.labels, *[("", "")] * spare]


def place_faults(faults: Iterable[Fault], fields: Iterable[OptionField], form: NewForm) -> FaultsAt:
    """Return faults at their places; several at one place are said one after the other."""
    known = {f"/{name}" for name in (*PARTS, PRESET, "options", f"options/{PRESET}", *_FIELDS)}
    fields = list(fields)
    known |= {entry.pointer for entry in fields} | {f"/labels/{key}" for key, _ in form.labels}
    by_pointer: dict[str, str] = {}
    elsewhere: list[str] = []
    titles = field_titles(fields)
    for fault in faults:
        pointer = next((head for head in _heads(fault.pointer) if head in known), None)
        words = said(fault.detail, fault.pointer, titles.get(pointer or "", ""))
        if pointer is None:
            elsewhere.append(words)
        else:
            by_pointer[pointer] = " ".join(filter(None, (by_pointer.get(pointer), words)))
    return FaultsAt(by_pointer, elsewhere)


def field_titles(fields: Iterable[OptionField]) -> dict[str, str]:
    """Return what people call the fields of the form, by their pointers: the beginning of a sentence."""
    return {**_TITLES, **{entry.pointer: entry.title for entry in fields}}


def said_options(form: NewForm, fields: Iterable[OptionField]) -> str:
    """Return in a few words which options are not the preset's."""
    said = [
        f"{entry.title.lower()} {form.options[entry.name]}" for entry in fields if entry.name in form.options
    ]
    return ", ".join(said) or "as the preset has them"


def accepted_types() -> str:
    """Return the media types of the pictures that can be read here, as a file input takes them."""
    kinds = (kind for name, kind in CONTENT_TYPES.items() if name != "HEIF" or reads_heic())
    return ",".join(sorted(set(kinds)))


def largest_file(limits: PictureLimits) -> str:
    """Return how large a picture may be, in words."""
    return f"{limits.max_bytes / 1e6:g} MB"


def _heads(pointer: str) -> list[str]:
    """Return a pointer and all that lie above it, nearest first."""
    parts = pointer.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 1, -1)]


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(values)
