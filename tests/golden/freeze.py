"""Freezes what the program shows of itself: ``python -m tests.golden.freeze`` writes the files anew."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from pathlib import Path

from tests.golden.shown import all_shown

FROZEN = Path(__file__).with_name("frozen")


def frozen() -> dict[str, str]:
    """Return the golden files by their name."""
    return {
        str(path.relative_to(FROZEN)): path.read_text()
        for path in sorted(FROZEN.rglob("*"))
        if path.is_file()
    }


def main() -> None:
    shutil.rmtree(FROZEN, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        everything = all_shown(Path(folder))
    for name, shown in everything.items():
        path = FROZEN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shown)


if __name__ == "__main__":
    main()
