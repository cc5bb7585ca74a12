"""The page 'New job': choose two pictures and hand them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from flask import Blueprint, Response, request
from pydantic import ValidationError

from shared.clock import utc_now
from shared.errors import Fault, InvalidOptions, MissingPart, NotFound, PictureRefused, Refusal
from shared.options import StyleOptions, parse_options
from web.api.body import body_faults, receive_upload
from web.api.forecast_shapes import estimate_out
from web.caller import current_caller
from web.forecast import make_forecast
from web.job_fields import SubmitBody
from web.models import Asset, Job
from web.pages.new_form import (
    NewForm,
    field_values,
    form_names,
    form_of_job,
    label_faults,
    read_form,
)
from web.pages.new_view import (
    MAX_LABELS,
    PRESET_PICTURE_PX,
    accepted_types,
    label_rows,
    largest_file,
    picture_wells,
    place_faults,
    preset_cards,
    said_options,
)
from web.pages.option_fields import PRESET, OptionField, option_fields, option_values
from web.pages.shell import page
from web.repository.assets import get_asset
from web.repository.jobs import get_job
from web.services import Services, get_services
from web.submission import PARTS, submit_assets, upload_asset

_MAX_PARTS = 200
new_page = Blueprint("new_page", __name__)


@new_page.get("/new")
def show() -> Response:
    """Show the form: empty, or with `from`, as the job with this id was handed in."""
    services, job_id = get_services(), request.args.get("from")
    if not job_id:
        return _page(services, NewForm(), option_fields(), {})
    with services.database.read() as session:
        job = get_job(session, job_id, caller=current_caller())
    assets = {"content": job.content, "style": job.style}
    return _page(services, form_of_job(job), option_fields(), assets, source=job)


@new_page.post("/new")
def create() -> Response:
    """Hand a job in as a form without scripts does, and go to it; refused, show the form with all it had."""
    services, fields = get_services(), option_fields()
    request.max_form_parts = _MAX_PARTS
    try:
        receive_upload(services.settings.picture_limits(), known=form_names(fields))
    except Refusal as error:
        # What was typed could not be read, so there is nothing to show again.
        return _page(services, NewForm(), fields, {}, faults=_faults_of(error))
    form, now = read_form(request.form, fields), utc_now()
    assets, faults = _take_pictures(services, form, now=now)
    try:
        options = parse_options({PRESET: form.preset, **option_values(fields, form.options)})
    except InvalidOptions as error:
        faults += error.faults
    faults += label_faults(form)
    try:
        ids = {part: assets[part].id if part in assets else "" for part in PARTS}
        body = SubmitBody.model_validate({**field_values(form), **ids})
    except ValidationError as error:
        faults += body_faults(error).faults
    if not faults:
        try:
            job_id = submit_assets(services, body, options, caller=current_caller(), now=now)
            return Response(status=303, headers={"Location": f"/jobs/{job_id}"})
        except (PictureRefused, NotFound) as error:
            faults += _faults_of(error)
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
                assets[part], _ = upload_asset(services, file, caller=caller, now=now, name=part)
            elif part in form.asset_ids:
                with services.database.read() as session:
                    assets[part] = get_asset(session, form.asset_ids[part], caller=caller)
            else:
                raise MissingPart(f"{part} is missing")
        except (PictureRefused, MissingPart, NotFound) as error:
            faults += error.faults or (Fault(f"/{part}", error.code, error.detail),)
    return assets, faults


def _page(
    services: Services,
    form: NewForm,
    fields: Sequence[OptionField],
    assets: Mapping[str, Asset],
    *,
    faults: Sequence[Fault] = (),
    source: Job | None = None,
) -> Response:
    limits = services.settings.picture_limits()
    sizes = {part: (asset.width, asset.height) for part, asset in assets.items()}
    return page(
        "new.html",
        status=422 if faults else 200,
        form=form,
        fields=fields,
        wells=picture_wells(assets),
        presets=preset_cards(),
        preset_px=PRESET_PICTURE_PX,
        labels=label_rows(form),
        max_labels=MAX_LABELS,
        said=said_options(form, fields),
        faults=place_faults(faults, fields, form),
        estimate=estimate_out(make_forecast(services, _options(form, fields), sizes)),
        accept=accepted_types(),
        max_bytes=limits.max_bytes,
        largest=largest_file(limits),
        source=source,
    )


def _options(form: NewForm, fields: Sequence[OptionField]) -> StyleOptions:
    try:
        return parse_options({PRESET: form.preset, **option_values(fields, form.options)})
    except InvalidOptions:
        return StyleOptions()


def _faults_of(error: Refusal) -> list[Fault]:
    return list(error.faults) or [Fault("", error.code, error.detail)]
