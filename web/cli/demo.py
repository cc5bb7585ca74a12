"""`atelier demo`: runs one job from start to end on this machine, makes a sheet, and stops everything."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from shared.settings import PREFIX
from shared.status import JobKind, JobStatus
from shared.terminal import GivenPath, WholeNumber, format_took
from web.cli.client import ApiClient
from web.cli.follow import follow_job, report_end, save_picture
from web.cli.local.host import FolderLock, StopRequest, free_port
from web.cli.local.stack import Stack
from web.cli.output import Output, StartFailed, UpRefused, exit_code_for
from web.cli.sheet import make_sheet
from web.cli.up import local_settings, tell_weights
from web.cli.views import JobFields, JobView

_EXAMPLES = Path(__file__).parents[2] / "examples"
_PICTURE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


@click.command
@click.option(
    "--content",
    type=_PICTURE,
    default=_EXAMPLES / "content.png",
    help="Content picture. [default: an example]",
)
@click.option(
    "--style", type=_PICTURE, default=_EXAMPLES / "style.png", help="Style picture. [default: an example]"
)
@click.option("--steps", type=WholeNumber(1, 2000), default=100, show_default=True, help="Steps of the job.")
@click.option(
    "--size",
    type=WholeNumber(32, 4096),
    default=256,
    show_default=True,
    help="Long side of the result, in px.",
)
@click.option(
    "-o",
    "--out",
    type=GivenPath(file_okay=False),
    default=Path("build/demo"),
    show_default=True,
    help="Folder for the pictures and, while it runs, for all data; data of an earlier run is removed.",
)
@click.pass_obj
@click.pass_context
def demo(
    ctx: click.Context, output: Output, *, content: Path, style: Path, steps: int, size: int, out: Path
) -> None:
    """Start the whole service on a free port, make a draft and a job over HTTP, and stop everything again.

    Leaves draft, final picture and a sheet (content, style, draft, result side by side) in the --out folder.
    """
    out = out.absolute()
    drafted, result, sheet = out / "draft.png", out / "result.png", out / "sheet.png"
    options = {"steps": steps, "size": size}
    with FolderLock(out, holder="another 'atelier demo'"), StopRequest() as stop_request:
        _clear(out / "data", drafted, result, sheet)
        # Always its own data and address, even if the environment names those of a running service.
        names = ("DATABASE_URL", "STORAGE_URL", "URL")
        environ = {**os.environ, **{PREFIX + name: "" for name in names}}
        given = {"DATA_DIR": str(out / "data"), "HOST": "127.0.0.1", "PORT": str(free_port())}
        settings = local_settings(environ, given)
        own_redis = not environ.get(f"{PREFIX}REDIS_URL")
        output.say("Starting Redis, web, control, one worker, and one for drafts …")
        with (
            Stack(
                settings,
                environ=environ,
                workers=1,
                own_redis=own_redis,
                output=output,
                stop_request=stop_request,
                show_logs=False,
            ) as stack,
            ApiClient(settings.local_url) as client,
        ):
            beat = stack.wait_for_worker()
            if beat is None:
                raise StartFailed(f"the worker did not become ready:\n{stack.log_tails()}")
            tell_weights(beat, settings, output)
            url = settings.local_url
            pictures = [("content", content), ("style", style)]
            output.say(f"Drafting {content.name} and {style.name} …")
            draft = client.submit(
                content, style, JobFields({"size": size}, name="demo", kind=JobKind.DRAFT), wait_seconds=5
            ).job
            draft = _follow(client, draft, stack, output)
            if draft.status is JobStatus.SUCCEEDED:
                save_picture(client, draft, drafted)
                pictures.append((_said("draft", draft), drafted))
            output.say(f"Submitting {content.name} and {style.name} to {url}, {steps} steps, {size} px …")
            job = client.submit(content, style, JobFields(options, name="demo", reuse=False)).job
            job = _follow(client, job, stack, output)
            if job.status is JobStatus.SUCCEEDED:
                save_picture(client, job, result)
                make_sheet([*pictures, (_said("result", job), result)], sheet)
            elif job.status is JobStatus.FAILED:
                output.say(f"The ends of the logs:\n{stack.log_tails()}")
    if job.status is JobStatus.SUCCEEDED:
        output.say(f"The final picture:   {result}", style="bold green")
        output.say(f"The sheet of all {len(pictures) + 1}:  {sheet}", style="bold green")
    ctx.exit(exit_code_for(job.status))


def _follow(client: ApiClient, job: JobView, stack: Stack, output: Output) -> JobView:
    """Follow a job to its end, and say how it ended and how long it took."""
    job = follow_job(
        client,
        job.id,
        output=output,
        wait_seconds=1,
        timeout_seconds=30,
        while_waiting=stack.tick,
        will_stay=False,
    )
    report_end(job, output)
    return job


def _said(what: str, job: JobView) -> str:
    """Return what stands below a picture of the sheet: what it is, and how long it took."""
    return what if job.run_seconds is None else f"{what}, {format_took(job.run_seconds)}"


def _clear(data: Path, *pictures: Path) -> None:
    """Remove the data and pictures of an earlier run."""
    try:
        for picture in pictures:
            picture.unlink(missing_ok=True)
        if data.exists():
            # A guard may still be stopping the processes of a killed run.
            with FolderLock(data, holder="another 'atelier demo'"):
                shutil.rmtree(data)
    except OSError as error:
        raise UpRefused(f"what an earlier run left cannot be removed: {error}") from error
