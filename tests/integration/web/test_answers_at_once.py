"""What the front answers in its event loop, without a thread, or with one for all who ask at once."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress

import pytest
from redis import Redis

from shared.errors import DatabaseUnavailable, RedisUnavailable
from tests.support.loops import run_apart
from tests.support.statements import noted_statements
from web.app import create_app
from web.front.application import Front
from web.services import services_of

#: An answer that takes longer does not come.
_MOST_SECONDS = 30


@pytest.fixture
def front(app):
    front = Front(app, threads=2)
    yield front
    front.stop()
    front.close()


@pytest.fixture
def lent_by(monkeypatch):
    """A maker of lists of what the threads of a front are lent for."""

    def note(front):
        calls, submit = [], front._pool.submit

        def lend(*words):
            calls.append(words)
            return submit(*words)

        monkeypatch.setattr(front._pool, "submit", lend)
        return calls

    return note


@pytest.fixture
def lent(front, lent_by):
    return lent_by(front)


def get(front, path, *headers, method="GET"):
    """Return status, headers and body of an answer of the front."""
    return run_apart(ask(front, path, *headers, method=method))


async def ask(front, path, *headers, method="GET"):
    """Return what `get` does, in this event loop."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": method, "http_version": "1.1", "scheme": "http", "query_string": b"",
        "raw_path": path.encode(), "headers": [(b"host", b"localhost"), *headers],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 9),
    }  # fmt: skip
    async with asyncio.timeout(_MOST_SECONDS):
        await front(scope, receive, send)
    assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"]
    assert not sent[-1].get("more_body", False)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), body


def test_a_poll_of_what_is_known_needs_no_thread(front, lent, submit, workshop):
    job = submit()
    workshop.claim(job["id"])
    workshop.succeed(job["id"])
    path = job["urls"]["self"]
    first = get(front, path)
    assert len(lent) > 0
    lent.clear()
    for _ in range(3):
        again = get(front, path)
        assert (again[0], again[2]) == (first[0], first[2])
    known = get(front, path, (b"if-none-match", first[1][b"etag"]))
    assert (known[0], known[2]) == (304, b"")
    assert get(front, path, method="HEAD")[2] == b""
    assert lent == []
    submit()  # somebody writes: the row has to be compared, once
    assert get(front, path)[2] == first[2]
    assert len(lent) > 0
    lent.clear()
    assert get(front, path)[2] == first[2]
    assert lent == []


def test_what_has_to_wait_for_somebody_needs_one(front, lent, submit, workshop):
    running, queued = submit(), submit()
    workshop.claim(running["id"])
    for path in (running["urls"]["self"], queued["urls"]["self"], "/healthz", "/api/v1/jobs"):
        get(front, path)
        lent.clear()
        assert get(front, path)[0] == 200
        assert len(lent) > 0, path


@pytest.mark.parametrize("header", [(b"content-length", b"0"), (b"transfer-encoding", b"chunked")])
def test_a_request_with_a_body_takes_the_usual_way(front, lent, submit, header):
    path = submit()["urls"]["self"]
    assert get(front, path, header)[0] == 200
    lent.clear()
    assert get(front, path, header)[0] == 200
    assert len(lent) > 0


def test_below_a_path_and_behind_a_proxy(settings, parts, lent_by):
    """The links in what is kept are those of this service, and only names of its own are answered."""
    placed = settings.model_copy(update={"url": "https://pictures.example/atelier", "trusted_proxies": 1})
    app = create_app(placed)
    services_of(app).backend.shared.stale_seconds = 3600
    data = parts(reuse="false")
    answer = app.test_client().post("/api/v1/jobs", data=data, base_url="https://pictures.example")
    assert answer.status_code == 202, answer.text
    url = answer.json["urls"]["self"]
    assert url.startswith("/atelier/api/v1/jobs/")
    front = Front(app, threads=2)
    lent = lent_by(front)
    forwarded = (b"x-forwarded-host", b"pictures.example")
    first = get(front, url, forwarded)
    assert json.loads(first[2])["urls"]["self"] == url
    lent.clear()
    assert get(front, url, forwarded)[2] == first[2]
    assert get(front, url.removeprefix("/atelier"), forwarded)[2] == first[2]
    assert lent == []
    assert get(front, url, (b"x-forwarded-host", b"evil.example"))[0] == 421
    assert len(lent) > 0
    front.stop()
    front.close()
    services_of(app).close()


@pytest.fixture
def commands(monkeypatch):
    """The commands that Redis is given, in order: the name of each, and how many words follow it."""
    noted, execute = [], Redis.execute_command

    def note(redis, *words, **how):
        noted.append((words[0], len(words) - 1))
        return execute(redis, *words, **how)

    monkeypatch.setattr(Redis, "execute_command", note)
    return noted


