"""The short view of the children's logs for the console."""

from __future__ import annotations

import json
from pathlib import Path

from rich.text import Text

_OWN_LOGGERS = ("shared.", "web.", "worker.")
_HIDDEN_PARTS = frozenset({"event", "level", "logger", "timestamp", "request_id", "exception", "stack"})
#: Events that are logged for every report or every job; too many for the console.
_ROUTINE = frozenset({"report_applied", "weights_notice"})
_MAX_CHARACTERS = 300


class LogView:
    """Reads new lines of some logs, and returns those worth showing."""

    def __init__(self) -> None:
        self._places: dict[Path, int] = {}
        self._last: dict[Path, str] = {}

    def skip_to_end(self, log: Path) -> None:
        """Show only what is added to this log from now on."""
        self._places[log] = log.stat().st_size if log.exists() else 0

    def new_lines(self) -> list[tuple[str, str]]:
        """Return (name of the log, short line) for each new line worth showing, but none twice in a row."""
        found = []
        for log in self._places:
            for line in filter(is_worth_showing, self._read(log)):
                short = shorten(line)
                if short != self._last.get(log):
                    self._last[log] = short
                    found.append((log.stem, short))
        return found

    def _read(self, log: Path) -> list[str]:
        try:
            with log.open("rb") as file:
                file.seek(self._places[log])
                data = file.read()
        except OSError:
            return []
        whole, separator, _ = data.rpartition(b"\n")  # a line may be half written
        self._places[log] += len(whole) + len(separator)
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
