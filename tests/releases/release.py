"""Releases as they were: their code, run from its archive, and the data folder that they wrote.

`first` is the commit 87bb69b, the last one before data carried versions that later releases read. An archive
is made once and never changed; ``python -m tests.releases.write NAME COMMIT`` makes those of another release.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Release:
    """An unpacked release: `root` holds its packages."""

    root: Path

    def start(
        self, words: Sequence[str], environ: dict[str, str], *, log: Path, new_session: bool = True
    ) -> subprocess.Popen[bytes]:
        """Start ``python -m`` with this release's code; stdout and stderr go to a log."""
        with log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=self.root,
                env={**os.environ, **environ, "PYTHONPATH": str(self.root)},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=new_session,
            )


def this_release() -> Release:
    """Return the code that is being tested."""
    return Release(_FOLDER.parents[1])


def unpack_release(name: str, folder: Path) -> Release:
    """Unpack a release's code below a folder."""
    root = folder / f"release-{name}"
    _unpack(_FOLDER / f"{name}-code.tar.gz", root)
    return Release(root)


def unpack_data(name: str, folder: Path) -> Path:
    """Unpack the data folder that a release wrote, below a folder; return its path."""
    _unpack(_FOLDER / f"{name}-data.tar.gz", folder)
    return folder / "data"


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
