"""`atelier queue set-aside` against a real Redis and a storage, without a service."""

from __future__ import annotations

import json

import pytest
import redis
from click.testing import CliRunner, Result

from shared.broker import DEFAULT_ROUTE
from shared.clock import utc_now
from shared.redis import Coordination
from shared.settings import Settings
from tests.support.installation import names_of
from web.cli.main import main


@pytest.fixture
def coordination(settings: Settings) -> Coordination:
    return Coordination.connect(settings, names_of(settings))


@pytest.fixture
def queue(coordination: Coordination) -> str:
    return coordination.names.queue(DEFAULT_ROUTE)


def run(settings: Settings, *words: str) -> Result:
    environ = {"ATELIER_REDIS_URL": settings.redis_url, "ATELIER_DATA_DIR": str(settings.data_dir)}
    return CliRunner(env=environ).invoke(main, ["queue", "set-aside", *words])


def test_nothing(settings: Settings, coordination: Coordination):
    assert run(settings).output == "Nothing is set aside.\n"
    assert json.loads(run(settings, "--json").output) == {"count": 0, "entries": []}


def test_entries_are_listed_requeued_and_dropped(
    settings: Settings, coordination: Coordination, queue: str, redis_client: redis.Redis
):
    for text in ("one", "two\x1b[31m"):
        coordination.set_aside.put(text, reason="it is no JSON", source=queue, now=utc_now())
    listed = json.loads(run(settings, "--json").output)
    assert [(entry["entry"], entry["source"], entry["reason"]) for entry in listed["entries"]] == [
        ("two\x1b[31m", queue, "it is no JSON"),
        ("one", queue, "it is no JSON"),
    ]
    shown = run(settings).output
    assert "two" in shown
    assert "\x1b" not in shown
    assert "and 1 older ones" in run(settings, "--limit", "1").output

    two, one = (entry["id"] for entry in listed["entries"])
    assert run(settings, "--requeue", one).output == f"{one} requeued\n"
    assert redis_client.lrange(queue, 0, -1) == ["one"]
    assert json.loads(run(settings, "--drop", two[:8], "--json").output) == {"id": two, "dropped": True}
    assert coordination.set_aside.count() == 0


def test_a_report_goes_back_to_its_stream(settings: Settings, coordination: Coordination):
    stream = coordination.stream
    coordination.set_aside.put("a report", reason="why", source=stream.name, now=utc_now())
    (entry,) = coordination.set_aside.entries()
    assert run(settings, "--requeue", entry.id).exit_code == 0
    assert [delivery.text for delivery in stream.fresh(count=5)] == ["a report"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--requeue", "nothing"], "there are no entries"),
        (["--drop", "nothing"], "there are no entries"),
        (["--drop", "a", "--requeue", "b"], "exclude each other"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_refusals(settings: Settings, coordination: Coordination, words: list[str], said: str):
    result = run(settings, *words)
    assert result.exit_code != 0
    assert said in result.output


def test_without_its_storage_or_redis_it_says_so(settings: Settings, coordination: Coordination):
    other = settings.model_copy(update={"data_dir": settings.data_dir / "elsewhere"})
    assert "no identity" in run(other).output
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    assert "Redis" in run(away).output
    assert run(away).exit_code != 0
