"""Many streams on few jobs: what one change costs, and what nothing costs."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest

from tests.support.loops import run_apart
from tests.support.statements import noted_statements
from web.front.application import Front

_STREAMS = 60
#: The whole row of a job is read by a statement that has this.
_WHOLE_ROW = "jobs.work_sha256"


class Visitor:
    """One who watches a job through the front; `ended` when the stream is over."""

    def __init__(self, front, job):
        self.got = b""
        self.told = asyncio.Event()
        self._gone = asyncio.Event()
        scope = {
            "type": "http", "method": "GET", "http_version": "1.1", "scheme": "http", "query_string": b"",
            "raw_path": job["urls"]["events"].encode(), "headers": [(b"host", b"localhost")],
            "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 9),
        }  # fmt: skip
        self._is_asked = False
        self.ended = asyncio.create_task(front(scope, self._receive, self._send))

    async def _receive(self):
        if not self._is_asked:
            self._is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.got += message.get("body", b"")
        if b"\n\n" in self.got:
            self.told.set()

    async def leave(self):
        self._gone.set()
        with suppress(asyncio.CancelledError):
            await self.ended

    def events(self):
        blocks = [block for block in self.got.decode().split("\n\n") if "data: " in block]
        return [json.loads(block.partition("data: ")[2]) for block in blocks]


@pytest.fixture
def front(app):
    front = Front(app, threads=8)
    yield front
    front.stop()
    front.close()


async def hears(front):
    """Wait until the front hears Redis: from then on nobody has to look of himself."""
    while not front._watchers.hears:
        await asyncio.sleep(0.01)


def test_one_change_is_read_once_for_all(front, client, submit):
    job = submit()

    async def run():
        visitors = [Visitor(front, job) for _ in range(_STREAMS)]
        for visitor in visitors:
            await visitor.told.wait()
        await hears(front)
        with noted_statements() as noted:
            await asyncio.to_thread(client.post, job["urls"]["cancel"])
            asked = len([one for one in noted if _WHOLE_ROW in one])
            for visitor in visitors:
                await visitor.ended
        return visitors, len([one for one in noted if _WHOLE_ROW in one]) - asked

    visitors, reads = run_apart(run())
    # A few, since some hear of it while the first one reads; each for itself would be all of them.
    assert reads < _STREAMS / 4
    for visitor in visitors:
        statuses = [event["status"] for event in visitor.events()]
        assert statuses == ["queued", "canceled"]
        assert visitor.events()[-1]["job"]["status"] == "canceled"
    assert front._bells == set()


def test_a_job_that_waits_is_not_read_again_and_again(front, submit):
    """While nothing happens a stream looks for the version of its job, and at nothing else."""
    job = submit()

    async def run():
        visitors = [Visitor(front, job) for _ in range(5)]
        for visitor in visitors:
            await visitor.told.wait()
        await hears(front)
        with noted_statements() as noted:
            while len([one for one in noted if "SELECT jobs.version" in one]) < 10:
                await asyncio.sleep(0.05)
        for visitor in visitors:
            await visitor.leave()
        return noted

    noted = run_apart(run())
    assert [one for one in noted if _WHOLE_ROW in one] == []


def test_those_that_reconnect_after_a_restart_do_not_all_come_at_once(front, submit):
    job = submit()

    async def run():
        visitors = [Visitor(front, job) for _ in range(20)]
        for visitor in visitors:
            await visitor.told.wait()
            await visitor.leave()
        return [int(visitor.got.split(b"retry: ")[1].split(b"\n")[0]) for visitor in visitors]

    pauses = run_apart(run())
    assert len(set(pauses)) == len(pauses)
    assert 2000 <= min(pauses) < 2200 < 3200 < max(pauses) <= 3500


def test_the_more_wait_the_less_often_each_looks(front):
    alone = front.poll_seconds()
    front._bells.update(object() for _ in range(750))
    assert alone < 1
    assert front.poll_seconds() == pytest.approx(750 / 200)
    front._bells.clear()
