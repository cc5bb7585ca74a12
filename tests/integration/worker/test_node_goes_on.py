"""Real nodes, each a process of its own, over what must not end them, and the codes with which they end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from shared.installation import IDENTITY_KEY
from shared.options import StyleOptions
from shared.protocol import PROTOCOL, InputPicture, JobMessage
from shared.redis import Coordination
from shared.redis.names import Names
from shared.redis.workers import WorkerBeat
from shared.settings import Settings
from shared.storage import store_of
from shared.storage.layout import asset_key
from tests.support.node import start_node
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until
from worker.cli.main import main
from worker.deliveries import envelope
from worker.ending import NAME_TAKEN

pytestmark = pytest.mark.process

_PATIENCE_SECONDS = 120
Starter = Callable[..., subprocess.Popen[str]]


def wait_for(condition: Callable[[], Any], what: str = "") -> Any:
    return wait_until(condition, seconds=_PATIENCE_SECONDS, what=what)


def beat_of(shown: Coordination, name: str = "node") -> WorkerBeat | None:
    return next((beat for beat in shown.workers.alive() if beat.worker_id == name), None)


def when(shown: Coordination, state: str, name: str = "node") -> WorkerBeat:
    def look() -> WorkerBeat | None:
        found = beat_of(shown, name)
        return found if found and found.state == state else None

    return wait_for(look, f"{name} is {state}")


def send(client: redis.Redis, names: Names, job_id: str, *, first: bool = False, **changes: object) -> None:
    """Put a job into the queue whose pictures are missing."""
    picture = InputPicture(key="assets/aa/aa", sha256="aa")
    message = JobMessage(job_id=job_id, attempt=1, content=picture, style=picture, options=StyleOptions())
    push(client, names, {**message.to_json(), **changes}, message.message_id, first=first)


def push(
    client: redis.Redis, names: Names, message: dict[str, Any], message_id: str, *, first: bool = False
) -> None:
    queue = names.queue("any")
    text = json.dumps(envelope(message_id, message, queue=queue, tag=message_id))
    (client.rpush if first else client.lpush)(queue, text)


def is_claimed(client: redis.Redis, names: Names, job_id: str) -> Callable[[], bool]:
    return lambda: bool(client.exists(names.key("job", job_id)))


def child_of(node: subprocess.Popen[str]) -> int | None:
    listed = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
    return int(listed[0]) if listed else None


def test_junk_is_set_aside_and_the_job_behind_it_is_taken(start, shown, names, redis_client):
    junk = ["junk", "{}", "[]", '{"headers": {}, "properties": {}}', "[" * 50_000]
    for number, entry in enumerate(junk):
        redis_client.lpush(names.queue_lists("any")[number % 2], entry)
    redis_client.execute_command("LPUSH", names.queue("any"), b"\xff\x00")
    push(redis_client, names, {"version": 1, "job_id": "no job"}, "no job")
    node = start()
    wait_for(lambda: shown.set_aside.count() == len(junk) + 2, "all junk is set aside")
    send(redis_client, names, "behind")
    wait_for(is_claimed(redis_client, names, "behind"), "the job behind the junk")
    found = {entry.entry[:40]: entry for entry in shown.set_aside.entries()}
    assert {entry[:40] for entry in junk} | {r"\xff" + "\x00"} <= set(found)
    assert found["{}"].source == names.queue_lists("any")[1]
    assert found["junk"].reason.startswith("it is no JSON")
    unreadable = [entry for entry in found.values() if "job message cannot be read" in entry.reason]
    assert [json.loads(entry.entry)["headers"]["id"] for entry in unreadable] == ["no job"]
    assert node.poll() is None


def test_a_message_that_is_sent_again_and_again_is_set_aside_once(start, shown, names, redis_client):
    start()
    for tag in ("first", "second", "third"):
        entry = envelope("no job", {"version": 1, "job_id": "no job"}, queue=names.queue("any"), tag=tag)
        redis_client.lpush(names.queue("any"), json.dumps(entry))
    wait_for(lambda: [one.times for one in shown.set_aside.entries()] == [3])


def test_a_message_for_younger_nodes_is_left_to_them(start, shown, names, redis_client):
    send(redis_client, names, "young", least_protocol=PROTOCOL + 1, options={"of": "another shape"})
    send(redis_client, names, "behind")
    start()
    wait_for(is_claimed(redis_client, names, "behind"))
    assert not is_claimed(redis_client, names, "young")()
    assert shown.set_aside.count() == 0


@pytest.mark.parametrize("rights", ["-brpop", "-zadd", "-@list", "-@all"])
def test_a_redis_that_refuses_is_waited_for(start, shown, names, redis_client, rights):
    node = start()
    when(shown, "idle")
    # Our own connection keeps what it needs to give the rights back.
    redis_client.execute_command("ACL", "SETUSER", "default", rights, "+acl")
    try:
        redis_client.execute_command("ACL", "SETUSER", "default", "+lpush")
        send(redis_client, names, "job")
        with pytest.raises(subprocess.TimeoutExpired):
            node.wait(3)
        assert not is_claimed_as_admin(redis_client, names, "job")
    finally:
        redis_client.execute_command("ACL", "SETUSER", "default", "+@all")
    wait_for(is_claimed(redis_client, names, "job"), "the job that waited")
    assert node.poll() is None


@pytest.mark.parametrize(
    ("refuse", "mend"),
    [
        (["CONFIG SET requirepass secret", "CLIENT KILL TYPE normal"], "CONFIG SET requirepass ''"),
        (["CONFIG SET maxclients 1", "CLIENT KILL TYPE normal"], "CONFIG SET maxclients 10000"),
        (["CONFIG SET maxmemory 1"], "CONFIG SET maxmemory 0"),
        (["REPLICAOF 127.0.0.1 1"], "REPLICAOF NO ONE"),
        (["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"], "REPLICAOF NO ONE"),
        (["CONFIG SET min-replicas-to-write 3"], "CONFIG SET min-replicas-to-write 0"),
        (["CLIENT PAUSE 600000 WRITE"], "CLIENT UNPAUSE"),
    ],
    ids=lambda said: said if isinstance(said, str) else said[0].replace(" ", "-"),
)
def test_whatever_redis_says_is_waited_for(start, shown, names, redis_client, refuse, mend):
    node = start()
    when(shown, "idle")
    send(redis_client, names, "job")
    wait_for(is_claimed(redis_client, names, "job"))
    try:
        for command in refuse:
            redis_client.execute_command(*command.split())
        with pytest.raises(subprocess.TimeoutExpired):
            node.wait(3)
    finally:
        redis_client.execute_command(*mend.replace("''", "").split(" "))
    redis_client.execute_command("CONFIG", "SET", "replica-serve-stale-data", "yes")
    send(redis_client, names, "another")
    wait_for(is_claimed(redis_client, names, "another"), "the job after it")
    assert node.poll() is None


def is_claimed_as_admin(client: redis.Redis, names: Names, job_id: str) -> bool:
    client.execute_command("ACL", "SETUSER", "default", "+exists")
    return is_claimed(client, names, job_id)()


def test_a_refusal_is_told(start, shown, redis_client, names):
    start()
    when(shown, "idle")
    redis_client.set(names.queue("any"), "no list")
    told = when(shown, "unhealthy")
    assert told.reason.startswith("Redis hands out no jobs: WRONGTYPE")
    assert not told.takes_jobs
    redis_client.delete(names.queue("any"))
    assert when(shown, "idle").reason is None


def test_what_was_taken_and_cannot_be_given_back_at_once_is_not_lost(start, shown, names, redis_client):
    node = start()
    when(shown, "idle")
    # As with a memory that is full: what is popped can neither be noted nor put back.
    redis_client.execute_command("ACL", "SETUSER", "default", "-zadd", "-rpush")
    try:
        send(redis_client, names, "job")
        wait_for(lambda: waiting(redis_client, names) == 0)
        assert when(shown, "unhealthy").reason.startswith("Redis hands out no jobs")
        assert not is_claimed(redis_client, names, "job")()
    finally:
        redis_client.execute_command("ACL", "SETUSER", "default", "+@all")
    wait_for(is_claimed(redis_client, names, "job"))
    assert node.poll() is None


def test_a_connection_that_breaks_when_a_message_is_let_go_costs_no_more(
    start, shown, settings, names, redis_client, make_picture
):
    """Each of the client's tries is cut, as by a Redis that is started again just then."""
    done, after = (stored_message(settings, name, make_picture) for name in ("done", "after"))
    port = redis_client.connection_pool.connection_kwargs["port"]
    with Proxy(port, cut_at=b"ZREM", cuts=8) as proxy:
        node = start(changes={"redis_url": settings.redis_url.replace(f":{port}", f":{proxy.port}")})
        when(shown, "idle")
        push(redis_client, names, done.to_json(), done.message_id)
        wait_for(lambda: proxy.cuts_left < 8, "the message is let go, and that is cut")
        push(redis_client, names, after.to_json(), after.message_id)
        wait_for(is_claimed(redis_client, names, "after"), "the job behind it")
        wait_for(lambda: redis_client.hlen(names.unacked) == 0, "Redis hears of both in the end")
        assert node.poll() is None


