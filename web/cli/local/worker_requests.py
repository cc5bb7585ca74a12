"""Requests to a running `atelier up` for another worker, or for one that ended, as files in its data folder.

Whoever may write there may start processes as `up` does. A request is a file with one line; `up` answers with
another one beside it, and removes the request.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from shared.errors import AtelierError
from shared.protocol import new_id
from web.cli.local.host import FolderLock
from web.cli.output import CliError, UpRefused

_FOLDER = "worker-requests"
_ANSWER = ".answer"
_LOOK_SECONDS = 0.05
#: It looks several times a second, but may be in the middle of starting something.
_ANSWER_SECONDS = 30.0


def ask_up(data_dir: Path, request: str) -> str:
    """Ask the `up` that works on a data folder; return what it says.

    Raises:
        UpRefused: when there is none, when it does not answer, or with why it does not do it.
    """
    if not data_dir.is_dir() or _is_free(data_dir):
        raise UpRefused(
            f"no 'atelier up' works on {data_dir}: name its folder with --data-dir; beside a service that "
            "was started otherwise, start a worker with 'atelier-worker run' and the service's settings"
        )
    path = data_dir / _FOLDER / new_id()
    answer = path.with_name(path.name + _ANSWER)
    try:
        path.parent.mkdir(exist_ok=True)
        _write(path, request)
        deadline = monotonic() + _ANSWER_SECONDS
        while not answer.exists():
            if monotonic() > deadline:
                raise UpRefused(f"the 'atelier up' on {data_dir} does not answer; what it shows tells why")
            sleep(_LOOK_SECONDS)
        verdict, _, said = answer.read_text().partition(" ")
    except OSError as error:
        raise UpRefused(f"the folder {data_dir} cannot be used: {error.strerror}") from error
    finally:
        for left in (path, answer):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)
    if verdict != "yes":
        raise UpRefused(said)
    return said


def forget_requests(data_dir: Path) -> None:
    """Remove what was asked of an earlier `up`."""
    for path in _files(data_dir):
        path.unlink(missing_ok=True)


def answer_requests(data_dir: Path, carry_out: Callable[[str], str]) -> None:
    """Carry out what is asked for, and answer; `carry_out` raises an error of ours to refuse."""
    for path in _files(data_dir):
        if path.suffix:
            continue  # an answer, or a request that is being written
        try:
            said = f"yes {carry_out(path.read_text().strip())}"
        except (AtelierError, CliError) as error:
            said = f"no {error.detail}"
        except OSError:
            continue  # whoever asked has given up
        with contextlib.suppress(OSError):
            _write(path.with_name(path.name + _ANSWER), said)
            path.unlink(missing_ok=True)


def _files(data_dir: Path) -> list[Path]:
    try:
        return sorted((data_dir / _FOLDER).iterdir())
    except OSError:
        return []


def _write(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


def _is_free(folder: Path) -> bool:
    try:
        with FolderLock(folder, holder="a look"):
            return True
    except UpRefused:
        return False
