"""Event streams, read from the WSGI iterator; what is waited for is an event, never a time."""

from __future__ import annotations

import dataclasses
import json

import pytest

from web.app import create_app
from web.services import ConcurrencyLimit, StreamTiming, hold_services, services_of


class Stream:
    """Reads the events of a response as they come."""

    def __init__(self, client, job, last_id=None):
        headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
        self.response = client.get(job["urls"]["events"], headers=headers)
        self._chunks = self.response.iter_encoded()
        self._waiting: list[str] = []

    def texts(self):
        """Yield what lies between empty lines."""
        for chunk in self._chunks:
            yield from chunk.decode().split("\n\n")[:-1]

    def __iter__(self):
        for text in self.texts():
            fields = dict(line.split(": ", 1) for line in text.split("\n") if not line.startswith(":"))
            if "event" in fields:
                yield fields["event"], fields.get("id"), json.loads(fields["data"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.response.close()


@pytest.fixture
def timing(app, services):
    """Change the pace of streams."""

    def change(**seconds):
        hold_services(app, dataclasses.replace(services, timing=StreamTiming(**seconds)))

    return change


def test_whole_life(client, submit, workshop):
    job = submit()
    with Stream(client, job) as stream:
        assert stream.response.content_type.startswith("text/event-stream")
        assert stream.response.headers["Cache-Control"] == "no-store"
        assert stream.response.headers["X-Accel-Buffering"] == "no"
        events = iter(stream)
        kind, number, data = next(events)
        assert (kind, number, data["status"]) == ("status", "1", "queued")
        assert data["job"]["id"] == job["id"]
        workshop.claim(job["id"])
        attempt, status = next(events), next(events)
        assert (attempt[0], attempt[1], attempt[2]["worker_id"]) == ("attempt", "2", "gpu-a")
        assert (status[0], status[1], status[2]["job"]["status"]) == ("status", "3", "running")
        workshop.progress(job["id"], 5, preview_step=5)
        progress, preview = next(events), next(events)
        assert progress[:2] == ("progress", None)
        assert progress[2]["step"] == 5
        assert progress[2]["eta"] == {"seconds": 23.8}
        assert preview == ("preview", None, {"step": 5, "url": f"{job['urls']['preview']}?step=5"})
        workshop.checkpoint(job["id"], 10)
        kind, number, data = next(events)
        assert (kind, number, data["step"]) == ("checkpoint", "4", 10)
        assert data["url"] == f"{job['urls']['checkpoints']}/10"
        workshop.progress(job["id"], 12, preview_step=5)
        assert next(events)[2]["step"] == 12
        workshop.succeed(job["id"])
        output, final = next(events), next(events)
        assert (output[0], output[2]["url"]) == ("output", f"{job['urls']['self']}/output")
        assert "key" not in output[2]
        assert (final[0], final[1], final[2]["status"]) == ("status", "6", "succeeded")
        assert final[2]["job"]["outputs"]
        assert list(events) == []


def test_replay_of_what_was_missed(client, submit, workshop):
    job = submit()
    workshop.claim(job["id"])
    for step in (10, 20, 30):
        workshop.checkpoint(job["id"], step)
        workshop.progress(job["id"], step, preview_step=step)
    with Stream(client, job, last_id=4) as stream:
        events = iter(stream)
        seen = [next(events) for _ in range(4)]
    assert [(kind, number) for kind, number, _ in seen] == [
        ("checkpoint", "5"),
        ("checkpoint", "6"),
        ("progress", None),
        ("preview", None),
    ]
    assert seen[2][2]["step"] == 30


def test_after_the_end(client, submit, workshop):
    job = submit()
    workshop.claim(job["id"])
    workshop.succeed(job["id"])
    with Stream(client, job) as stream:
        events = list(stream)
    assert [(kind, number) for kind, number, _ in events] == [("status", "5")]
    with Stream(client, job, last_id=3) as stream:
        assert [(kind, number) for kind, number, _ in stream] == [("output", "4"), ("status", "5")]
    with Stream(client, job, last_id=5) as stream:
        assert (stream.response.status_code, stream.response.data) == (204, b"")


def test_the_pause_before_coming_back_stands_within_the_first_event(client, submit):
    job = submit()
    with Stream(client, job) as stream:
        assert next(stream.texts()).startswith("retry: 2000\nid: 1\nevent: status\ndata: ")
    with Stream(client, job, last_id=1) as stream:
        assert next(stream.texts()) == ": watching"  # at once, though there is nothing new


def test_the_last_event_of_all_holds_the_whole_job(client, submit, workshop):
    job = submit()
    workshop.claim(job["id"])
    with Stream(client, job, last_id=3) as stream:
        events = iter(stream)
        workshop.checkpoint(job["id"], 10)
        kind, _, data = next(events)
        assert (kind, data["job"]["version"]) == ("checkpoint", 4)
        assert data["job"]["urls"]["fork"]


@pytest.mark.parametrize("last_id", [99, "x", "-1", "9" * 30])
def test_id_that_was_never_sent_starts_afresh(client, submit, last_id):
    with Stream(client, submit(), last_id=last_id) as stream:
        kind, number, data = next(iter(stream))
    assert (kind, number, data["job"]["status"]) == ("status", "1", "queued")


def test_only_the_latest_progress(client, submit, workshop):
    job = submit()
    workshop.claim(job["id"])
    with Stream(client, job) as stream:
        events = iter(stream)
        next(events)
        for step in range(1, 30):
            workshop.progress(job["id"], step, preview=False)
        assert next(events)[2]["step"] == 29
        for step in range(30, 60):
            workshop.progress(job["id"], step, preview=False)
        assert next(events)[2]["step"] == 59


def test_progress_is_rare_and_events_are_not(client, submit, workshop, timing):
    timing(progress_seconds=3600)
    job = submit()
    workshop.claim(job["id"])
    with Stream(client, job) as stream:
        events = iter(stream)
        next(events)
        workshop.progress(job["id"], 5, preview=False)
        assert next(events)[0] == "progress"
        for step in (10, 20):
            workshop.progress(job["id"], step, preview=False)
            workshop.checkpoint(job["id"], step)
            workshop.progress(job["id"], step + 1, preview=False)
            assert next(events)[0] == "checkpoint"
        workshop.succeed(job["id"])
        assert [kind for kind, _, _ in events] == ["output", "status"]


def test_all_streams_are_taken(app, services, client, submit, problem_of):
    hold_services(app, dataclasses.replace(services, streams=ConcurrencyLimit(2)))
    job = submit()
    with Stream(client, job), Stream(client, job):
        response = client.get(job["urls"]["events"])
        problem_of(response, 429, "too_many_streams")
        assert response.headers["Retry-After"]
    with Stream(client, job) as stream:
        assert stream.response.status_code == 200


def test_comments_keep_the_line_open(client, submit, timing):
    timing(comment_seconds=0.05)
    with Stream(client, submit()) as stream:
        texts = stream.texts()
        assert [next(texts) for _ in range(4)][2:] == [": still here", ": still here"]


def test_stream_ends_by_itself(client, submit, timing):
    timing(stream_seconds=0.05)
    with Stream(client, submit()) as stream:
        assert [kind for kind, _, _ in stream] == ["status"]


def test_stream_ends_with_the_process(client, submit, services):
    with Stream(client, submit()) as stream:
        events = iter(stream)
        next(events)
        services.stopping.set()
        assert list(events) == []


def test_without_redis(settings, parts):
    app = create_app(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0", "web_threads": 4}))
    try:
        client = app.test_client()
        job = client.post("/api/v1/jobs", data=parts()).json
        with Stream(client, job) as stream:
            events = iter(stream)
            assert next(events)[2]["status"] == "queued"
            client.post(job["urls"]["cancel"])
            kind, number, data = next(events)
            assert (kind, number, data["status"]) == ("status", "2", "canceled")
            assert list(events) == []
    finally:
        services_of(app).close()


def test_unicode_and_line_breaks_stay_in_one_line(client, submit):
    with Stream(client, submit(name="Häfen\u2028am Meer")) as stream:
        assert next(iter(stream))[2]["job"]["name"] == "Häfen\u2028am Meer"
