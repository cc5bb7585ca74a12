"""The process that writes the logs of a service's processes; a separate script, standard library only.

Standard input is a socket: each message on it is one line of JSON that names a log, with the descriptor from
which it is to be read; the answer is one byte once the file is there. It ends when that socket and all logs
have ended, so it outlives a supervisor that is killed, until the last child has said its last word.

What is read stays where it is until it is in the file (`MSG_PEEK`): who looks into the socket and finds
nothing knows that all is written, and if this process is killed its successor begins with what was not. What
it wrote in its last moment may then be there twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

_CHUNK_BYTES = 1 << 18
_MESSAGE_BYTES = 1 << 16
#: A line that has not ended after so much beyond the limit is broken, since it may never end.
_LONGEST_LINE_BYTES = 1 << 20
_PRIVATE_FILE = 0o600


def main() -> None:
    """Write until nobody has anything to say any more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    control = socket.socket(fileno=0)
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if isinstance(key.data, Source):
                    if not key.data.take():
                        selector.unregister(key.fileobj)
                elif not _listen(control, selector):
                    selector.unregister(control)


def _listen(control: socket.socket, selector: selectors.BaseSelector) -> bool:
    """Begin to read what a message asks for; False when there will be no more messages."""
    text, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 1)
    if not text:
        return False
    asked = json.loads(text)
    log = LogFile(Path(asked["path"]), most_bytes=asked["bytes"], older=asked["files"])
    log.begin(anew=asked["anew"])
    source = Source(socket.socket(fileno=descriptors[0]), log)
    selector.register(source.socket, selectors.EVENT_READ, source)
    with contextlib.suppress(OSError):  # who asked may be gone; who writes may be not
        control.send(b".")
    return True


class Source:
    """Where the lines of a log come from."""

    def __init__(self, there: socket.socket, log: LogFile) -> None:
        self.socket = there
        self._log = log

    def take(self) -> bool:
        """Write what there is to read; False when there will be no more."""
        data = self.socket.recv(_CHUNK_BYTES, socket.MSG_PEEK)
        self._log.write(data)
        written = len(data)
        while written:
            written -= len(self.socket.recv(written))
        return bool(data)


def fitting(data: bytes, *, room: int, is_empty: bool, in_line: bool) -> int:
    """Return how many bytes of `data` go into a file with `room` bytes left; the rest goes into the next one.

    A file ends with a line, unless that is one without an end. So it may be larger than allowed by the end of
    one line, of which the beginning was written before; and by a line that is longer than what is allowed.

    Args:
        data: What is to be written.
        room: Bytes that the file may still grow; negative when it is too large.
        is_empty: Whether there is nothing in the file.
        in_line: Whether the last line in the file has not ended.
    """
    if len(data) <= room:
        return len(data)
    whole = data.rfind(b"\n", 0, max(room, 0)) + 1
    if whole or not (is_empty or in_line):
        return whole
    if room < -_LONGEST_LINE_BYTES:
        return 0
    return data.find(b"\n") + 1 or len(data)


class LogFile:
    """A log: the file that is written, and the older ones beside it, `.1` the youngest of them."""

    def __init__(self, path: Path, *, most_bytes: int, older: int) -> None:
        """Prepare it; `older` files are kept beside the one of at most `most_bytes`."""
        self._path = path
        self._most_bytes = most_bytes
        self._older = older
        self._in_line = False
        self._lost_lines = 0
        self._lost_why = ""
        self._fd: int | None = None

    def begin(self, *, anew: bool) -> None:
        """Make the file; `anew` puts what is there among the older ones."""
        try:
            if self._size() and anew:
                self._rotate()
            self._file()
            for number in self._numbers():
                if number > self._older:
                    self._numbered(number).unlink()
        except OSError as error:
            self._note_lost(0, error)

    def write(self, data: bytes) -> None:
        """Write it, into as many files as it takes.

        What the disk refuses is lost: the process that logs must not wait for room. The log says how much.
        """
        while data:
            try:
                size = self._size()
                count = fitting(data, room=self._most_bytes - size, is_empty=size == 0, in_line=self._in_line)
                if count == 0:
                    self._rotate()
                    continue
                if self._lost_lines:
                    self._tell_lost()
                    continue
                self._append(data[:count])
            except OSError as error:
                self._note_lost(max(1, data.count(b"\n")), error)
                return
            self._in_line = not data.endswith(b"\n", 0, count)
            data = data[count:]

    def _size(self) -> int:
        """Return the size of the file, which is made if it is not there: somebody may have removed it."""
        try:
            is_there = os.path.samestat(os.fstat(self._file()), self._path.stat())
        except FileNotFoundError:
            is_there = False
        if not is_there:
            self._close()
        found = os.fstat(self._file())
        # What is no file, such as /dev/null, has no end.
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def _file(self) -> int:
        """Return the open file."""
        if self._fd is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _PRIVATE_FILE)
            os.fchmod(self._fd, _PRIVATE_FILE)  # one of an earlier release
            size = os.fstat(self._fd).st_size
            self._in_line = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"
        return self._fd

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _rotate(self) -> None:
        for number in sorted(self._numbers(), reverse=True):
            if number >= self._older:
                self._numbered(number).unlink()
            else:
                self._numbered(number).replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        self._close()

    def _append(self, data: bytes) -> None:
        file, written = self._file(), 0
        size = os.fstat(file).st_size
        try:
            while written < len(data):
                written += os.write(file, data[written:])
        except OSError:
            if written:
                os.ftruncate(file, size)  # no half of a line stays
            raise

    def _note_lost(self, lines: int, error: OSError) -> None:
        self._lost_lines += lines
        self._lost_why = error.strerror or str(error)

    def _tell_lost(self) -> None:
        told = {
            "event": "log_lines_lost",
            "level": "error",
            "logger": "web.cli.local.log_process",
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "lines": self._lost_lines,
            "reason": self._lost_why,
        }
        self._append(b"\n" * self._in_line + json.dumps(told).encode() + b"\n")
        self._in_line = False
        self._lost_lines = 0

    def _numbers(self) -> list[int]:
        """Return the numbers of the older files that are there."""
        beside = self._path.parent.glob(f"{self._path.name}.*")
        return [int(path.suffix[1:]) for path in beside if path.suffix[1:].isdecimal()]

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


if __name__ == "__main__":
    main()
