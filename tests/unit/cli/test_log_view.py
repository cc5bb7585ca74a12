"""What of the children's logs is shown at the console."""

from __future__ import annotations

import json

import pytest

from web.cli.local.log_process import LogFile
from web.cli.local.logs import LogView, is_worth_showing, shorten


def _line(**values):
    return json.dumps({"event": "job_claimed", "level": "info", "logger": "worker.runner", **values})


@pytest.fixture
def view():
    with LogView() as view:
        yield view


def test_our_own_news_and_every_warning_are_shown_and_nothing_else():
    assert is_worth_showing(_line())
    assert is_worth_showing(_line(logger="celery.worker", level="warning"))
    assert not is_worth_showing(_line(logger="celery.worker"))
    assert not is_worth_showing(_line(level="debug"))
    assert not is_worth_showing("I0000 00:00:00 some library starts up")
    assert not is_worth_showing('["a list"]')
    assert not is_worth_showing(_line(event="request", method="GET", status=200))
    assert is_worth_showing(_line(event="request", method="POST", status=202))


def test_a_line_is_its_event_its_values_and_the_end_of_its_traceback():
    line = _line(
        timestamp="2026-11-23T09:00:00Z",
        job_id="42",
        reason=None,
        request_id="x",
        exception="Traceback …\nValueError: no",
    )
    assert shorten(line) == "job_claimed · job_id=42 · ValueError: no"
    assert shorten("\x1b[31mred\x1b[0m alert") == "red alert"
    assert len(shorten("x" * 5000)) == 300


def test_a_view_shows_only_what_is_added_and_only_whole_lines(tmp_path, view):
    log = tmp_path / "worker-1.log"
    log.write_text(_line(job_id="old") + "\n")
    view.skip_to_end(log)
    assert view.new_lines() == []
    with log.open("a") as file:
        file.write(_line(job_id="new") + "\n" + _line(job_id="half")[:20])
    assert view.new_lines() == [("worker-1", "job_claimed · job_id=new")]
    with log.open("a") as file:
        file.write(_line(job_id="half")[20:] + "\n")
    assert view.new_lines() == [("worker-1", "job_claimed · job_id=half")]
    assert view.new_lines() == []


def test_what_is_said_again_and_again_is_shown_once(tmp_path, view):
    log = tmp_path / "control.log"
    view.skip_to_end(log)
    for wanted in (["redis_away"], [], ["control_started"], ["redis_away"]):
        event = wanted[0] if wanted else "redis_away"
        with log.open("a") as file:
            file.write(_line(event=event) + "\n" + _line(event=event) + "\n")
        assert [line for _, line in view.new_lines()] == wanted


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path, view):
    view.skip_to_end(tmp_path / "web.log")
    assert view.new_lines() == []
    (tmp_path / "web.log").write_text(_line() + "\n")
    assert view.new_lines() == [("web", "job_claimed")]


def test_a_view_follows_where_new_files_were_begun(tmp_path, view):
    log = tmp_path / "control.log"
    log.write_text(_line(job_id="0") + "\n")
    view.skip_to_end(log)
    file = LogFile(log, most_bytes=200, older=3)
    file.begin(anew=False)
    number = 1
    for count in (1, 5, 2, 0, 4):
        wanted = [str(number + more) for more in range(count)]
        for job_id in wanted:
            file.write(_line(job_id=job_id).encode() + b"\n")
        number += count
        assert [line for _, line in view.new_lines()] == [
            f"job_claimed · job_id={job_id}" for job_id in wanted
        ]
    assert log.with_name("control.log.3").exists()


def test_of_files_that_are_gone_before_they_were_read_the_rest_is_shown(tmp_path, view):
    log = tmp_path / "control.log"
    file = LogFile(log, most_bytes=80, older=1)
    file.begin(anew=False)
    view.skip_to_end(log)
    for number in range(9):
        file.write(_line(job_id=str(number)).encode() + b"\n")
    assert [line for _, line in view.new_lines()] == [
        f"job_claimed · job_id={number}" for number in (0, 7, 8)
    ]
