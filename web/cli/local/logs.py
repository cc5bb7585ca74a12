"""The short view of the children's logs for the console."""

from __future__ import annotations

import json
import os
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import IO

from rich.text import Text

_OWN_LOGGERS = ("shared.", "web.", "worker.")
_HIDDEN_PARTS = frozenset({"event", "level", "logger", "timestamp", "request_id", "exception", "stack"})
#: Events that are logged for every report or every job; too many for the console.
_ROUTINE = frozenset({"report_applied", "weights_notice"})
_MAX_CHARACTERS = 300


class LogView:
    """Reads new lines of some logs, also where a new file was begun, and returns those worth showing.

    As a context: it holds the file that it reads open, so that this is known again among those of the log,
    whatever its name is by then.
    """

    def __init__(self) -> None:
        self._files: dict[Path, IO[bytes] | None] = {}
        self._last: dict[Path, str] = {}

    def __enter__(self) -> LogView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in filter(None, self._files.values()):
            file.close()
        self._files.clear()

    def skip_to_end(self, log: Path) -> None:
        """Show only what is added to this log from now on."""
        held = self._files.get(log)
        if held is not None:
            held.close()
        self._files[log] = file = _open(log)
        if file is not None:
            file.seek(0, os.SEEK_END)

    def new_lines(self) -> list[tuple[str, str]]:
        """Return (name of the log, short line) for each new line worth showing, but none twice in a row."""
        found = []
        for log in self._files:
            for line in filter(is_worth_showing, self._read(log)):
                short = shorten(line)
                if short != self._last.get(log):
                    self._last[log] = short
                    found.append((log.stem, short))
        return found

    def _read(self, log: Path) -> list[str]:
        held = self._files[log]
        newer = _newer_files(log, held)
        # After they were looked for: nothing is added to it any more if there are some.
        lines = _rest_of(held) if held is not None else []
        for file in newer:
            lines += _rest_of(file)
            if held is not None:
                held.close()
            self._files[log] = held = file
        return lines


def _newer_files(log: Path, held: IO[bytes] | None) -> list[IO[bytes]]:
    """Return the files of a log that were begun after the one that is held, oldest first.

    Without one that is held it is the youngest. If what was held is removed by now, all that there are came
    after it.
    """
    found: dict[int, IO[bytes]] = {}
    for path in chain([log], (log.with_name(f"{log.name}.{age}") for age in count(1))):
        file = _open(path)
        if file is None:
            break
        number = _inode(file)
        if number in found or (held is not None and number == _inode(held)):
            file.close()
            if number not in found:
                break
            continue  # another file was begun between two looks
        found[number] = file
        if held is None:
            break
    return list(reversed(found.values()))


def _open(path: Path) -> IO[bytes] | None:
    try:
        return path.open("rb")
    except OSError:
        return None


def _inode(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_ino


def _rest_of(file: IO[bytes]) -> list[str]:
    """Return the lines that were not read yet; one that is half written is left."""
    start = file.tell()
    whole, separator, _ = file.read().rpartition(b"\n")
    file.seek(start + len(whole) + len(separator))
    return whole.decode(errors="replace").splitlines()


def is_worth_showing(line: str) -> bool:
    """Whether a line is a warning, an error, or an event of our own loggers; False for all other output."""
    record = _parse(line)
    if record is None or record["event"] in _ROUTINE:
        return False
    if record["event"] == "request" and record.get("method") in ("GET", "HEAD"):
        return False  # a browser or a client that follows a job asks several times a second
    level = str(record.get("level", ""))
    if level in ("warning", "error", "critical"):
        return True
    return level == "info" and str(record.get("logger", "")).startswith(_OWN_LOGGERS)


def shorten(line: str) -> str:
    """Return a log line in short form: event and values; other output as plain text."""
    record = _parse(line)
    if record is None:
        return Text.from_ansi(line).plain[:_MAX_CHARACTERS]
    values = " ".join(
        f"{key}={value}" for key, value in record.items() if key not in _HIDDEN_PARTS and value is not None
    )
    last = str(record.get("exception", "")).strip().rpartition("\n")[2]
    return " · ".join(part for part in (str(record.get("event", "")), values, last) if part)[:_MAX_CHARACTERS]


def _parse(line: str) -> dict[str, object] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "event" in record else None
