"""Into which file of a log a line goes."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.cli.local import log_process
from web.cli.local.log_process import LogFile, Source, fitting


def _files(log):
    beside = [log.with_name(f"{log.name}.{number}") for number in range(9, 0, -1)]
    return [path for path in (*beside, log) if path.exists()]


def _begin(log, *, most_bytes=20, older=9, anew=False):
    file = LogFile(log, most_bytes=most_bytes, older=older)
    file.begin(anew=anew)
    return file


@pytest.mark.parametrize(
    ("data", "room", "is_empty", "in_line", "count"),
    [
        (b"abc\nde", 6, False, False, 6),
        (b"abc\nde", 5, False, False, 4),
        (b"abc\n", 3, False, False, 0),  # it would end in the next file: it begins there
        (b"abc\n", 3, True, False, 4),  # longer than a file may be: it has one
        (b"c\nde\n", 1, False, True, 2),  # its beginning is here already
        (b"cde", -50, False, True, 3),
        (b"cde", -2_000_000, False, True, 0),  # a line without an end
    ],
)
def test_a_file_ends_with_a_line(data, room, is_empty, in_line, count):
    assert fitting(data, room=room, is_empty=is_empty, in_line=in_line) == count


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"") + b"\n"), max_size=40),
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=10),
)
def test_however_it_comes_in_all_is_there_once_and_in_order_in_whole_lines(lines, cuts, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "web.log"
    file = _begin(log, most_bytes=40, older=1000)
    data, turn = b"".join(lines), 0
    while data:
        count = cuts[turn % len(cuts)]
        file.write(data[:count])
        data, turn = data[count:], turn + 1
    older = sorted(log.parent.glob("web.log.*"), key=lambda path: -int(path.suffix[1:]))
    parts = [path.read_bytes() for path in (*older, log)]
    assert b"".join(parts) == b"".join(lines)
    assert all(part.endswith(b"\n") for part in parts if part)
    assert all(len(part) <= 40 + 31 for part in parts)


def test_so_many_older_files_are_kept_and_a_start_begins_another_one(tmp_path):
    log = tmp_path / "web.log"
    file = _begin(log, older=2)
    for number in range(5):
        file.write(b"line %d of the log\n" % number)
    assert [path.read_text()[5] for path in _files(log)] == ["2", "3", "4"]
    _begin(log, older=1, anew=True).write(b"anew\n")
    assert [path.read_text()[:6] for path in _files(log)] == ["line 4", "anew\n"]
    _begin(log, older=1, anew=True)
    assert [path.name for path in _files(log)] == ["web.log.1", "web.log"]
    _begin(log, older=1, anew=True)  # there was nothing in it
    assert [path.read_text() for path in _files(log)] == ["anew\n", ""]


def test_one_that_goes_on_after_half_a_line_ends_it_in_the_same_file(tmp_path):
    log = tmp_path / "web.log"
    _begin(log).write(b"0123456789\nhalf a ")
    _begin(log).write(b"line\nnext\n")
    assert [path.read_text() for path in _files(log)] == ["0123456789\nhalf a line\n", "next\n"]


def test_files_are_for_their_user_alone_and_one_that_is_removed_is_made_again(tmp_path):
    log = tmp_path / "logs/web.log"
    log.parent.mkdir()
    log.touch(mode=0o644)
    file = _begin(log)
    assert log.stat().st_mode & 0o777 == 0o600
    log.unlink()
    file.write(b"one\n")
    assert (log.read_text(), log.stat().st_mode & 0o777) == ("one\n", 0o600)


def test_what_is_not_in_the_file_when_the_process_is_killed_is_still_to_be_read(tmp_path):
    class Killed(LogFile):
        def write(self, data):
            raise SystemExit(data)

    log = tmp_path / "web.log"
    written, read = socket.socketpair()
    with written, read:
        read.settimeout(20)  # else one that is read too early would be waited for
        written.send(b"one\n")
        written.send(b"two\n")
        with pytest.raises(SystemExit):
            Source(read, Killed(log, most_bytes=20, older=1)).take()
        assert Source(read, _begin(log)).take()
        assert log.read_text() == "one\ntwo\n"
        written.close()
        assert not Source(read, _begin(log)).take()


def test_a_full_disk_costs_lines_and_the_log_says_how_many(tmp_path, monkeypatch):
    log = tmp_path / "web.log"
    file = _begin(log, most_bytes=1000)
    write = log_process.os.write
    room = 8

    def write_with_little_room(number, data):
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        count = write(number, data[:room])
        room -= count
        return count

    monkeypatch.setattr(log_process.os, "write", write_with_little_room)
    file.write(b"first\n")
    file.write(b"second\nthird\n")
    assert log.read_text() == "first\n"  # no half of a line stays
    room = 1000
    file.write(b"fourth\n")
    first, told, fourth = log.read_text().splitlines()
    assert (first, fourth) == ("first", "fourth")
    said = json.loads(told)
    assert (said["event"], said["lines"], said["reason"]) == ("log_lines_lost", 2, "No space left on device")
