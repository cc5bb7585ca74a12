"""`atelier caller`: what is a caller's, listed, handed out and removed, on the web host."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from shared.clock import utc_now
from shared.errors import ArtifactMissing, NotFound
from shared.storage.layout import asset_key
from shared.terminal import GivenPath, GivenText, LazyGroup
from web.api.job_view import read_views
from web.api.webhooks import webhook_out
from web.backend import Backend
from web.cli.options import json_option
from web.cli.output import ExitCode, Output, UsageRefused
from web.cli.prune import local_backend
from web.db.models import Asset
from web.jobs.leaving import Holdings, assets_of, jobs_of, list_callers, read_holdings, remove_caller
from web.jobs.transitions import events_after
from web.webhooks.subscriptions import list_webhooks
from web.words import file_size

_ENDINGS = {"image/jpeg": ".jpg", "image/svg+xml": ".svg"}


@click.group(
    cls=LazyGroup,
    table={
        "list": ("web.cli.caller:list_all", "List the callers, and how much is theirs."),
        "export": ("web.cli.caller:export", "Copy all that is a caller's into a folder."),
        "delete": ("web.cli.caller:remove", "Remove all that is a caller's."),
    },
)
def caller() -> None:
    """Whose jobs and pictures there are; on the web host, beside the service or without it."""


@click.command("list")
@json_option
@click.pass_obj
def list_all(output: Output) -> None:
    """List all callers with their jobs (drafts included), pictures, webhooks and tokens."""
    with local_backend() as backend, backend.database.read() as session:
        found = [read_holdings(session, name) for name in list_callers(session)]
    if output.as_json:
        output.answer({"callers": [asdict(one) for one in found]}, "")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("caller", "jobs", "pictures", "webhooks", "tokens", "stored"):
        table.add_column(title)
    for one in found:
        numbers = map(str, (one.jobs, one.assets, one.webhooks, one.tokens))
        table.add_row(escape(one.caller), *numbers, file_size(one.stored_bytes))
    output.out.print(table)


@click.command
@click.argument("name", type=GivenText())
@click.argument("folder", type=GivenPath(file_okay=False))
@json_option
@click.pass_context
def export(ctx: click.Context, *, name: str, folder: Path) -> None:
    """Copy all that is NAME's into FOLDER, which is made.

    Jobs are as the API shows them, with their history and results; the pictures are as they were uploaded;
    webhooks are without their secrets.
    """
    output = ctx.ensure_object(Output)
    if folder.exists() and any(folder.iterdir()):
        raise UsageRefused(f"{folder} is not empty; name a folder that is, or that is not there yet")
    missing: list[str] = []
    with local_backend() as backend:
        _require(backend, name)
        for part in ("jobs", "assets"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        jobs = _export_jobs(backend, name, folder / "jobs", missing)
        assets = _export_assets(backend, name, folder / "assets", missing)
        _export_webhooks(backend, name, folder / "webhooks.json")
    document: dict[str, object] = {"caller": name, "jobs": jobs, "assets": assets, "missing": missing}
    output.answer(document, f"{jobs} jobs and {assets} pictures of {name} are in {folder}")
    if missing:
        output.say(f"{len(missing)} files are not there: {', '.join(missing[:5])}", style="bold red")
        ctx.exit(ExitCode.FAILED)


@click.command("delete")
@click.argument("name", type=GivenText())
@click.option("--dry-run", is_flag=True, help="Remove nothing; say what would be removed.")
@json_option
@click.pass_context
def remove(ctx: click.Context, *, name: str, dry_run: bool) -> None:
    """Remove all that is NAME's: jobs, drafts, pictures, results, webhooks, idempotency keys and tokens.

    What another caller has of the same bytes stays theirs. Jobs that a worker has are canceled; they go when
    the command is called again. Backups that were made before still have it all.
    """
    output = ctx.ensure_object(Output)
    with local_backend() as backend:
        before = _require(backend, name)
        left = before if dry_run else remove_caller(backend, name, now=utc_now)
    document = {"dry_run": dry_run, "before": asdict(before), "left": asdict(left)}
    if dry_run:
        output.answer(document, f"{_told(before)} would be removed")
        return
    if left.is_empty:
        output.answer(document, f"{_told(before)} are removed")
        return
    output.answer(document, f"left are {_told(left)}")
    output.say("Workers have still to let go of what is left: call it again in a minute.", style="yellow")
    ctx.exit(ExitCode.FAILED)


def _told(what: Holdings) -> str:
    return (
        f"{what.jobs} jobs, {what.assets} pictures and {what.tokens} tokens of {what.caller} "
        f"({file_size(what.stored_bytes)})"
    )


def _require(backend: Backend, name: str) -> Holdings:
    with backend.database.read() as session:
        found = read_holdings(session, name)
        known = list_callers(session) if found.is_empty else []
    if found.is_empty:
        raise NotFound(f"nothing is '{name}'s; callers are {', '.join(known) or 'none'}")
    return found


def _export_jobs(backend: Backend, name: str, folder: Path, missing: list[str]) -> int:
    count = 0
    for job in jobs_of(backend, name):
        views = read_views(backend, lambda _session, job=job: [job])  # type: ignore[misc]
        with backend.database.read() as session:
            events = [
                {"sequence": event.sequence, "type": event.type, "data": event.data}
                for event in events_after(session, job.id, 0, limit=100_000)
            ]
        place = folder / job.id
        place.mkdir()
        document = {**views[0].data, "events": events} if views else {"id": job.id, "events": events}
        (place / "job.json").write_text(json.dumps(document, indent=1, ensure_ascii=False))
        for output in job.outputs or ():
            _copy(backend, str(output["key"]), place / "result.png", missing)
        count += 1
    return count


def _export_assets(backend: Backend, name: str, folder: Path, missing: list[str]) -> int:
    count = 0
    for asset in assets_of(backend, name):
        _copy(backend, asset_key(asset.sha256), folder / f"{asset.id}{_ending(asset)}", missing)
        told = {"id": asset.id, "filename": asset.filename, "sha256": asset.sha256}
        (folder / f"{asset.id}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False))
        count += 1
    return count


def _export_webhooks(backend: Backend, name: str, target: Path) -> None:
    with backend.database.read() as session:
        shown = [webhook_out(session, row) for row in list_webhooks(session, caller=name)]
    told = [one.model_dump(mode="json", exclude={"secrets"}) for one in shown]
    target.write_text(json.dumps({"webhooks": told}, indent=1))


def _copy(backend: Backend, key: str, target: Path, missing: list[str]) -> None:
    try:
        with backend.storage.open(key) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file)
    except ArtifactMissing:
        missing.append(key)


def _ending(asset: Asset) -> str:
    kind = asset.content_type
    return _ENDINGS.get(kind, f".{kind.rpartition('/')[2]}")