def test_a_node_that_cannot_claim_gives_the_message_back_and_waits(start, shown, names, redis_client):
    start()
    when(shown, "idle")
    redis_client.execute_command("ACL", "SETUSER", "default", "-evalsha", "-eval")
    try:
        send(redis_client, names, "job")
        send(redis_client, names, "other")
        wait_for(lambda: redis_client.hlen(names.unacked) == 0 and waiting(redis_client, names) == 2)
    finally:
        redis_client.execute_command("ACL", "SETUSER", "default", "+@all")
    wait_for(is_claimed(redis_client, names, "job"))


def waiting(client: redis.Redis, names: Names) -> int:
    return client.llen(names.queue("any"))


def test_a_child_that_dies_at_the_start_is_replaced(start, shown, names, redis_client):
    node = start(load_seconds=2.0)
    for _ in range(2):
        child = wait_for(lambda: child_of(node))
        os.kill(child, signal.SIGKILL)
        wait_for(lambda dead=child: child_of(node) not in (None, dead))
    when(shown, "idle")
    send(redis_client, names, "job")
    wait_for(is_claimed(redis_client, names, "job"))
    assert node.poll() is None


def test_before_its_engine_is_ready_a_node_takes_nothing(start, shown, names, redis_client, tmp_path):
    send(redis_client, names, "job")
    gate = tmp_path / "gate"
    start(load_gate=str(gate))
    when(shown, "starting")
    wait_for(lambda: beat_of(shown).age_seconds > 1.5, "it had the time to take the message")
    assert waiting(redis_client, names) == 1
    gate.touch()
    wait_for(is_claimed(redis_client, names, "job"))


