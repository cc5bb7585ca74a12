"""Handing in: all of it is checked first, then files are stored, then one transaction writes the rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime

from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage

from shared.errors import Fault, NotFound
from shared.options import StyleOptions
from shared.picture import working_size
from web.assets.uploads import PartChecks, Picture, Visit, add_asset, get_asset, take_picture
from web.db.models import Asset
from web.jobs.fields import SubmitBody, SubmitFields
from web.jobs.idempotency import NoteKey, note_no_key
from web.jobs.queries import add_job
from web.jobs.reuse import Placement, place_job, work_sha256
from web.services import Services

PARTS = ("content", "style")
Sizes = dict[str, tuple[int, int]]
_ID = re.compile(r"[0-9a-f-]{36}")


def submit_assets(
    services: Services,
    body: SubmitBody,
    options: StyleOptions,
    *,
    caller: str,
    now: datetime,
    note_key: NoteKey = note_no_key,
) -> str:
    """Add a job of two known assets, and return its id.

    Raises:
        NotFound: naming the pictures that are not known.
        PictureTooNarrow: when one cannot be worked on at the size asked for.
        DatabaseUnavailable: when the rows cannot be written.
    """
    with services.database.read() as session:
        found = _find_assets(session, body, caller=caller)
    _asset_sizes(found, options)
    hashes = {part: asset.sha256 for part, asset in found.items()}
    with _place(services, hashes, body, options, caller=caller) as placement:
        with services.database.write() as session:
            # Again: what nothing refers to may be removed meanwhile.
            assets = _find_assets(session, body, caller=caller)
            _add_job(services, session, assets, body, options, placement=placement, now=now)
            note_key(session, placement.job_id)
        return placement.job_id


def check_assets(services: Services, body: SubmitBody, options: StyleOptions, *, caller: str) -> Sizes:
    """Return the working sizes (width, height) of two known assets; refuses as `submit_assets` does."""
    with services.database.read() as session:
        return _asset_sizes(_find_assets(session, body, caller=caller), options)


def submit_pictures(
    services: Services,
    files: Mapping[str, FileStorage],
    fields: SubmitFields,
    options: StyleOptions,
    *,
    caller: str,
    now: datetime,
    note_key: NoteKey = note_no_key,
) -> str:
    """Store two pictures, add their job, and return its id; of a refused job nothing stays behind.

    Raises:
        PictureRefused: when a picture cannot be used.
        StorageUnavailable: when they cannot be stored.
        DatabaseUnavailable: when the rows cannot be written.
    """
    with services.shelf.visit() as visit:
        pictures = _take_in(services, files, options, visit=visit)
        hashes = {part: picture.sha256 for part, picture in pictures.items()}
        with _place(services, hashes, fields, options, caller=caller) as placement:
            with services.database.write() as session:
                assets = {
                    part: _add_asset(session, pictures[part], caller=caller, now=now)[0] for part in PARTS
                }
                _add_job(services, session, assets, fields, options, placement=placement, now=now)
                note_key(session, placement.job_id)
            return placement.job_id


def check_pictures(services: Services, files: Mapping[str, FileStorage], options: StyleOptions) -> Sizes:
    """Return the working sizes of two pictures and store nothing; refuses as `submit_pictures` does."""
    pictures = _take_in(services, files, options, visit=None)
    return {part: _picture_size(pictures[part], part, options) for part in PARTS}


def upload_asset(
    services: Services, file: FileStorage, *, caller: str, now: datetime, name: str = "file"
) -> tuple[Asset, bool]:
    """Store one picture; return its asset, and whether it is new. Refuses as `submit_pictures` does.

    `name` is the part that it came in, and what messages call it.
    """
    with services.shelf.visit() as visit:
        with services.decoding:
            checks = PartChecks()
            with checks.of(name):
                picture, data = take_picture(file, name=name, limits=services.settings.picture_limits())
            checks.settle()
            visit.put(picture.sha256, data)
            del data
        with services.database.write() as session:
            return _add_asset(session, picture, caller=caller, now=now)


def _take_in(
    services: Services, files: Mapping[str, FileStorage], options: StyleOptions, *, visit: Visit | None
) -> dict[str, Picture]:
    """Check all pictures, then put them on the shelf; only as many requests at once as may decode."""
    limits = services.settings.picture_limits()
    with services.decoding:
        taken, checks = {}, PartChecks()
        for part in PARTS:
            with checks.of(part):
                taken[part] = take_picture(files[part], name=part, limits=limits)
                _picture_size(taken[part][0], part, options)
        checks.settle()
        if visit is not None:
            for picture, data in taken.values():
                visit.put(picture.sha256, data)
        return {part: picture for part, (picture, _) in taken.items()}


def _find_assets(session: Session, body: SubmitBody, *, caller: str) -> dict[str, Asset]:
    found, faults = {}, []
    for part, asset_id in (("content", body.content), ("style", body.style)):
        try:
            if not _ID.fullmatch(asset_id):
                raise NotFound(f"there is no asset with the id '{asset_id}'")
            found[part] = get_asset(session, asset_id, caller=caller)
        except NotFound as error:
            faults.append(Fault(f"/{part}", error.code, f"{part}: {error.detail}"))
    if faults:
        raise NotFound("; ".join(fault.detail for fault in faults), faults=tuple(faults))
    return found


def _asset_sizes(assets: Mapping[str, Asset], options: StyleOptions) -> Sizes:
    sizes, checks = {}, PartChecks()
    for part, asset in assets.items():
        with checks.of(part):
            sizes[part] = working_size(asset.width, asset.height, size=options.size, name=part)
    checks.settle()
    return sizes


def _picture_size(picture: Picture, part: str, options: StyleOptions) -> tuple[int, int]:
    return working_size(picture.facts.width, picture.facts.height, size=options.size, name=part)


def _add_asset(session: Session, picture: Picture, *, caller: str, now: datetime) -> tuple[Asset, bool]:
    return add_asset(
        session,
        caller=caller,
        sha256=picture.sha256,
        filename=picture.filename,
        size_bytes=picture.size_bytes,
        facts=picture.facts,
        now=now,
    )


def _place(
    services: Services, hashes: Mapping[str, str], fields: SubmitFields, options: StyleOptions, *, caller: str
) -> AbstractContextManager[Placement]:
    work = work_sha256(content_sha256=hashes["content"], style_sha256=hashes["style"], options=options)
    return place_job(services, work, caller=caller, reuse=fields.reuse)


def _add_job(
    services: Services,
    session: Session,
    assets: Mapping[str, Asset],
    fields: SubmitFields,
    options: StyleOptions,
    *,
    placement: Placement,
    now: datetime,
) -> None:
    job = add_job(
        session,
        caller=placement.caller,
        name=(fields.name or "").strip(),
        content=assets["content"],
        style=assets["style"],
        options=options,
        labels=fields.labels,
        max_attempts=services.settings.max_attempts,
        now=now,
        extra=fields.deadline_columns(now) | placement.columns(session),
    )
    placement.settle(session, job, now=now)
