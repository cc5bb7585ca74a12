"""Following a job until it ends, and downloading its picture: complete and checked, or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from rich.markup import escape

from shared.errors import NotReady
from shared.status import JobStatus
from shared.terminal import StepBar, format_took
from web.cli.client import ApiClient
from web.cli.output import DownloadDamaged, Output, ServiceProblem, ServiceUnreachable, TargetRefused
from web.cli.views import JobAnswer, JobView

_WAIT_SECONDS = 20
_SHORTEST_ROUND_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
#: How the names of pictures end, by their media types.
_ENDINGS = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/webp": (".webp",),
    "image/gif": (".gif",),
    "image/bmp": (".bmp", ".dib"),
    "image/tiff": (".tif", ".tiff"),
    "image/avif": (".avif",),
    "image/heic": (".heic", ".heif"),
    "image/heif": (".heif", ".heic"),
}
_PNG = "image/png"


def save_picture(client: ApiClient, job: JobView, out: Path | None) -> Path:
    """Download a job's first output and return its path.

    `out` is a file, or a folder to put ``<job id>.png`` into; None is the current folder. An existing file is
    replaced atomically, after all bytes have arrived and match the job's SHA-256.

    Raises:
        NotReady: when the job has no output.
        TargetRefused: when it cannot be written there.
        DownloadDamaged: when the bytes do not match the job's SHA-256.
    """
    if not job.outputs:
        raise NotReady(f"job {job.id} is {job.status.value}: it has no picture to download")
    output = job.outputs[0]
    target = out or Path()
    if target.is_dir():
        target /= f"{job.id}{Path(output.name).suffix or '.png'}"
    save_file(client, output.url, target, sha256=output.sha256)
    return target


def save_file(client: ApiClient, url: str, target: Path, *, sha256: str | None = None) -> str:
    """Download a file into `target`, whole or not at all, and return its SHA-256.

    Raises:
        TargetRefused: when it cannot be written there.
        DownloadDamaged: when the bytes do not match a given SHA-256.
    """
    digest = hashlib.sha256()
    try:
        with _piece_beside(target) as piece:
            with piece.open("wb") as file:
                for data in client.download(url):
                    digest.update(data)
                    file.write(data)
            if sha256 is not None and digest.hexdigest() != sha256:
                raise DownloadDamaged(
                    f"the picture arrived with SHA-256 {digest.hexdigest()}, the service names {sha256}; "
                    f"nothing was written to {target}"
                )
            piece.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    return digest.hexdigest()


def ending_of(content_type: str) -> str:
    """Return how the name of a picture of a media type ends."""
    return _ENDINGS.get(content_type, ("",))[0]


def require_target(out: Path, *content_types: str) -> None:
    """Prove that a picture can be written as the file `out`, or into it if it is a folder.

    The picture is of one of the types; a PNG if none is named.

    Raises:
        TargetRefused: when it cannot, or would not be what its name says.
    """
    if str(out) == "-":
        raise TargetRefused("the picture cannot go to standard output, which has the answer: name a file")
    kinds = content_types or (_PNG,)
    endings = {ending for kind in kinds for ending in _ENDINGS.get(kind, ())}
    known = {ending for ends in _ENDINGS.values() for ending in ends}
    if out.suffix.lower() in known - endings and not out.is_dir():
        what = " or a ".join(kind.removeprefix("image/").upper() for kind in kinds)
        raise TargetRefused(
            f"'{out}' would hold a {what}, whatever its name says: let it end in "
            f"{' or '.join(map(ending_of, kinds))}, and convert it afterwards"
        )
    try:
        kind = out.stat().st_mode if out.exists() else None
        if kind is not None and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise TargetRefused(f"'{out}' is neither a file nor a folder")
        with _piece_beside(out / "picture.png" if out.is_dir() else out) as piece:
            piece.touch()
    except OSError as error:
        raise _unwritable(out, error) from error


@contextmanager
def _piece_beside(target: Path) -> Iterator[Path]:
    """Give the path of a file for what has arrived of `target`; it is removed in the end, if it is there."""
    if not target.parent.is_dir():
        raise TargetRefused(f"the folder '{target.parent}' does not exist, and '{target}' was to go there")
    piece = target.with_name(f".atelier-{os.getpid()}.part")
    try:
        yield piece
    finally:
        piece.unlink(missing_ok=True)


def _unwritable(target: Path, error: OSError) -> TargetRefused:
    return TargetRefused(f"'{target}' cannot be written: {error.strerror or error}")


def follow_job(
    client: ApiClient,
    job_id: str,
    *,
    output: Output,
    timeout_seconds: float = 60,
    wait_seconds: int = _WAIT_SECONDS,
    while_waiting: Callable[[], None] = lambda: None,
    will_stay: bool = True,
) -> JobView:
    """Show a job's progress bar until it ends, and return the ended job.

    Waits for a service that is unavailable for less than `timeout_seconds` at a time. Calls `while_waiting`
    at least every `wait_seconds`, and passes on its errors. Links into a service that will not stay after the
    job are left out.

    Raises:
        ServiceUnreachable: when the service is unavailable for longer.
        ServiceProblem: when it refuses, for instance because there is no such job.
    """
    patience = _Patience(timeout_seconds, output, while_waiting)
    answer = patience.ask(partial(client.job, job_id))
    job = answer.job
    said: set[str] = set()
    with StepBar(output.err, title=_title(job)) as bar:
        while True:
            if job is not None:
                if job.notice and job.notice not in said:
                    said.add(job.notice)
                    link = f" ({client.url}/docs#untrained-weights)" if will_stay else ""
                    output.say(f"Notice: {job.notice}{link}", style="yellow")
                if job.hindrance and job.hindrance not in said:
                    said.add(job.hindrance)
                    output.say(job.hindrance, style="yellow")
                if job.step or job.status is JobStatus.SUCCEEDED:
                    bar.update(job.step, job.steps, loss=job.loss, seconds_left=job.seconds_left)
                if job.status.is_final:
                    return job
            while_waiting()
            started = monotonic()
            answer = patience.ask(partial(client.job, job_id, etag=answer.etag, wait_seconds=wait_seconds))
            job = answer.job
            # Each step changes the answer: limited to about five requests a second.
            sleep(max(0.0, _SHORTEST_ROUND_SECONDS - (monotonic() - started)))


def report_end(job: JobView, output: Output) -> None:
    """Say how a followed job ended."""
    if job.status is JobStatus.SUCCEEDED:
        took = "" if job.run_seconds is None else f" in {format_took(job.run_seconds)}"
        output.say(f"Job {job.id} succeeded{took}.", style="green")
        return
    output.say(f"Job {job.id} {'was ' if job.status is JobStatus.CANCELED else ''}{job.status.value}.")
    for part in ("detail", "suggestion"):
        if job.error.get(part):
            output.say(str(job.error[part]), style="bold red" if part == "detail" else None)


class _Patience:
    """Retries requests with growing pauses while the service is unavailable or failing."""

    def __init__(self, timeout_seconds: float, output: Output, while_waiting: Callable[[], None]) -> None:
        self._timeout_seconds = timeout_seconds
        self._output = output
        self._while_waiting = while_waiting

    def ask(self, request: Callable[[], JobAnswer]) -> JobAnswer:
        """Return the answer; when the time is over, raise the error of the last try."""
        since = monotonic()
        pause = _SHORTEST_ROUND_SECONDS
        while True:
            try:
                return request()
            except (ServiceUnreachable, ServiceProblem) as error:
                ill = isinstance(error, ServiceUnreachable) or error.status >= 500 or error.status == 429
                if not ill or monotonic() - since + pause > self._timeout_seconds:
                    raise
                if pause == _SHORTEST_ROUND_SECONDS:
                    self._output.say(f"{error.detail}; asking again.", style="yellow")
            self._while_waiting()
            sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _title(job: JobView | None) -> str:
    name = "job" if job is None else job.name
    return escape(name if len(name) <= 24 else name[:23] + "…")
