"""`atelier submit` over connections that break: one job, whatever arrived; and the options of its life."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from shared.status import JobStatus
from tests.support.engines import SteadyEngine
from tests.support.ports import free_port

_FEW = ("-O", "steps=20", "-O", "checkpoint_every=5")


class BadLine:
    """A line to the service that breaks the first connections: before the request, or before its answer."""

    def __init__(self, port: int, breaks: list[str]) -> None:
        self._port, self._breaks = port, breaks
        #: Set once the service was asked for in vain.
        self.refused = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            how = self._breaks.pop(0) if self._breaks else "whole"
            with near:
                if how != "early":
                    self._pass_on(near, answers=how == "whole")

    def _pass_on(self, near: socket.socket, *, answers: bool) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._port))
        except ConnectionRefusedError:
            self.refused.set()
            return
        with far:
            forth = threading.Thread(target=_pump, args=(near, far))
            forth.start()
            if answers:
                _pump(far, near)
            else:
                assert far.recv(1)  # it has done what it was asked for
                near.shutdown(socket.SHUT_RDWR)
            forth.join(20)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def line(service):
    lines = []

    def make(*breaks):
        lines.append(BadLine(int(service.url.rpartition(":")[2]), list(breaks)))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


def jobs(atelier):
    return json.loads(atelier("list", "--json").stdout)["jobs"]


@pytest.mark.parametrize("breaks", [["early"], ["late"], ["late", "early"], ["early", "late", "late"]])
def test_a_lost_connection_neither_loses_nor_doubles_a_job(atelier, pictures, line, breaks):
    result = atelier("submit", *pictures, "--no-reuse", "--url", line(*breaks).url)
    assert result.exit_code == 0, result.stderr
    assert [job["id"] for job in jobs(atelier)] == [result.stdout.strip()]
    assert "there will be one job" in " ".join(result.stderr.replace("│", " ").split())
    assert ("had this request already" in result.stderr) == ("late" in breaks)


def test_without_patience_it_is_asked_once(atelier, pictures, line):
    result = atelier("submit", *pictures, "--timeout", "0", "--url", line("late").url)
    assert result.exit_code == 4
    assert "was lost" in result.stderr
    assert len(jobs(atelier)) == 1


def test_a_restart_of_the_service_is_waited_for(service, atelier, pictures, line):
    """The connection breaks, and the service is back only when it has been asked for in vain."""
    service.shut()
    broken = line("early")

    def restart():
        assert broken.refused.wait(20)
        service.open()

    restarting = threading.Thread(target=restart)
    restarting.start()
    result = atelier("submit", *pictures, "--url", broken.url)
    restarting.join()
    assert result.exit_code == 0, result.stderr
    assert len(jobs(atelier)) == 1


def test_a_service_that_is_not_there_is_not_waited_for(pictures, atelier):
    result = atelier("submit", *pictures, "--url", f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 4
    assert "cannot be reached" in result.stderr


def test_the_same_key_is_the_same_job(atelier, pictures):
    words = ["submit", *pictures, "--no-reuse", "--idempotency-key", "nightly 7"]
    first, again = atelier(*words), atelier(*words)
    assert again.stdout == first.stdout
    assert "had this request already" in again.stderr
    assert "had this request already" not in first.stderr
    assert len(jobs(atelier)) == 1
    refused = atelier(*words, "--name", "another")
    assert refused.exit_code == 2
    assert "came with another request before" in refused.stderr


def test_two_submits_are_two_jobs_and_the_second_is_given_the_result(service, atelier, pictures, tmp_path):
    service.work(SteadyEngine())
    first = json.loads(atelier("submit", *pictures, *_FEW, "--wait", "--json").stdout)
    out = tmp_path / "out.png"
    again = atelier("submit", *pictures, *_FEW, "-o", out)
    assert again.exit_code == 0, again.stderr
    assert f"was given the result of job {first['id']}" in again.stderr
    assert out.stat().st_size == first["outputs"][0]["size_bytes"]
    newest = jobs(atelier)[0]
    shown = atelier("status", newest["id"]).stdout
    assert "succeeded (reused)" in shown
    assert first["id"] in shown
    alone = json.loads(atelier("submit", *pictures, *_FEW, "--wait", "--no-reuse", "--json").stdout)
    assert (alone["leader_id"], alone["status_reason"]) == (None, None)
    assert alone["started_at"] is not None


def test_a_follower_says_what_it_waits_for(service, atelier, pictures):
    first = atelier("submit", *pictures).stdout.strip()
    second = atelier("submit", *pictures).stdout.strip()
    shown = atelier("status", second).stdout
    assert "which does the same work" in shown
    assert first in shown


def test_deadlines_reach_the_job(service, atelier, pictures):
    words = ("--queue-timeout", "3600", "--run-timeout", "0.5", "--json")
    job = json.loads(atelier("submit", *pictures, *words).stdout)
    assert job["run_timeout_seconds"] == 0.5
    assert job["queue_deadline"] > job["created_at"]
    assert job["queue_deadline"] in atelier("status", job["id"]).stdout
    service.work(SteadyEngine(lambda step: threading.Event().wait(0.3)))
    service.wait_for(job["id"], JobStatus.FAILED)
    ended = json.loads(atelier("status", job["id"], "--json").stdout)
    assert ended["error"]["code"] == "timeout"
    for bad in ("0", "-1", "99999999"):
        assert atelier("submit", *pictures, "--queue-timeout", bad).exit_code == 2
