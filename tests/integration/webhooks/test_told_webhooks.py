"""What becomes of a job is told: each end once, whatever the receiver does, and however the job goes on."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import jsonschema
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from shared.clock import utc_now
from shared.settings import Settings
from tests.support.bench import Bench
from tests.support.clock import Clock
from tests.support.receiver import Receiver, Reply, Told
from tests.support.waiting import wait_until
from tests.support.workshop import Workshop
from web.control import deliverer as deliverers
from web.control.deliverer import Deliverer
from web.db.webhook_models import Delivery, WebhookRow
from web.jobs.leaving import remove_caller
from web.jobs.queries import get_job
from web.jobs.states import Trigger
from web.jobs.transitions import apply_trigger
from web.services import Services
from web.webhooks.addresses import WebhookRules
from web.webhooks.message import BACKOFF_SECONDS
from web.webhooks.sender import Sender

JOBS, DELIVERIES = "/api/v1/jobs", "/api/v1/deliveries"
Put = Callable[..., dict]


def complete(workshop: Workshop, job_id: str) -> None:
    """Carry a job out."""
    workshop.claim(job_id)
    workshop.succeed(job_id)


def fail(workshop: Workshop, job_id: str) -> None:
    """Let a job fail."""
    workshop.claim(job_id)
    workshop.fail(job_id)


@pytest.fixture
def log(client: FlaskClient) -> Callable[..., list[dict]]:
    """The messages that there are, newest first, each with its attempts."""

    def read(**query: str) -> list[dict]:
        found = client.get(DELIVERIES, query_string=query).json["deliveries"]
        return [client.get(f"{DELIVERIES}/{one['id']}").json for one in found]

    return read


def test_the_end_of_a_job_is_told_signed_and_once(
    put: Put, submit: Callable[..., dict], workshop: Workshop, client: FlaskClient, deliverer: Deliverer,
    receiver: Receiver, log: Callable[..., list[dict]],
):  # fmt: skip
    secret = put(url=receiver.url())["secret"]
    job = submit(labels={"for": "x"})
    complete(workshop, job["id"])
    deliverer.start()
    (told,) = receiver.wait_for(1)
    message = told.verify(secret)
    assert message["type"] == "job.succeeded"
    shown = client.get(f"{JOBS}/{job['id']}").json
    assert message["data"] == shown
    document = client.get("/openapi.json").json
    described = document["webhooks"]["job.succeeded"]["post"]["requestBody"]["content"]["application/json"]
    jsonschema.validate(message, {**described["schema"], "components": document["components"]})
    wait_until(lambda: log()[0]["state"] == "delivered", seconds=10)
    (delivery,) = log()
    assert delivery["id"] == told.id
    assert delivery["body"].encode() == told.body
    assert [(one["number"], one["status"]) for one in delivery["log"]] == [(1, 204)]
    assert len(receiver.told) == 1


def test_a_message_comes_with_what_it_tells_of_or_not_at_all(
    put: Put, submit: Callable[..., dict], workshop: Workshop, services: Services, receiver: Receiver
):
    put(url=receiver.url())
    job = submit()

    def crash_before_the_commit() -> None:
        with services.backend.database.write() as session:
            apply_trigger(session, get_job(session, job["id"]), Trigger.CANCEL, now=utc_now())
            assert session.scalar(select(Delivery.id)) is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash_before_the_commit()
    with services.backend.database.read() as session:
        assert session.scalar(select(Delivery.id)) is None


@pytest.mark.parametrize(("how", "event"), [("cancel", "job.canceled"), ("fail", "job.failed")])
def test_every_end_is_told(
    how: str, event: str, put: Put, submit: Callable[..., dict], workshop: Workshop, client: FlaskClient,
    deliverer: Deliverer, receiver: Receiver,
):  # fmt: skip
    put(url=receiver.url())
    job = submit()
    if how == "cancel":
        assert client.post(f"{JOBS}/{job['id']}/cancel").status_code == 200
    else:
        fail(workshop, job["id"])
    deliverer.start()
    (told,) = receiver.wait_for(1)
    assert (told.json["type"], told.json["data"]["status"]) == (event, event.removeprefix("job."))


def test_what_is_told_is_the_job_as_it_was_then_though_it_went_on_or_is_gone(
    put: Put, submit: Callable[..., dict], workshop: Workshop, client: FlaskClient, deliverer: Deliverer,
    receiver: Receiver,
):  # fmt: skip
    put(url=receiver.url())
    retried, deleted = submit(), submit()
    fail(workshop, retried["id"])
    complete(workshop, deleted["id"])
    assert client.post(f"{JOBS}/{retried['id']}/retry", json={"from": "zero"}).status_code == 200
    assert client.delete(f"{JOBS}/{deleted['id']}").status_code == 204
    deliverer.start()
    told = {one.json["data"]["id"]: one.json for one in receiver.wait_for(2)}
    assert told[retried["id"]]["data"]["status"] == "failed"
    assert told[deleted["id"]]["data"]["status"] == "succeeded"
    assert told[deleted["id"]]["data"]["outputs"]


def test_a_receiver_that_fails_is_told_the_very_same_again_later(
    put: Put, submit: Callable[..., dict], workshop: Workshop, deliverer: Deliverer, receiver: Receiver,
    clock: Clock, log: Callable[..., list[dict]],
):  # fmt: skip
    secret = put(url=receiver.url())["secret"]
    receiver.reply = lambda _: Reply(500 if len(receiver.told) < 3 else 200, body=b"not now")
    complete(workshop, submit()["id"])
    deliverer.start()
    for number, seconds in enumerate(BACKOFF_SECONDS[:2], start=1):
        receiver.wait_for(number)
        wait_until(lambda number=number: log()[0]["attempts"] == number, seconds=10)
        clock.seconds += seconds + 0.1
    told = receiver.wait_for(3)
    assert len({(one.id, one.body) for one in told}) == 1
    assert told[0].verify(secret)
    times = [int(one.headers["webhook-timestamp"]) for one in told]
    assert times == sorted(set(times))
    wait_until(lambda: log()[0]["state"] == "delivered", seconds=10)
    assert [(one["status"], one["answer"]) for one in log()[0]["log"]] == [
        (500, "not now"), (500, "not now"), (200, "not now"),
    ]  # fmt: skip


@pytest.mark.parametrize("ahead_seconds", [60, 3600, 20 * 3600])
def test_one_that_was_tried_by_a_clock_that_was_ahead_is_not_waited_for(
    put: Put, submit: Callable[..., dict], workshop: Workshop, deliverer: Deliverer, receiver: Receiver,
    clock: Clock, log: Callable[..., list[dict]], ahead_seconds: int,
):  # fmt: skip
    """Once the clock is right again, the next attempt would be so much later."""
    put(url=receiver.url())
    receiver.reply = lambda _: Reply(500 if len(receiver.told) < 2 else 200)
    complete(workshop, submit()["id"])
    clock.seconds += ahead_seconds
    deliverer.start()
    receiver.wait_for(1)
    wait_until(lambda: log()[0]["attempts"] == 1, seconds=10)
    clock.seconds -= ahead_seconds
    wait_until(lambda: log()[0]["state"] == "delivered", seconds=20)
    assert [one["status"] for one in log()[0]["log"]] == [500, 200]


def test_a_receiver_that_asks_for_time_is_given_it(
    put: Put, submit: Callable[..., dict], workshop: Workshop, deliverer: Deliverer, receiver: Receiver,
    clock: Clock, log: Callable[..., list[dict]],
):  # fmt: skip
    put(url=receiver.url())
    receiver.reply = lambda _: Reply(429, headers={"Retry-After": "1800"} if len(receiver.told) < 2 else {})
    first, second = (submit()["id"] for _ in range(2))
    complete(workshop, first)
    deliverer.start()
    receiver.wait_for(1)
    wait_until(lambda: log()[0]["attempts"] == 1, seconds=10)
    clock.seconds += 1700
    complete(workshop, second)  # which has the deliverer look for all that is due
    receiver.wait_for(2)
    assert {one.json["data"]["id"] for one in receiver.told} == {first, second}


def test_a_message_is_given_up_after_a_day_and_can_be_sent_again(
    put: Put, submit: Callable[..., dict], workshop: Workshop, client: FlaskClient, deliverer: Deliverer,
    receiver: Receiver, clock: Clock, log: Callable[..., list[dict]],
):  # fmt: skip
    put(url=receiver.url())
    receiver.reply = lambda _: Reply(503)
    complete(workshop, submit()["id"])
    clock.seconds += timedelta(days=1).total_seconds() - 1
    deliverer.start()
    receiver.wait_for(1)
    wait_until(lambda: log()[0]["state"] == "failed", seconds=10)
    assert log()[0]["next_at"] is None
    receiver.reply = lambda _: Reply(200)
    answer = client.post(f"{DELIVERIES}/{log()[0]['id']}/redeliver")
    assert (answer.status_code, answer.json["state"]) == (202, "pending")
    told = receiver.wait_for(2)
    assert told[0].id == told[1].id
    assert told[0].body == told[1].body
    wait_until(lambda: log()[0]["state"] == "delivered", seconds=10)
    assert [one["number"] for one in log()[0]["log"]] == [1, 2]


def test_a_receiver_that_is_gone_is_told_nothing_more_until_it_is_put_again(
    put: Put, submit: Callable[..., dict], workshop: Workshop, client: FlaskClient, deliverer: Deliverer,
    receiver: Receiver, log: Callable[..., list[dict]],
):  # fmt: skip
    put(url=receiver.url())
    receiver.reply = lambda _: Reply(410)
    complete(workshop, submit()["id"])
    deliverer.start()
    wait_until(lambda: log()[0]["state"] == "dropped", seconds=10)
    assert client.get("/api/v1/webhooks/default").json["ended_at"] is not None
    complete(workshop, submit()["id"])
    assert len(log()) == 1
    assert client.post(f"{DELIVERIES}/{log()[0]['id']}/redeliver").status_code == 409
    receiver.reply = lambda _: Reply(200)
    assert put(url=receiver.url())["ended_at"] is None
    complete(workshop, submit()["id"])
    wait_until(lambda: log()[0]["state"] == "delivered", seconds=10)


def test_a_slow_receiver_holds_up_no_other(
    put: Put, submit: Callable[..., dict], workshop: Workshop, deliverer: Deliverer, receiver: Receiver,
    log: Callable[..., list[dict]],
):  # fmt: skip
    over = threading.Event()
    with Receiver(lambda _: (over.wait(), Reply())[1]) as slow:
        put("slow", url=slow.url())
        put("quick", url=receiver.url())
        for _ in range(12):
            complete(workshop, submit()["id"])
        deliverer.start()
        receiver.wait_for(12)
        wait_until(lambda: len(log(state="delivered")) == 12, seconds=10)
        assert len(slow.told) == 4, "a receiver has four messages on their way at most"
        over.set()
        slow.wait_for(12)
    assert len({one.id for one in slow.told}) == 12


def test_names_that_are_looked_up_for_ever_hold_up_no_other(
    put: Put, submit: Callable[..., dict], workshop: Workshop, deliverer: Deliverer, receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    over, look_up = threading.Event(), socket.getaddrinfo

    def hang(host: str, *words: object, **how: object) -> list:
        if host.endswith(".example"):
            over.wait()
        return look_up(host, *words, **how)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    for number in range(12):
        put(f"h{number}", url=f"http://h{number}.example/")
    put("quick", url=receiver.url())
    for _ in range(4):
        complete(workshop, submit()["id"])
    deliverer.start()
    receiver.wait_for(4)
    over.set()


def test_what_it_cannot_begin_with_is_told_and_tried_again(
    services: Services, clock: Clock, put: Put, submit: Callable[..., dict], workshop: Workshop,
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    """As when the file is not there yet that SSL_CERT_FILE names."""
    put(url=receiver.url())
    complete(workshop, submit()["id"])
    failures = [FileNotFoundError("no certificates")]

    def make(rules: WebhookRules) -> Sender:
        if failures:
            raise failures.pop()
        return Sender(rules)

    monkeypatch.setattr(deliverers, "_LONGEST_PAUSE_SECONDS", 0.2)
    deliverer = Deliverer(services.backend, clock=clock.now, make_sender=make)
    deliverer.start()
    receiver.wait_for(1)
    wait_until(lambda: deliverer.fault is None, seconds=10)
    deliverer.stop()
    assert failures == []


def test_a_message_that_cannot_be_made_holds_up_no_other(
    put: Put, submit: Callable[..., dict], workshop: Workshop, services: Services, deliverer: Deliverer,
    receiver: Receiver, log: Callable[..., list[dict]],
):  # fmt: skip
    put(url=receiver.url())
    for _ in range(3):
        complete(workshop, submit()["id"])
    damaged = [one["id"] for one in log()][1:]
    with services.backend.database.write() as session:
        session.execute(update(Delivery).where(Delivery.id == damaged[0]).values(snapshot=None))
        session.execute(update(Delivery).where(Delivery.id == damaged[1]).values(snapshot={"job": {"id": 7}}))
    deliverer.start()
    receiver.wait_for(1)
    wait_until(lambda: not log(state="pending"), seconds=10)
    assert [one["state"] for one in log()] == ["delivered", "failed", "failed"]
    assert all("it cannot be made" in one["log"][0]["error"] for one in log(state="failed"))
    assert deliverer.fault is None


def test_what_was_on_its_way_is_sent_again_after_a_start(
    put: Put, submit: Callable[..., dict], workshop: Workshop, services: Services, clock: Clock,
    receiver: Receiver, log: Callable[..., list[dict]],
):  # fmt: skip
    """As after a kill: the receiver has it, and nobody has written that."""
    put(url=receiver.url())
    complete(workshop, submit()["id"])
    first = Deliverer(services.backend, clock=clock.now)
    first._write = never_written  # type: ignore[method-assign]
    first.start()
    receiver.wait_for(1)
    first.stop()
    assert log()[0]["state"] == "pending"
    second = Deliverer(services.backend, clock=clock.now)
    second.start()
    told = receiver.wait_for(2)
    second.stop()
    assert told[0].id == told[1].id
    assert told[0].body == told[1].body
    assert log()[0]["state"] == "delivered"


async def never_written(*words: object, **how: object) -> None:
    """A process that is killed writes nothing."""


def test_a_job_may_bring_an_address_of_its_own_in_place_of_the_default(
    put: Put, submit: Callable[..., dict], workshop: Workshop, deliverer: Deliverer, receiver: Receiver
):
    secret = put(url=receiver.url("/default"))["secret"]
    other = put("other", url=receiver.url("/other"), events=["job.failed", "job.succeeded"])["secret"]
    own = submit(webhook={"url": receiver.url("/own")})
    plain = submit()
    for job in (own, plain):
        complete(workshop, job["id"])
    deliverer.start()
    told = receiver.wait_for(4)
    assert {(one.path, one.json["data"]["id"]) for one in told} == {
        ("/own", own["id"]), ("/other", own["id"]), ("/default", plain["id"]), ("/other", plain["id"]),
    }  # fmt: skip
    for one in told:
        one.verify(other if one.path == "/other" else secret)


def test_a_webhook_hears_only_what_it_asked_for(
    put: Put, submit: Callable[..., dict], workshop: Workshop, deliverer: Deliverer, receiver: Receiver,
    log: Callable[..., list[dict]],
):  # fmt: skip
    put("ends", url=receiver.url(), events=["job.failed"])
    complete(workshop, submit()["id"])
    draft = submit(kind="draft", options={"method": "fast"})
    complete(workshop, draft["id"])
    assert log() == []
    failed = submit()
    fail(workshop, failed["id"])
    deliverer.start()
    (told,) = receiver.wait_for(1)
    assert told.json["data"]["id"] == failed["id"]


def test_checkpoints_and_progress_are_told_on_request(
    put: Put, submit: Callable[..., dict], bench: Bench, services: Services, clock: Clock, receiver: Receiver,
    log: Callable[..., list[dict]],
):  # fmt: skip
    put(url=receiver.url(), events=["job.checkpoint", "job.progress", "job.succeeded"])
    job = submit(options={"steps": 20, "checkpoint_every": 5})
    deliverer = Deliverer(services.backend, clock=clock.now)
    bench.work_until(job["id"], 12, lambda: (deliverer.note_progress(), deliverer.note_progress()))
    deliverer.start()
    wait_until(lambda: log() and not log(state="pending"), seconds=20)
    deliverer.stop()
    told = [one.json for one in receiver.told]
    kinds = [one["type"] for one in told]
    assert kinds.count("job.succeeded") == 1
    assert kinds.count("job.progress") == 1, "a second look at the same step tells nothing"
    assert kinds.count("job.checkpoint") == len({
        one["data"]["version"] for one in told if one["type"] == "job.checkpoint"
    }) >= 2  # fmt: skip
    (progress,) = (one["data"] for one in told if one["type"] == "job.progress")
    assert (progress["status"], progress["progress"]["step"]) == ("running", 11)


def test_addresses_in_a_message_begin_as_those_of_the_service_do(
    put: Put, submit: Callable[..., dict], workshop: Workshop, services: Services, receiver: Receiver,
    clock: Clock,
):  # fmt: skip
    put(url=receiver.url())
    job = submit()
    complete(workshop, job["id"])
    settings = services.backend.settings.model_copy(update={"url": "https://art.example.com/styles"})
    deliverer = Deliverer(replace(services.backend, settings=settings), clock=clock.now)
    deliverer.start()
    (told,) = receiver.wait_for(1)
    deliverer.stop()
    assert told.json["data"]["urls"]["self"] == f"/styles{JOBS}/{job['id']}"


def test_a_second_secret_signs_beside_the_first_for_a_day(
    put: Put, submit: Callable[..., dict], workshop: Workshop, client: FlaskClient, services: Services,
    receiver: Receiver,
):  # fmt: skip
    old = put(url=receiver.url())["secret"]
    new = client.post("/api/v1/webhooks/default/secrets").json["secret"]
    clock = Clock(seconds=60)
    deliverer = Deliverer(services.backend, clock=clock.now)
    deliverer.start()
    complete(workshop, submit()["id"])
    (told,) = receiver.wait_for(1)
    assert told.verify(old) == told.verify(new)
    assert len(told.headers["webhook-signature"].split()) == 2
    clock.seconds += timedelta(days=1, minutes=1).total_seconds()
    complete(workshop, submit()["id"])
    told = receiver.wait_for(2)[1]
    assert len(told.headers["webhook-signature"].split()) == 1
    deliverer.stop()


def test_old_messages_go_and_so_do_the_addresses_of_jobs_that_are_gone(
    put: Put, submit: Callable[..., dict], workshop: Workshop, client: FlaskClient, services: Services,
    deliverer: Deliverer, receiver: Receiver, clock: Clock, log: Callable[..., list[dict]],
    settings: Settings,
):  # fmt: skip
    put(url=receiver.url())
    job = submit(webhook={"url": receiver.url("/own")})
    complete(workshop, job["id"])
    deliverer.start()
    wait_until(lambda: log(state="delivered"), seconds=10)
    deliverer.stop()
    assert client.delete(f"{JOBS}/{job['id']}").status_code == 204
    clock.seconds += timedelta(days=settings.delivery_days, minutes=1).total_seconds()
    again = Deliverer(services.backend, clock=clock.now)
    again.start()
    wait_until(lambda: not log(), seconds=10)
    again.stop()
    with services.backend.database.read() as session:
        assert [row.name for row in session.scalars(select(WebhookRow))] == ["default"]


def test_with_a_caller_go_their_webhooks_and_what_waits_for_them(
    put: Put, submit: Callable[..., dict], workshop: Workshop, services: Services, receiver: Receiver,
    clock: Clock, log: Callable[..., list[dict]],
):  # fmt: skip
    put(url=receiver.url())
    complete(workshop, submit()["id"])
    queued = submit(webhook={"url": receiver.url("/own")})
    assert queued["status"] == "queued"
    left = remove_caller(services.backend, "local", now=clock.now)
    assert (left.webhooks, left.jobs) == (0, 0)
    assert log() == []


def test_an_earlier_release_has_written_less_and_a_later_one_more(
    put: Put, submit: Callable[..., dict], workshop: Workshop, services: Services, deliverer: Deliverer,
    receiver: Receiver,
):  # fmt: skip
    put(url=receiver.url())
    job = submit()
    complete(workshop, job["id"])
    with services.backend.database.write() as session:
        delivery = session.scalars(select(Delivery)).one()
        snapshot = json.loads(json.dumps(delivery.snapshot))
        del snapshot["job"]["numerics"]
        snapshot["job"]["of_a_later_release"] = 1
        snapshot["of_a_later_release"] = {}
        delivery.snapshot = snapshot
    deliverer.start()
    (told,) = receiver.wait_for(1)
    assert told.json["data"]["id"] == job["id"]


def test_nothing_is_told_while_nobody_wants_it(
    submit: Callable[..., dict], workshop: Workshop, services: Services
):
    complete(workshop, submit()["id"])
    with services.backend.database.read() as session:
        assert session.scalar(select(Delivery.id)) is None


def test_two_threads_of_a_receiver_see_each_id_once(
    put: Put, submit: Callable[..., dict], workshop: Workshop, deliverer: Deliverer, receiver: Receiver
):
    put(url=receiver.url())
    for _ in range(20):
        complete(workshop, submit()["id"])
    deliverer.start()
    told: list[Told] = receiver.wait_for(20)
    assert len({one.id for one in told}) == 20
