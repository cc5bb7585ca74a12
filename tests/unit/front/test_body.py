"""Bodies taken in before a thread sees them: their bounds, and what becomes of those that do not come."""

from __future__ import annotations

import asyncio
import errno

import pytest
from werkzeug.exceptions import RequestTimeout

from shared.errors import UploadsUnavailable
from tests.support.loops import run_apart
from web.front import body as module
from web.front.body import Bodies, waste

_MOST_BYTES = 1_000_000


class Sender:
    """The client's side: what it sends, and then nothing, or that it goes."""

    def __init__(self, *pieces: bytes, ends: bool = True, goes: bool = False) -> None:
        self._left = list(pieces)
        self._ends = ends
        self._goes = goes
        self.asked = 0

    async def receive(self):
        self.asked += 1
        if self._left:
            data = self._left.pop(0)
            return {"type": "http.request", "body": data, "more_body": bool(self._left) or not self._ends}
        if self._goes:
            return {"type": "http.disconnect"}
        return await asyncio.Event().wait()


async def run(call, *words):
    return await asyncio.get_running_loop().run_in_executor(None, call, *words)


@pytest.fixture
def take():
    """Take a body in; its file is closed at the end of the test."""
    taken = []

    def do(sender, *, limit=_MOST_BYTES, bodies=None):
        body = run_apart((bodies or Bodies(_MOST_BYTES)).take(sender.receive, limit=limit, run=run))
        taken.append(body)
        return body

    yield do
    for body in taken:
        body.file.close()


@pytest.mark.parametrize("pieces", [(b"",), (b"a", b"b"), (b"x" * 200_000, b"y" * 100)])
def test_a_body_is_taken_in(pieces, take):
    body = take(Sender(*pieces))
    assert (body.is_whole, body.fault, body.size) == (True, None, sum(map(len, pieces)))
    assert body.file.read() == b"".join(pieces)


def test_too_much_is_not_read_to_its_end(take):
    sender = Sender(*[b"x" * 10] * 100)
    body = take(sender, limit=50)
    assert (body.is_whole, body.fault, body.size) == (False, None, 60)
    assert sender.asked == 6


def test_one_that_goes_or_says_nothing(monkeypatch, take):
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0)
    for sender in (Sender(b"x", ends=False, goes=True), Sender(b"x", ends=False)):
        assert isinstance(take(sender).fault, RequestTimeout)


def test_one_that_is_too_slow(monkeypatch, take):
    monkeypatch.setattr(module, "_BODY_SECONDS", -1)
    body = take(Sender(*[b"x"] * 100))
    assert isinstance(body.fault, RequestTimeout)


def test_all_together_have_a_bound(take):
    bodies = Bodies(100)
    first = take(Sender(b"x" * 80), bodies=bodies)
    assert first.fault is None
    second = take(Sender(b"x" * 30), bodies=bodies)
    assert isinstance(second.fault, UploadsUnavailable)
    bodies.give_back(second)
    bodies.give_back(first)
    assert take(Sender(b"x" * 80), bodies=bodies).fault is None


def test_a_full_disk(monkeypatch, take):
    class Full(module.SpooledTemporaryFile):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "SpooledTemporaryFile", Full)
    body = take(Sender(b"x"))
    assert isinstance(body.fault, UploadsUnavailable)
    assert "No space left" in body.fault.detail


def test_what_nobody_wants_is_read_for_a_while(monkeypatch):
    monkeypatch.setattr(module, "_WASTED_BYTES", 35)
    monkeypatch.setattr(module, "_WASTED_SILENT_SECONDS", 0.01)
    for sender, asked in (
        (Sender(*[b"x" * 10] * 100), 4),
        (Sender(b"x"), 1),
        (Sender(b"x", ends=False), 2),
        (Sender(b"x", ends=False, goes=True), 2),
    ):
        run_apart(waste(sender.receive))
        assert sender.asked == asked
