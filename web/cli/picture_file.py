"""Bringing a job's final picture to a file: whole, checked, or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import click

from shared.errors import NotReady
from web.cli.client import ApiClient
from web.cli.errors import DownloadDamaged
from web.cli.job_view import JobView


def save_picture(client: ApiClient, job: JobView, out: Path | None) -> Path:
    """Download a job's first output and return where it lies.

    `out` is a file, or a folder to put ``<job id>.png`` into; None is the current folder. A file of that name
    is replaced, in one go, once all bytes are there and have the hash that the job names.

    Raises:
        NotReady: when the job has no output.
        DownloadDamaged: when other bytes arrive than the job made.
    """
    if not job.outputs:
        raise NotReady(f"job {job.id} is {job.status.value}: it has no picture to download")
    output = job.outputs[0]
    target = out or Path()
    if target.is_dir():
        target /= f"{job.id}{Path(output.name).suffix or '.png'}"
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as file:
            for piece in client.download(output.url):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != output.sha256:
            raise DownloadDamaged(
                f"the picture of job {job.id} arrived with SHA-256 {digest.hexdigest()}, "
                f"the job names {output.sha256}; nothing was written to {target}"
            )
        partial.replace(target)
    except OSError as error:
        raise click.FileError(str(target), error.strerror or str(error)) from error
    finally:
        partial.unlink(missing_ok=True)
    return target