class HeldLook:
    """A look at live progress that has read what there is, and is held before it tells; only the first is."""

    def __init__(self, services, monkeypatch):
        self.has_read, self.may_tell = threading.Event(), threading.Event()
        self._read = services.backend.redis.progress.read
        monkeypatch.setattr(services.backend.redis.progress, "read", self._hold)

    def _hold(self, job_ids):
        found = self._read(job_ids)
        if not self.has_read.is_set():
            self.has_read.set()
            assert self.may_tell.wait(_MOST_SECONDS)
        return found


@pytest.fixture
def held_look(services, monkeypatch):
    held = HeldLook(services, monkeypatch)
    yield held
    held.may_tell.set()


@pytest.fixture
def running(front, submit, workshop) -> list[str]:
    """The paths of three running jobs at step 3 that were polled before."""
    paths = []
    for _ in range(3):
        job = submit()
        workshop.claim(job["id"])
        workshop.progress(job["id"], 3)
        paths.append(job["urls"]["self"])
    for path in paths:
        get(front, path)
    return paths


def id_of(path):
    return path.rpartition("/")[2]


def step_of(answer):
    assert answer[0] == 200, answer
    return json.loads(answer[2])["progress"]["step"]


def test_those_who_poll_running_jobs_at_once_need_one_thread_and_one_question(
    client, front, lent, commands, running, submit, workshop
):
    """However many they are, Redis is asked once for all, and no row is read."""

    async def wave():
        return await asyncio.gather(*(ask(front, path) for path in running * 10))

    def count(most_statements):
        lent.clear()
        commands.clear()
        with noted_statements() as noted:
            answers = run_apart(wave())
        assert len(lent) == 1
        assert commands == [("MGET", len(running))]
        assert len([one for one in noted if not one.startswith("BEGIN")]) == most_statements
        shown = [client.get(path).data for path in running]
        assert [answer[2] for answer in answers] == shown * 10
        return {step_of(answer) for answer in answers}

    assert count(0) == {3}
    for path in running:
        workshop.progress(id_of(path), 4)
    assert count(0) == {4}
    submit()  # somebody writes: each row is compared once
    assert count(len(running)) == {4}
    assert count(0) == {4}


def test_a_poll_shows_what_was_so_when_it_was_asked(front, running, held_look, workshop):
    """Who asks while a look is under way is told by the next one."""

    async def main():
        early = asyncio.create_task(ask(front, running[0]))
        assert await asyncio.to_thread(held_look.has_read.wait, _MOST_SECONDS)
        workshop.progress(id_of(running[0]), 5)
        late = [asyncio.create_task(ask(front, path)) for path in running * 2]
        await asyncio.sleep(0)  # they ask
        held_look.may_tell.set()
        return step_of(await early), [step_of(one) for one in await asyncio.gather(*late)]

    assert run_apart(main()) == (3, [5, 3, 3] * 2)


def test_who_leaves_during_a_look_leaves_the_others_their_answers(front, running, held_look):
    async def main():
        first, *others = (asyncio.create_task(ask(front, path)) for path in running)
        assert await asyncio.to_thread(held_look.has_read.wait, _MOST_SECONDS)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        held_look.may_tell.set()
        return [step_of(one) for one in await asyncio.gather(*others)], step_of(await ask(front, running[0]))

    assert run_apart(main()) == ([3, 3], 3)


def test_a_job_that_changes_during_a_look_is_shown_as_it_is_then(front, running, held_look, workshop):
    async def main():
        polls = [asyncio.create_task(ask(front, path)) for path in running]
        assert await asyncio.to_thread(held_look.has_read.wait, _MOST_SECONDS)
        workshop.succeed(id_of(running[1]))
        held_look.may_tell.set()
        await asyncio.gather(*polls)
        return [json.loads((await ask(front, path))[2])["status"] for path in running]

    assert run_apart(main()) == ["running", "succeeded", "running"]


def test_where_a_look_fails_each_is_told_why(app, front, running, monkeypatch):
    def fail():
        raise DatabaseUnavailable("the file was removed")

    monkeypatch.setattr(services_of(app).backend.database, "mark", fail)

    async def main():
        return await asyncio.gather(*(ask(front, path) for path in running))

    for path, answer in zip(running, run_apart(main()), strict=True):
        assert answer[0] == 503
        problem = json.loads(answer[2])
        assert (problem["code"], problem["instance"]) == ("database_unavailable", path)
    monkeypatch.undo()
    assert [step_of(get(front, path)) for path in running] == [3, 3, 3]


def test_without_redis_running_jobs_are_shown_without_their_progress(services, front, running, monkeypatch):
    """It is asked once for all of them."""
    asked = []

    def fail(job_ids):
        asked.append(job_ids)
        raise RedisUnavailable("Redis does not answer")

    async def main():
        return await asyncio.gather(*(ask(front, path) for path in running * 3))

    monkeypatch.setattr(services.backend.redis.progress, "read", fail)
    assert {step_of(one) for one in run_apart(main())} == {0}
    assert len(asked) == 1
