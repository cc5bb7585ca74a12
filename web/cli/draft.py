"""`atelier draft`: what one content gives with several styles, in seconds, as pictures and as a sheet."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from uuid import uuid4

import click

from shared.options import Method, parse_assignments, parse_options
from shared.status import JobKind, JobStatus
from shared.terminal import GivenPath, format_took
from web.cli.client import ApiClient
from web.cli.follow import follow_job, report_end, require_target, save_file
from web.cli.options import (
    PictureType,
    StyleCommand,
    json_option,
    open_client,
    style_option,
    timeout_option,
    url_option,
)
from web.cli.output import ExitCode, Output, TargetRefused, exit_code_for
from web.cli.sheet import make_sheet
from web.cli.views import JobFields, JobView

_SHEET = "sheet.png"


@click.command(cls=StyleCommand)
@click.argument("content", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.argument("styles", metavar="STYLE…", type=PictureType(), nargs=-1, required=True)
@style_option
@click.option(
    "-o",
    "--out",
    type=GivenPath(file_okay=False),
    required=True,
    help="Folder for the drafts and a sheet of them; made if it is not there.",
)
@timeout_option
@url_option
@json_option
@click.pass_obj
@click.pass_context
def draft(
    ctx: click.Context,
    output: Output,
    content: Path,
    styles: tuple[Path | str, ...],
    *,
    assignments: tuple[str, ...],
    out: Path,
    timeout: float,
    url: str | None,
) -> None:
    """Make a draft of the picture CONTENT in the style of each STYLE, by the method 'fast'.

    Leaves a picture for each style in the --out folder, named as the style, and a sheet of all. Drafts are
    removed from the service after a day; 'atelier keep ID' makes a job of one.

    Example: atelier draft photo.jpg paintings/*.jpg -o drafts
    """
    options = {"method": Method.FAST.value, **parse_assignments(assignments)}
    parse_options(options)  # refuses at once what the service would refuse
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetRefused(f"the folder '{out}' cannot be made: {error.strerror}") from error
    require_target(out)
    made: list[tuple[str, Path]] = []
    jobs: list[JobView] = []
    with open_client(url) as client:
        # Once, not with each style; the same bytes are the same asset.
        content_id = str(client.upload(content)["id"])
        names = _file_names(styles)
        for style, name in zip(styles, names, strict=True):
            started = monotonic()
            job = _draft(client, content_id, style, options, output=output, timeout_seconds=timeout)
            jobs.append(job)
            if job.status is not JobStatus.SUCCEEDED:
                report_end(job, output)
                continue
            target = out / f"{name}.png"
            save_file(client, job.outputs[0].url, target, sha256=job.outputs[0].sha256)
            made.append((name, target))
            output.say(f"{target} in {format_took(monotonic() - started)}.", style="green")
    if made:
        try:
            make_sheet([("content", content), *made], out / _SHEET)
            output.say(f"The sheet of all: {out / _SHEET}", style="green")
        except OSError as error:  # a HEIC that only the service reads, or a disk that is full
            output.say(f"There is no sheet of all: {error}", style="yellow")
    output.answer({"jobs": [job.document for job in jobs]}, "\n".join(str(target) for _, target in made))
    ctx.exit(max((exit_code_for(job.status) for job in jobs), default=ExitCode.OK))


def _draft(
    client: ApiClient,
    content_id: str,
    style: Path | str,
    options: dict[str, object],
    *,
    output: Output,
    timeout_seconds: float,
) -> JobView:
    """Submit one draft and return it as it ended."""
    style_id = str(client.upload(style)["id"]) if isinstance(style, Path) else style
    fields = JobFields(options, kind=JobKind.DRAFT)
    job = client.submit(content_id, style_id, fields, idempotency_key=str(uuid4()), wait_seconds=5).job
    if job.status.is_final:
        return job
    return follow_job(client, job.id, output=output, timeout_seconds=timeout_seconds)


def _file_names(styles: tuple[Path | str, ...]) -> list[str]:
    """Return a name for each style's draft: the style's own, with a number where another has it already."""
    names: list[str] = []
    for style in styles:
        stem = style.stem if isinstance(style, Path) else style
        taken = {*names, Path(_SHEET).stem}
        name = next(
            one for number in range(1, len(styles) + 2) if (one := _numbered(stem, number)) not in taken
        )
        names.append(name)
    return names


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem}-{number}"