def test_an_engine_that_cannot_be_loaded_is_told_and_tried_again(start, shown, names, redis_client, tmp_path):
    gate = tmp_path / "gate"
    send(redis_client, names, "job")
    node = start(load_fails_until=str(gate))
    told = when(shown, "unhealthy")
    assert told.reason == "the engine cannot be loaded: RuntimeError: no device"
    assert waiting(redis_client, names) == 1
    gate.touch()
    wait_for(is_claimed(redis_client, names, "job"))
    assert node.poll() is None


def test_a_child_that_cannot_be_made_ready_is_told_and_tried_again(start, shown, tmp_path, monkeypatch):
    """As on a disk that has become full: it has no place for temporary files any more."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    node = start()
    when(shown, "idle")
    (scratch,) = tmp_path.glob("atelier-node-*")
    scratch.rename(tmp_path / "away")
    os.kill(child_of(node), signal.SIGKILL)
    told = when(shown, "unhealthy")
    assert told.reason.startswith("the engine cannot be loaded: FileNotFoundError")
    (tmp_path / "away").rename(scratch)
    when(shown, "idle")
    assert node.poll() is None


def test_a_device_that_hangs_costs_its_child(
    start, shown, settings, names, redis_client, make_picture, tmp_path
):
    first, second = (stored_message(settings, name, make_picture) for name in ("first", "second"))
    changes = {"stall_seconds": 0.5, "lease_seconds": 1.0, "renew_seconds": 0.2}
    node = start(changes=changes, breaks="hang", hung=str(tmp_path / "hung"))
    when(shown, "idle")
    push(redis_client, names, first.to_json(), first.message_id)
    wait_for((tmp_path / "hung").exists, "the device hangs")
    push(redis_client, names, second.to_json(), second.message_id)
    wait_for(is_claimed(redis_client, names, "second"), "the job behind it")
    assert beat_of(shown).faults == 1
    assert node.poll() is None


def test_a_node_whose_storage_goes_takes_nothing_until_it_is_back(
    start, shown, settings, names, redis_client
):
    storage = settings.data_dir / "storage"
    start()
    when(shown, "idle")
    storage.rename(settings.data_dir / "away")
    told = when(shown, "unhealthy")
    assert "identity" in told.reason
    send(redis_client, names, "job")
    wait_for(lambda: beat_of(shown).at > told.at)
    assert (waiting(redis_client, names), storage.exists()) == (1, False)
    (settings.data_dir / "away").rename(storage)
    wait_for(is_claimed(redis_client, names, "job"))


def test_a_node_whose_storage_becomes_another_ones_ends_to_be_started_again(start, shown, settings):
    node = start()
    when(shown, "idle")
    (settings.data_dir / "storage" / IDENTITY_KEY).write_text('{"version": 1, "id": "another"}')
    assert node.wait(_PATIENCE_SECONDS) == 1
    assert beat_of(shown) is None


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
def test_a_signal_ends_a_node_with_0_only_if_it_asks_for_that(
    start, shown, names, redis_client, number, code
):
    node = start()
    when(shown, "idle")
    node.send_signal(number)
    assert node.wait(_PATIENCE_SECONDS) == code
    assert beat_of(shown) is None


def test_a_name_may_be_any_words(start, shown, names, redis_client):
    start("50%d of a box")
    when(shown, "idle", "50%d of a box")
    send(redis_client, names, "job")
    wait_for(is_claimed(redis_client, names, "job"))


@pytest.mark.parametrize("name", ["a/b", "a\nb", "n" * 101])
def test_a_name_that_no_address_can_have_is_refused(settings, name):
    answer = CliRunner(env=settings.to_environ()).invoke(main, ["run", "--name", name])
    assert answer.exit_code == 2
    assert "--name has at most 100 characters" in answer.stderr


def test_a_hangup_that_is_ignored_stays_so(start, shown):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        node = start()
    finally:
        signal.signal(signal.SIGHUP, before)
    when(shown, "idle")
    node.send_signal(signal.SIGHUP)
    node.terminate()
    assert node.wait(_PATIENCE_SECONDS) == 0


def test_of_two_nodes_with_one_name_the_second_is_refused(start, shown):
    first = start()
    found = when(shown, "idle")
    second = start()
    assert second.wait(_PATIENCE_SECONDS) == NAME_TAKEN
    assert "name_taken" in second.stdout.read()
    assert beat_of(shown).run == found.run
    assert first.poll() is None
    shown.workers.drain("node")
    assert first.wait(_PATIENCE_SECONDS) == 0


def test_the_second_of_one_name_is_told_in_words(start, shown, settings):
    start()
    when(shown, "idle")
    command = [sys.executable, "-c", "from worker.cli.main import main; main()"]
    second = subprocess.run(
        [*command, "run", "--name", "node", "--gpus", "none"],
        env={**os.environ, **settings.to_environ()},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    assert second.returncode == NAME_TAKEN
    assert "A worker named 'node' is running already, on " in second.stderr
    assert "give this one another with --name" in second.stderr


def test_a_node_that_was_killed_can_be_started_again_at_once(start, shown):
    first = start()
    found = when(shown, "idle")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert beat_of(shown) is not None
    start()
    wait_for(lambda: (now := beat_of(shown)) and now.run != found.run and now.state == "idle")


def test_a_node_that_was_taken_for_dead_gives_up_when_it_is_back(start, shown):
    first = start()
    found = when(shown, "idle")
    other = found.model_copy(update={"run": "other", "process": ""})
    assert shown.workers.beat(other, instead_of=beat_of(shown)) is None
    assert first.wait(_PATIENCE_SECONDS) == NAME_TAKEN
    assert beat_of(shown).run == "other"


def test_a_node_leaves_no_temporary_files(start, shown, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    node = start(load_leaves=3)
    when(shown, "idle")
    assert [path.name.startswith("atelier-node-") for path in (tmp_path / "tmp").iterdir()] == [True]
    os.killpg(node.pid, signal.SIGKILL)
    node.wait()
    again = start(load_leaves=3)
    wait_for(lambda: (now := beat_of(shown)) and now.process.split()[2:3] == [str(again.pid)])
    when(shown, "idle")
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    again.terminate()
    assert again.wait(_PATIENCE_SECONDS) == 0
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_node_whose_pool_cannot_fork_ends_with_a_failure(start):
    node = start(no_forks=True)
    assert node.wait(_PATIENCE_SECONDS) not in (0, None)


def test_redis_may_not_be_there_when_a_node_starts(settings, names, shown):
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    node = start_node(away, "node")
    try:
        for line in node.stdout:
            if "engine_ready" in line:
                break
        node.terminate()
        assert node.wait(_PATIENCE_SECONDS) == 0
    finally:
        if node.poll() is None:
            os.killpg(node.pid, signal.SIGKILL)
        node.communicate()


def test_a_lost_connection_ends_no_job_and_brings_no_second_one(
    start, shown, settings, names, redis_client, make_picture
):
    first, second = (stored_message(settings, name, make_picture) for name in ("first", "second"))
    node = start(step_seconds=0.2)
    when(shown, "idle")
    push(redis_client, names, first.to_json(), first.message_id)
    when(shown, "busy")
    redis_client.client_kill_filter(_type="normal", skipme=True)
    push(redis_client, names, second.to_json(), second.message_id)
    wait_for(lambda: beat_of(shown).job.step > 10, "steps after the loss")
    assert beat_of(shown).job.job_id == "first"
    assert not is_claimed(redis_client, names, "second")()
    assert set(redis_client.hkeys(names.unacked)) <= {first.message_id}
    assert waiting(redis_client, names) >= 1
    wait_for(lambda: (beat := beat_of(shown)) and beat.job and beat.job.job_id == "second", "the second job")
    assert node.poll() is None


def stored_message(settings: Settings, job_id: str, make_picture: Callable[..., bytes]) -> JobMessage:
    """A job of 25 steps, with its pictures in the storage."""
    data = make_picture()
    sha256 = hashlib.sha256(data).hexdigest()
    picture = InputPicture(key=asset_key(sha256), sha256=sha256)
    store_of(settings).write(picture.key, data)
    options = StyleOptions(steps=25)
    return JobMessage(job_id=job_id, attempt=1, content=picture, style=picture, options=options)
