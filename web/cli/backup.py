"""`atelier backup` and `atelier restore`: a whole installation in one folder, and back, on the web host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from shared.clock import to_rfc3339, utc_now
from shared.errors import BackupDamaged
from shared.logs import configure_logs
from shared.processes import keep_private
from shared.settings import Settings, load_settings
from shared.terminal import GivenPath
from web.backend import Backend
from web.backup.making import Made, make_backup, sqlite_path
from web.backup.manifest import BackupFolder, Manifest
from web.backup.restoring import Restored, restore_backup
from web.cli.local.host import FolderLock
from web.cli.options import json_option
from web.cli.output import ExitCode, Output
from web.cli.prune import require_database

_NAMED = 10


@click.command
@click.argument("folder", type=GivenPath(file_okay=False))
@click.option(
    "--check", is_flag=True, help="Make none; read the one that is there, and say whether it is whole."
)
@json_option
@click.pass_context
def backup(ctx: click.Context, *, folder: Path, check: bool) -> None:
    """Copy database and storage into FOLDER, beside the running service or without it.

    In it is everything that must not be lost: jobs with their history, pictures, checkpoints, results. The
    same folder may be used again: only what is new is copied. Redis needs no backup.
    """
    output = ctx.ensure_object(Output)
    settings = _settings()
    if check:
        with _nobody_writes(folder, holder="'atelier backup --check'"):
            _check(ctx, output, BackupFolder(folder))
        return
    sqlite_path(settings.resolved_database_url)  # refused before anything is looked for
    require_database(settings)
    backend = Backend.open(settings, upgrade=False)
    try:
        with FolderLock(folder, holder="another 'atelier backup'"):
            made = make_backup(backend, folder, clock=utc_now)
    finally:
        backend.close()
    output.answer(_made_json(made), _made_text(made, folder))
    if made.manifest.missing or made.manifest.damaged:
        _name_faults(output, made.manifest)
        ctx.exit(ExitCode.FAILED)


@click.command
@click.argument("folder", type=GivenPath(exists=True, file_okay=False))
@json_option
@click.pass_context
def restore(ctx: click.Context, *, folder: Path) -> None:
    """Put the backup in FOLDER back, while web and control are stopped.

    It is read and checked first. Jobs that ran or waited when it was made go on; Redis may have lived on, or
    be empty. The database that was there is kept beside the new one, and no file of a younger job is removed.
    """
    output = ctx.ensure_object(Output)
    settings = _settings()
    sqlite_path(settings.resolved_database_url)
    with _no_up_at(settings), _nobody_writes(folder, holder="'atelier restore'"):
        restored = restore_backup(settings, folder, now=utc_now())
    output.answer(_restored_json(restored), _restored_text(restored))
    if not restored.knows_redis:
        output.say(
            "Redis did not answer. That is no harm: control finds out what it has seen.", style="yellow"
        )
    if restored.manifest.missing or restored.manifest.damaged:
        _name_faults(output, restored.manifest)


def _settings() -> Settings:
    keep_private()
    settings = load_settings(os.environ)
    configure_logs(settings.model_copy(update={"log_level": "warning", "log_format": "console"}))
    return settings


@contextmanager
def _no_up_at(settings: Settings) -> Iterator[None]:
    """See to it that no `atelier up` works on the data folder, unless it is not used at all."""
    has_own_places = bool(settings.database_url and settings.storage_url)
    if has_own_places and not settings.data_dir.exists():
        yield
        return
    with FolderLock(settings.data_dir, holder="'atelier restore'"):
        yield


@contextmanager
def _nobody_writes(folder: Path, *, holder: str) -> Iterator[None]:
    """See to it that no backup is made into a folder that is read; it would remove what it replaces."""
    BackupFolder(folder).read()  # refused if it is none: nothing is written there then
    if not os.access(folder, os.W_OK):
        yield  # on a medium that is read only nobody can
        return
    with FolderLock(folder, holder=holder):
        yield


def _check(ctx: click.Context, output: Output, folder: BackupFolder) -> None:
    manifest = folder.read()
    faults = list(folder.faults(manifest))
    document = _manifest_json(manifest) | {"is_whole": not faults, "faults": faults}
    words = [_manifest_text(manifest)]
    if faults:
        words += ["It is damaged:", *(f"  {fault}" for fault in faults[:_NAMED])]
        words += [f"  and {len(faults) - _NAMED} more"] if len(faults) > _NAMED else []
    else:
        words.append("It is whole: every file is there and has its SHA-256.")
    output.answer(document, "\n".join(words))
    if manifest.missing or manifest.damaged:
        _name_faults(output, manifest)
    if faults:
        output.say(str(BackupDamaged.suggestion))
        ctx.exit(ExitCode.FAILED)


def _name_faults(output: Output, manifest: Manifest) -> None:
    """Say what was not right with the installation itself when the backup was made."""
    for keys, what in (
        (manifest.missing, "not there"),
        (manifest.damaged, "damaged, or not what their rows say"),
    ):
        if keys:
            output.say(
                f"When the backup was made, {_files(len(keys))} that the database refers to: {what}:",
                style="bold red",
            )
            for key in keys[:_NAMED]:
                output.say(f"  {key}")


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _manifest_json(manifest: Manifest) -> dict[str, object]:
    return {
        "installation_id": manifest.installation_id,
        "made_at": to_rfc3339(manifest.made_at),
        "release": manifest.release,
        "files": len(manifest.files),
        "size_bytes": manifest.size_bytes,
        "missing": list(manifest.missing),
        "damaged": list(manifest.damaged),
    }


def _manifest_text(manifest: Manifest) -> str:
    return (
        f"Backup of {to_rfc3339(manifest.made_at)}, by release {manifest.release}: the database and "
        f"{_files(len(manifest.files))}, {manifest.size_bytes / 1e6:.1f} MB."
    )


def _made_json(made: Made) -> dict[str, object]:
    copied = {"copied_files": made.copied_files, "copied_bytes": made.copied_bytes}
    return _manifest_json(made.manifest) | copied


def _made_text(made: Made, folder: Path) -> str:
    return (
        f"{_manifest_text(made.manifest)}\n"
        f"Copied: {_files(made.copied_files)}, {made.copied_bytes / 1e6:.1f} MB; equal ones lie there once.\n"
        f"It is in {folder}. 'atelier backup --check {folder}' reads all of it again."
    )


def _restored_json(restored: Restored) -> dict[str, object]:
    return _manifest_json(restored.manifest) | {
        "written_files": restored.written_files,
        "written_bytes": restored.written_bytes,
        "attempts_put_aside": restored.put_aside,
        "unfinished_jobs": restored.unfinished,
        "knows_redis": restored.knows_redis,
        "previous_database": str(restored.previous_database) if restored.previous_database else None,
    }


def _restored_text(restored: Restored) -> str:
    written = f"{_files(restored.written_files)}, {restored.written_bytes / 1e6:.1f} MB"
    lines = [
        _manifest_text(restored.manifest),
        f"Put back: the database, and {written}; the others were there.",
        f"Jobs that had not ended and go on when the service is started: {restored.unfinished}.",
    ]
    if restored.put_aside:
        lines.append(
            f"{restored.put_aside} later attempts were put aside, below 'replaced-…' in their jobs' folders."
        )
    if restored.previous_database:
        lines.append(f"The database that was there is now {restored.previous_database}.")
    return "\n".join(lines)
