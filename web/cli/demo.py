"""`atelier demo`: runs one job from start to end on this machine, makes a sheet, and stops everything."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click
from PIL import Image, ImageDraw, ImageFont, ImageOps

from shared.settings import PREFIX
from shared.status import JobStatus
from shared.terminal import GivenPath, WholeNumber
from web.cli.client import ApiClient
from web.cli.follow import follow_job, report_end, save_picture
from web.cli.local.host import FolderLock, StopRequest, free_port
from web.cli.local.stack import Stack
from web.cli.output import Output, StartFailed, UpRefused, exit_code_for
from web.cli.up import local_settings, tell_weights
from web.cli.views import JobFields

_MIN_HEIGHT_PX = 256
_MAX_HEIGHT_PX = 1024
_PAPER = (250, 249, 246)
_INK = (40, 40, 40)
_EXAMPLES = Path(__file__).parents[2] / "examples"
_PICTURE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


def make_sheet(content: Path, style: Path, result: Path, out: Path) -> None:
    """Write a PNG with the three pictures; their height is the result's, within 256 to 1024 px.

    Raises:
        OSError: when a picture cannot be read or the sheet cannot be written.
    """
    pictures = [
        (name, _read(path)) for name, path in (("content", content), ("style", style), ("result", result))
    ]
    height = min(_MAX_HEIGHT_PX, max(_MIN_HEIGHT_PX, pictures[-1][1].height))
    margin, line = height // 16, height // 12
    scaled = [(name, _scaled(picture, height)) for name, picture in pictures]
    width = sum(picture.width for _, picture in scaled) + margin * (len(scaled) + 1)
    sheet = Image.new("RGB", (width, height + line + 3 * margin // 2 + margin // 2), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=line * 2 // 3)
    left = margin
    for name, picture in scaled:
        sheet.paste(picture, (left, margin))
        middle = left + picture.width // 2
        draw.text((middle, margin + height + line * 3 // 4), name, fill=_INK, font=font, anchor="mm")
        left += picture.width + margin
    sheet.save(out, format="PNG", optimize=True)


def _read(path: Path) -> Image.Image:
    """Return a picture upright, in RGB, with transparent pixels on white."""
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
        layered = upright.convert("RGBA")
    paper = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(paper, layered).convert("RGB")


def _scaled(picture: Image.Image, height: int) -> Image.Image:
    width = max(1, round(picture.width * height / picture.height))
    return picture.resize((width, height), Image.Resampling.LANCZOS)


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
    """Start the whole service on a free port, run one job over HTTP, and stop everything again.

    Leaves the final picture and a sheet (content, style, result side by side) in the --out folder.
    """
    out = out.absolute()
    result, sheet = out / "result.png", out / "sheet.png"
    options = {"steps": steps, "size": size}
    with FolderLock(out, holder="another 'atelier demo'"), StopRequest() as stop_request:
        _clear(out / "data", result, sheet)
        # Always its own data and address, even if the environment names those of a running service.
        names = ("DATABASE_URL", "STORAGE_URL", "URL")
        environ = {**os.environ, **{PREFIX + name: "" for name in names}}
        given = {"DATA_DIR": str(out / "data"), "HOST": "127.0.0.1", "PORT": str(free_port())}
        settings = local_settings(environ, given)
        own_redis = not environ.get(f"{PREFIX}REDIS_URL")
        output.say("Starting Redis, web, control and one worker …")
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
            output.say(f"Submitting {content.name} and {style.name} to {url}, {steps} steps, {size} px …")
            job = client.submit(content, style, JobFields(options, name="demo", reuse=False)).job
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
            if job.status is JobStatus.SUCCEEDED:
                save_picture(client, job, result)
                make_sheet(content, style, result, sheet)
            elif job.status is JobStatus.FAILED:
                output.say(f"The ends of the logs:\n{stack.log_tails()}")
    if job.status is JobStatus.SUCCEEDED:
        output.say(f"The final picture:   {result}", style="bold green")
        output.say(f"The sheet of all 3:  {sheet}", style="bold green")
    ctx.exit(exit_code_for(job.status))


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
