"""The commands on pictures: those of a job, and the uploaded ones that serve many jobs."""

from __future__ import annotations

from pathlib import Path

import click

from shared.terminal import GivenText, LazyGroup, WholeNumber
from web.cli.client import ApiClient
from web.cli.follow import ending_of, require_target, save_file, save_picture
from web.cli.handing_in import out_option
from web.cli.options import asset_id_of, asset_ids_of, job_argument, json_option, open_client, url_option
from web.cli.output import Output

_JPEG, _PNG = "image/jpeg", "image/png"
_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


@click.command
@job_argument
@click.option("--step", type=WholeNumber(min=1), help="The picture of the checkpoint at this step.")
@click.option("--preview", is_flag=True, help="The newest preview, a JPEG, also while the job runs.")
@click.option("--small", is_flag=True, help="In small, a JPEG: of the result, or the newest there is.")
@out_option("File or folder to save to.  [default: the ID and what it is, here]", is_png=False)
@url_option
@json_option
@click.pass_obj
def download(
    output: Output,
    job_id: str,
    *,
    step: int | None,
    preview: bool,
    small: bool,
    out: Path | None,
    url: str | None,
) -> None:
    """Download the final picture of the job ID, or another one, and check it where its hash is known.

    A file that is already there is replaced, but only by the whole picture.

    Example: atelier download ID --step 50 -o half.jpg
    """
    if preview and (step is not None or small):
        raise click.UsageError("--preview is a picture of its own: it goes without --step and --small")
    is_jpeg = preview or small
    if out is not None:
        require_target(out, *([_JPEG] if is_jpeg else [_PNG] if step is None else [_JPEG, _PNG]))
    with open_client(url) as client:
        job = client.job(client.find_job(job_id)).job
        if job is None:
            return
        if step is None and not preview and not small:
            path = save_picture(client, job, out)
            sha256 = job.outputs[0].sha256
        else:
            words: list[object] = ["preview"] if preview else []
            words += [] if step is None else ["checkpoints", step]
            words += ["thumbnail"] if small else []
            what = "-".join(str(word).removesuffix("s") for word in words)
            kind = _JPEG if is_jpeg else _checkpoint_type(client, job.id, step)
            if out is not None:
                require_target(out, kind)
            path = _target(out, f"{job.id}-{what}{ending_of(kind)}")
            sha256 = save_file(client, client.picture_path(job.id, *words), path)
    output.answer({"job_id": job.id, "path": str(path), "sha256": sha256}, str(path))


@click.command
@job_argument
@url_option
@json_option
@click.pass_obj
def checkpoints(output: Output, job_id: str, *, url: str | None) -> None:
    """List the checkpoints of the job ID: what 'fork' and 'download --step' begin with.

    Of many, only some keep the state that a fork needs; of the others there are the pictures.
    """
    with open_client(url) as client:
        document = client.about(client.find_job(job_id), "checkpoints")
    rows = [
        f"{item['step']:>6}  attempt {item['attempt']}  loss {_loss(item)}  {item['created_at']}"
        # A service of an earlier release keeps the states of all.
        + ("" if item.get("has_state", True) else "  picture only")
        for item in document["checkpoints"]
    ]
    output.answer(document, "\n".join(rows))
    if not rows:
        output.say("It has no checkpoints.")


def _checkpoint_type(client: ApiClient, job_id: str, step: int | None) -> str:
    """Return the type of a checkpoint's picture; a service of an earlier release has PNGs, and does not say.

    Of a checkpoint that is not there, the service says so when it is asked for.
    """
    listed = client.about(job_id, "checkpoints")["checkpoints"]
    return next((str(item.get("content_type", _PNG)) for item in listed if item["step"] == step), _JPEG)


def _loss(item: dict[str, object]) -> str:
    losses = item.get("losses")
    total = losses.get("total") if isinstance(losses, dict) else None
    return "–" if total is None else f"{total:.4g}"


@click.group(
    cls=LazyGroup,
    table={
        "upload": ("web.cli.pictures:upload", "Upload pictures, and print the id of each."),
        "show": ("web.cli.pictures:show", "Show what is known of an uploaded picture."),
        "download": ("web.cli.pictures:download_asset", "Download an uploaded picture."),
        "list": ("web.cli.pictures:list_assets", "List uploaded pictures, newest first."),
        "star": ("web.cli.pictures:star", "Star uploaded pictures: they are kept, and at hand as styles."),
        "unstar": ("web.cli.pictures:unstar", "Take the star off uploaded pictures."),
    },
)
def asset() -> None:
    """Pictures that are uploaded once and serve any number of jobs.

    'atelier submit asset:ID asset:ID' takes them in the place of files.
    """


