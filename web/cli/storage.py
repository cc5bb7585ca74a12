"""`atelier storage`: the files of an installation, moved from one store to another."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from shared.errors import InvalidSettings
from shared.logs import configure_logs
from shared.processes import keep_private
from shared.settings import Settings, folder_of, load_settings
from shared.storage import open_store
from shared.storage.moving import Copied, copy_files
from shared.terminal import GivenText, LazyGroup
from web.cli.options import json_option
from web.cli.output import Output, UsageRefused

#: How often it is told how far a copy is: after so many files.
_TOLD_FILES = 1000


@click.group(
    cls=LazyGroup,
    table={"copy": ("web.cli.storage:copy", "Copy all files to another folder or bucket, and prove it.")},
)
def storage() -> None:
    """Where the files of the installation are."""


@click.command
@click.argument("source", metavar="FROM", type=GivenText())
@click.argument("target", metavar="TO", type=GivenText())
@json_option
@click.pass_obj
def copy(output: Output, *, source: str, target: str) -> None:
    """Copy all files of an installation FROM one storage TO another, and read each back.

    Both are written as ATELIER_STORAGE_URL is: file:///path/of/a/folder or s3://bucket/prefix. How a bucket
    is reached is in the settings ATELIER_S3_… and in the variables AWS_….

    Stop the service first, or copy beside it and once more when it is stopped: only what is new is written
    then. Nothing is removed. A copy that was killed is simply repeated.
    """
    keep_private()
    settings = load_settings(os.environ)
    configure_logs(settings.model_copy(update={"log_level": "warning", "log_format": "console"}))
    _require_apart(source, target)
    copied = copy_files(
        _open(source, "FROM", settings),
        _open(target, "TO", settings),
        on_file=lambda *counts: _tell(output, *counts),
    )
    output.answer(asdict(copied), _text(copied, target))


def _open(url: str, name: str, settings: Settings) -> Any:  # noqa: ANN401
    try:
        return open_store(url, settings)
    except InvalidSettings as error:
        raise UsageRefused(error.detail.replace("ATELIER_STORAGE_URL", name)) from None


def _require_apart(source: str, target: str) -> None:
    """Refuse a target that is the source, lies in it, or holds it."""
    places = [_place(source), _place(target)]
    for one, other in (places, places[::-1]):
        if one == other or one.is_relative_to(other):
            raise UsageRefused(f"{source} and {target} are one place, or one lies in the other")


def _place(url: str) -> Path:
    """Return where a storage is, so that it can be compared; what is no URL is refused when it is opened."""
    try:
        return folder_of(url).resolve()
    except ValueError:
        return Path(url.removeprefix("s3://"))


def _tell(output: Output, done: int, count: int) -> None:
    if done % _TOLD_FILES == 0:
        output.say(f"{done} of {count} files are there")


def _text(copied: Copied, target: str) -> str:
    lines = [
        f"The copy of the installation {copied.installation_id} is whole.",
        f"In it: {copied.files} files, {copied.size_bytes / 1e6:.1f} MB, each read back and equal.",
        f"Copied: {copied.copied_files} files, {copied.copied_bytes / 1e6:.1f} MB; the others were there.",
        f"SHA-256 of the list of all SHA-256s: {copied.sha256}",
        f"Set ATELIER_STORAGE_URL to {target} for web, control and all workers, and start them.",
    ]
    if copied.others:
        lines.insert(
            3, f"{copied.others} files of the copy are not in what was copied; the collector sees to them."
        )
    return "\n".join(lines)
