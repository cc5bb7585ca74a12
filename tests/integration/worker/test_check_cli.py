"""`atelier-worker check` on a real Redis and a real storage; TensorFlow is loaded in a process of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from threading import Event

import pytest
from click.testing import CliRunner, Result

from shared.redis.connection import connect_redis
from shared.settings import Settings
from shared.storage.local import LocalStore
from tests.support.installation import names_of
from worker import serving
from worker.cli import check as check_cli
from worker.cli.main import main
from worker.readiness import TensorFlowFacts


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """TensorFlow takes seconds to load; one test does."""
    if "really" not in request.node.name:
        monkeypatch.setattr(check_cli, "_load_tensorflow", lambda _: TensorFlowFacts("2.21.0", None, 0))


def call(settings: Settings, *words: str) -> Result:
    return CliRunner(env=settings.to_environ()).invoke(main, ["check", "--gpus", "none", *words])


def look(settings: Settings) -> tuple[int, dict[str, dict[str, str]]]:
    answer = call(settings, "--json")
    document = json.loads(answer.stdout)
    assert document["could_work"] == (answer.exit_code == 0)
    return answer.exit_code, {found["part"]: found for found in document["checks"]}


def missing(settings: Settings) -> list[str]:
    return [part for part, found in look(settings)[1].items() if found["level"] == "missing"]


def test_a_light_machine_needs_neither_tensorflow_nor_vgg19(settings: Settings, monkeypatch):
    names_of(settings)
    settings = settings.model_copy(update={"vgg19_weights": "/nowhere.h5"})
    answer = call(settings, "--methods", "fast", "--json")
    document = json.loads(answer.stdout)
    assert (answer.exit_code, document["methods"]) == (0, ["fast"])
    assert document["weights"] == {"fast": "magenta-int8"}
    assert not {"tensorflow", "cuda", "weights"} & {found["part"] for found in document["checks"]}
    monkeypatch.setattr(serving, "find_spec", lambda _: None)
    auto = json.loads(call(settings, "--json").stdout)
    assert (auto["could_work"], auto["methods"]) == (True, ["fast"])
    assert {found["level"] for found in auto["checks"] if found["part"] == "tensorflow"} == {"note"}


def test_methods_that_are_none_are_refused(settings: Settings):
    answer = call(settings, "--methods", "slow")
    assert answer.exit_code == 2
    assert "'slow' is no method; known are auto, gatys, fast" in answer.output


@pytest.mark.slow
def test_a_machine_that_could_work_is_told_so_and_really_loads_tensorflow(settings: Settings):
    installation_id = names_of(settings).installation_id
    code, found = look(settings)
    assert code == 0
    assert list(found) == [
        "fast", "tensorflow", "driver", "cuda", "weights", "redis", "clock", "storage", "identity", "disk",
        "memory",
    ]  # fmt: skip
    assert "TensorFlow 2" in found["cuda"]["said"]
    assert installation_id in found["identity"]["said"]
    assert {part["level"] for part in found.values()} <= {"ok", "note"}


def test_it_is_told_in_plain_words_and_nothing_is_left(settings: Settings, redis_client):
    names = names_of(settings)
    answer = call(settings)
    assert answer.exit_code == 0, answer.output
    said = "serve jobs of 'gatys' and 'fast' on cpu, with the weights 'untrained' and 'magenta-int8'."
    assert said in answer.stdout
    root = settings.data_dir / "storage"
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["installation.json"]
    left = [key for key in redis_client.scan_iter(match=names.key("*")) if redis_client.ttl(key) < 0]
    assert left == []


def test_every_part_is_looked_at_though_all_are_away(settings: Settings):
    away = settings.model_copy(
        update={"redis_url": "redis://127.0.0.1:1/0", "vgg19_weights": "/nowhere.h5", "min_free_bytes": 2**52}
    )
    code, found = look(away)
    assert code == 1
    assert len(found) == 11
    assert {part for part, seen in found.items() if seen["level"] == "missing"} == {
        "weights", "redis", "storage", "identity"
    }  # fmt: skip
    assert all(seen["todo"] for part, seen in found.items() if seen["level"] == "missing")
    assert not settings.data_dir.exists()  # nothing was made where the mount is missing


def test_an_empty_mount_point_is_not_written_to(settings: Settings):
    root = settings.data_dir / "storage"
    root.mkdir(parents=True)
    assert missing(settings) == ["identity"]
    assert list(root.iterdir()) == []


def test_too_little_room_is_told_in_bytes(settings: Settings):
    names_of(settings)
    full = settings.model_copy(update={"min_free_bytes": 2**52})
    assert missing(full) == ["disk"]
    assert str(2**52) in look(full)[1]["disk"]["said"]


def test_a_storage_that_cannot_be_written_is_told(settings: Settings):
    names_of(settings)
    (settings.data_dir / "storage" / "check").write_text("a file where a folder should be")
    assert missing(settings) == ["storage"]


def test_a_storage_that_hangs_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """As a mount whose server is gone: it does not fail, it does not answer."""
    names_of(settings)
    answers = Event()
    monkeypatch.setattr(check_cli, "_STORAGE_SECONDS", 0.05)
    monkeypatch.setattr(LocalStore, "read", lambda *_: answers.wait(20))
    try:
        code, found = look(settings)
    finally:
        answers.set()
    assert code == 1
    for part in ("storage", "identity"):
        assert (found[part]["level"], "does not answer" in found[part]["said"]) == ("missing", True)


def test_a_redis_that_refuses_to_write_is_told(settings: Settings):
    names_of(settings)
    client = connect_redis(settings)
    client.config_set("min-replicas-to-write", 1)
    try:
        assert missing(settings) == ["redis"]
    finally:
        client.config_set("min-replicas-to-write", 0)
        client.close()


def test_weights_that_are_none_are_told(settings: Settings, tmp_path: Path):
    names_of(settings)
    (tmp_path / "none.h5").write_text("nothing")
    assert missing(settings.model_copy(update={"vgg19_weights": str(tmp_path / "none.h5")})) == ["weights"]
    unreachable = {"vgg19_weights": "imagenet", "vgg19_weights_url": "http://127.0.0.1:1/vgg19.h5"}
    code, found = look(settings.model_copy(update=unreachable))
    assert (code, found["weights"]["level"]) == (1, "missing")
    assert "weights import" in found["weights"]["todo"]
    code, found = look(settings.model_copy(update={**unreachable, "vgg19_weights": "auto"}))
    assert (code, found["weights"]["level"]) == (0, "note")
    shutil.rmtree(settings.data_dir)


def test_a_wrong_setting_ends_it(settings: Settings):
    answer = call(settings.model_copy(update={"redis_ca_file": "/nowhere.pem"}))
    assert answer.exit_code == 2
    assert "ATELIER_REDIS_CA_FILE" in answer.output


def test_a_gpu_that_is_wanted_and_not_there_is_missing(settings: Settings, monkeypatch):
    names_of(settings)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    answer = CliRunner(env=settings.to_environ()).invoke(main, ["check", "--gpus", "all", "--json"])
    assert answer.exit_code == 1
    found = {check["part"]: check["level"] for check in json.loads(answer.stdout)["checks"]}
    assert found["driver"] == "missing"