@click.command
@click.argument("files", type=_FILE, nargs=-1, required=True)
@url_option
@json_option
@click.pass_obj
def upload(output: Output, files: tuple[Path, ...], *, url: str | None) -> None:
    """Upload each of FILES, and print the ids of their assets, one a line; the same bytes are one asset."""
    with open_client(url) as client:
        assets = [client.upload(file) for file in files]
    output.answer({"assets": assets}, "\n".join(str(asset["id"]) for asset in assets))


_asset_argument = click.argument("asset_id", metavar="ID", type=GivenText(), callback=asset_id_of)


@click.command
@_asset_argument
@url_option
@json_option
@click.pass_obj
def show(output: Output, asset_id: str, *, url: str | None) -> None:
    """Show the uploaded picture ID: its file's name, type, size and hash."""
    with open_client(url) as client:
        document = client.asset(asset_id)
    rows = [
        ("id", document["id"]),
        ("file", document["filename"]),
        ("type", document["content_type"]),
        ("size", f"{document['width']} × {document['height']} px, {document['size_bytes']} bytes"),
        ("sha256", document["sha256"]),
        ("created", document["created_at"]),
        ("starred", document.get("starred_at") or "no"),
    ]
    output.answer(document, "\n".join(f"{label:<10} {value}" for label, value in rows))


@click.command("download")
@_asset_argument
@click.option("--small", is_flag=True, help="In small, a JPEG.")
@out_option("File or folder to save to.  [default: the ID, here]", is_png=False)
@url_option
@json_option
@click.pass_obj
def download_asset(output: Output, asset_id: str, *, small: bool, out: Path | None, url: str | None) -> None:
    """Download the uploaded picture ID, byte by byte as it was uploaded."""
    with open_client(url) as client:
        document = client.asset(asset_id)
        content_type = _JPEG if small else str(document["content_type"])
        if out is not None:
            require_target(out, content_type)
        ending = ending_of(content_type)
        path = _target(out, f"{document['id']}{'-thumbnail' if small else ''}{ending}")
        sha256 = None if small else str(document["sha256"])
        found = save_file(
            client,
            client.asset_path(str(document["id"]), "thumbnail" if small else "content"),
            path,
            sha256=sha256,
        )
    output.answer({"asset_id": document["id"], "path": str(path), "sha256": found}, str(path))


@click.command("list")
@click.option("--starred", is_flag=True, help="Only those that are starred.")
@click.option("--limit", type=WholeNumber(1, 10_000), default=20, show_default=True, help="How many at most.")
@url_option
@json_option
@click.pass_obj
def list_assets(output: Output, *, starred: bool, limit: int, url: str | None) -> None:
    """List uploaded pictures, newest first: id, star, size and file's name."""
    with open_client(url) as client:
        assets = client.assets(starred=starred, limit=limit)
    rows = []
    for item in assets:
        size = f"{item['width']} × {item['height']}"
        rows.append(f"{item['id']}  {'★' if item['starred_at'] else ' '}  {size:>13}  {item['filename']}")
    output.answer({"assets": assets}, "\n".join(rows))
    if not rows:
        output.say("No picture is starred." if starred else "There are no pictures yet.")


_asset_arguments = click.argument(
    "asset_ids", metavar="ID...", type=GivenText(), nargs=-1, required=True, callback=asset_ids_of
)


@click.command
@_asset_arguments
@url_option
@json_option
@click.pass_obj
def star(output: Output, asset_ids: tuple[str, ...], *, url: str | None) -> None:
    """Star each uploaded picture ID: it is kept without a job, too, and at hand as a style on 'New job'."""
    with open_client(url) as client:
        assets = [client.star(asset_id) for asset_id in asset_ids]
    output.answer({"assets": assets}, "\n".join(str(asset["id"]) for asset in assets))


@click.command
@_asset_arguments
@url_option
@json_option
@click.pass_obj
def unstar(output: Output, asset_ids: tuple[str, ...], *, url: str | None) -> None:
    """Take the star off each uploaded picture ID. One that no job uses is removed after some hours."""
    with open_client(url) as client:
        assets = [client.unstar(asset_id) for asset_id in asset_ids]
    output.answer({"assets": assets}, "\n".join(str(asset["id"]) for asset in assets))


def _target(out: Path | None, name: str) -> Path:
    """Return the file to write: `out`, or the one of a name in it if it is a folder."""
    target = out or Path()
    return target / name if target.is_dir() else target
