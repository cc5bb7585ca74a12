"""Logs of real processes: what they write is there once, in files of a bounded size, whoever is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from shared.processes import ChildProcess, Program
from tests.support.waiting import wait_until
from web.cli.local.log_keeper import LogKeeper
from web.cli.local.redis_server import RedisServer

pytestmark = pytest.mark.process

_PATIENCE_SECONDS = 60
_MOST_BYTES = 50_000
_OLDER = 100
_LONGEST_BYTES = 20_100
#: Writes from several processes that share its outputs: through Python, and to the descriptors themselves; a
#: line in one piece, however long, and one of a library that writes it in three.
_CHILD = """
import os, sys
writers, lines = int(sys.argv[1]), int(sys.argv[2])
for number in range(writers):
    if os.fork() == 0:
        for line in range(lines):
            length = 20_000 if line % 50 == 7 else line % 90
            text = f"<{number} {line} {'x' * length} {number} {line}>"
            if number % 2:
                os.write(1, text.encode() + b"\\n")
            else:
                sys.stderr.write(text + "\\n")
        os._exit(0)
for _ in range(writers):
    os.wait()
for part in ("<end", " of", " all>\\n"):
    os.write(2, part.encode())
"""


def _keeper(said: list[str] | None = None, **more: int) -> LogKeeper:
    said = [] if said is None else said
    return LogKeeper(**({"most_bytes": _MOST_BYTES, "older": _OLDER} | more), say=said.append)


def _child(keeper: LogKeeper, log: Path, *words: str) -> ChildProcess:
    program = Program(
        name=log.stem,
        words=[sys.executable, "-c", *words],
        environ=dict(os.environ),
        log=log,
        output=keeper.open(log),
    )
    return ChildProcess(program)


def _files(log: Path) -> list[Path]:
    older = sorted(log.parent.glob(f"{log.name}.*"), key=lambda path: -int(path.suffix[1:]))
    return [*older, log]


def _lines(log: Path) -> list[str]:
    parts = [path.read_text() for path in _files(log)]
    assert all(part.endswith("\n") for part in parts[:-1])
    return "".join(parts).splitlines()


def _wanted(writers: int, lines: int) -> Counter[str]:
    return Counter(
        [f"{number} {line}" for number in range(writers) for line in range(lines)] + ["end of all"]
    )


def _whole(lines: list[str]) -> Counter[str]:
    """The lines by what each begins and ends with; one that is torn, or mixed with another, is none."""
    found = [re.fullmatch(r"<(\d+ \d+) x* \1>|<(end of all)>", line) for line in lines]
    assert all(found), [line[:60] for line, match in zip(lines, found, strict=True) if not match]
    return Counter(match[1] or match[2] for match in found if match)


def test_lines_of_many_processes_are_there_once_and_no_file_is_larger_than_allowed(tmp_path):
    log = tmp_path / "logs/web.log"
    old_mask = os.umask(0o022)
    try:
        with _keeper() as keeper:
            child = _child(keeper, log, _CHILD, "6", "400")
            child.start()
            wait_until(lambda: child.ended() is not None, seconds=_PATIENCE_SECONDS, what="its end")
            assert keeper.tail(log, 1) == ["<end of all>"]
    finally:
        os.umask(old_mask)
    assert _whole(_lines(log)) == _wanted(6, 400)
    files = _files(log)
    assert len(files) > 5
    for path in files:
        # The end of a line whose beginning was written before goes into the same file.
        assert path.stat().st_size <= _MOST_BYTES + _LONGEST_BYTES
        assert path.stat().st_mode & 0o777 == 0o600


def test_when_what_writes_is_killed_another_goes_on_and_no_line_is_lost(tmp_path):
    log, said = tmp_path / "web.log", []
    with _keeper(said) as keeper:
        child = _child(keeper, log, _CHILD, "3", "400")
        child.start()
        for kills in (1, 2, 3):
            wait_until(lambda many=2 * kills: len(_files(log)) > many, seconds=_PATIENCE_SECONDS)
            os.kill(keeper.pid, signal.SIGKILL)
            wait_until(lambda many=kills: keeper.check() or len(said) == many, seconds=_PATIENCE_SECONDS)
        wait_until(lambda: child.ended() is not None, seconds=_PATIENCE_SECONDS, what="its end")
    assert said == ["What writes the logs ended with signal SIGKILL; it is started again."] * 3
    found = _whole_or_cut(_lines(log))
    assert set(found) == set(_wanted(3, 400))


def _whole_or_cut(lines: list[str]) -> Counter[str]:
    """The whole lines: what was written in the moment of a kill may be there twice, once in part."""
    found = [re.search(r"<(\d+ \d+) x* \1>$|<(end of all)>$", line) for line in lines]
    assert sum(match is None for match in found) <= 3
    return Counter(match[1] or match[2] for match in found if match)


_SUPERVISING = """
import os, signal, sys
from pathlib import Path
from shared.processes import ChildProcess, Program
from web.cli.local.log_keeper import LogKeeper
log = Path(sys.argv[1])
with LogKeeper(most_bytes=50_000, older=100, say=print) as keeper:
    words = [sys.executable, "-c", *sys.argv[2:]]
    ChildProcess(Program("web", words, dict(os.environ), log, keeper.open(log))).start()
    print("started", flush=True)
    signal.pause()
"""


def test_a_child_that_outlives_its_supervisor_goes_on_logging(tmp_path):
    log, gate = tmp_path / "web.log", tmp_path / "gate"
    os.mkfifo(gate)
    waits = "import sys; open(sys.argv[3]).read()\n"
    with subprocess.Popen(
        [sys.executable, "-c", _SUPERVISING, str(log), waits + _CHILD, "2", "300", str(gate)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        os.killpg(process.pid, signal.SIGKILL)
    with gate.open("w"):
        pass
    wait_until(lambda: "<end of all>" in log.read_text(), seconds=_PATIENCE_SECONDS, what="its last line")
    assert _whole(_lines(log)) == _wanted(2, 300)


def test_a_log_that_is_opened_while_nobody_writes_is_written_by_the_next(tmp_path):
    said: list[str] = []
    with _keeper(said) as keeper:
        os.kill(keeper.pid, signal.SIGSTOP)
        os.kill(keeper.pid, signal.SIGKILL)
        os.write(keeper.open(tmp_path / "web.log"), b"one\n")
        wait_until(lambda: keeper.check() or said, seconds=_PATIENCE_SECONDS, what="it is started again")
        assert keeper.tail(tmp_path / "web.log", 3) == ["one"]


def test_redis_logs_the_same_way(tmp_path):
    with _keeper() as keeper:
        server = RedisServer(tmp_path / "redis")
        server.start(keeper.open(server.log))
        server.stop()
        assert any("Ready to accept connections" in line for line in keeper.tail(server.log, 50))
    assert _files(server.log) == [server.log]
