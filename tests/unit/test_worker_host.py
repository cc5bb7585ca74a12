"""What a worker host is started by: systemd's units, and compose.worker.yaml. Nothing is started."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from shared.settings import PREFIX, Settings, folder_of, load_settings
from tests.support.given_words import read_words
from web.cli.main import main as atelier
from worker.cli.main import main as atelier_worker

_ROOT = Path(__file__).parents[2]
_UNITS = _ROOT / "deploy/systemd"
_NAMES = ("atelier-worker", "atelier-web", "atelier-control")
_PROGRAMS = "/opt/atelier/bin"
_DOCUMENT = (_ROOT / "docs/operations.md").read_text()


def read_unit(name: str) -> dict[str, list[str]]:
    """The values of a unit by their keys; no key of ours is in two sections."""
    values: dict[str, list[str]] = {}
    for line in (_UNITS / f"{name}.service").read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
    return values


def environ_of(name: str) -> dict[str, str]:
    """What systemd makes of one of the files with variables."""
    words = shlex.split((_UNITS / f"{name}.env").read_text(), comments=True)
    return dict(word.split("=", 1) for word in words)


@pytest.fixture(scope="module")
def services() -> dict:
    return YAML(typ="safe").load((_ROOT / "compose.worker.yaml").read_text())["services"]


def given(value: object, environ: dict[str, str]) -> str:
    """What Compose puts in for ``${NAME:-default}``, ``${NAME:+instead}`` and ``${NAME:?why}``."""

    def put(match: re.Match[str]) -> str:
        name, kind, word = match.groups()
        has_it = bool(environ.get(name))
        assert has_it or kind != "?", f"{name} is needed: {word}"
        if kind == "+":
            return word if has_it else ""
        return environ[name] if has_it else word

    return re.sub(r"\$\{(\w+):([-+?])([^}]*)\}", put, str(value))


NEEDED = {
    "ATELIER_REDIS_URL": "rediss://:secret@control:6379/0",
    "STORAGE_FOLDER": "/mnt/storage",
    "WORKER_NAME": "gpu-a",
}


@pytest.mark.process
def test_systemd_understands_the_units(tmp_path: Path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        assert not os.environ.get("CI"), "there is no systemd-analyze: the units cannot be verified"
        pytest.skip("there is no systemd-analyze; with CI set this is a failure")
    # It looks whether the programs are there.
    for program in ("atelier", "atelier-worker"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    units = []
    for name in _NAMES:
        text = (_UNITS / f"{name}.service").read_text()
        assert _PROGRAMS in text
        units.append(tmp_path / f"{name}.service")
        units[-1].write_text(text.replace(_PROGRAMS, str(tmp_path)))
    done = subprocess.run(
        [tool, "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", _NAMES)
def test_a_unit_starts_a_command_that_there_is_with_settings_that_are_some(name):
    unit, environ = read_unit(name), environ_of("worker" if name == "atelier-worker" else "atelier")
    own = dict(each.split("=", 1) for each in unit.get("Environment", []))
    settings = load_settings({k: v for k, v in {**environ, **own}.items() if k.startswith(PREFIX)})
    program, command, *words = unit["ExecStart"][0].split()
    group = {"atelier": atelier, "atelier-worker": atelier_worker}[Path(program).name]
    options = [
        word for each in words for word in (shlex.split(environ[each[1:]]) if each[0] == "$" else [each])
    ]
    assert read_words(group, command, options) is not None
    folder = str(folder_of(settings.resolved_storage_url))
    assert unit["RequiresMountsFor"] == unit["ReadWritePaths"] == [folder]
    assert unit["EnvironmentFile"][0].startswith("/etc/atelier/")
    assert (unit["User"], unit["UMask"]) == (["atelier"], ["0077"])


def test_a_worker_has_time_to_drain_and_one_that_was_drained_stays_down():
    unit = read_unit("atelier-worker")
    assert int(unit["TimeoutStopSec"][0]) > Settings().drain_seconds
    assert (unit["KillMode"], unit["Restart"]) == (["mixed"], ["on-failure"])
    assert unit["RestartPreventExitStatus"] == ["2 3"]
    # They would hide the GPUs.
    assert not {"PrivateDevices", "ProtectClock", "DevicePolicy", "MemoryDenyWriteExecute"} & set(unit)


def test_web_and_control_have_the_same_settings_and_more_time_than_they_need():
    web, control = (read_unit(name) for name in ("atelier-web", "atelier-control"))
    assert web["EnvironmentFile"] == control["EnvironmentFile"]
    assert web["TimeoutStopSec"] == control["TimeoutStopSec"] == ["30"]
    same = {"ATELIER_REDIS_URL", "ATELIER_STORAGE_URL", "ATELIER_REDIS_CA_FILE"}
    here, there = environ_of("atelier"), environ_of("worker")
    assert {name: here[name] for name in same} == {name: there[name] for name in same}


def test_the_containers_of_a_worker_host_are_two_and_open_no_port(services):
    assert set(services) == {"worker", "worker-gpu"}
    assert {name: service["profiles"] for name, service in services.items()} == {
        "worker": ["cpu"],
        "worker-gpu": ["gpu"],
    }
    for service in services.values():
        assert not {"ports", "depends_on", "privileged", "network_mode"} & set(service)
        assert service["stop_grace_period"] == "90s"
        assert service["restart"] == "on-failure"
        assert int(service["environment"]["ATELIER_DRAIN_SECONDS"]) < 90


@pytest.mark.parametrize("ca", [{}, {"REDIS_CA": "/etc/ssl/our-ca.pem"}])
def test_its_variables_are_settings_and_its_command_is_understood(services, ca):
    environ = {**NEEDED, **ca, "WORKER_LABELS": "zone=a"}
    for service in services.values():
        told = {key: given(value, environ) for key, value in service["environment"].items()}
        settings = load_settings(told)
        assert settings.redis_url == NEEDED["ATELIER_REDIS_URL"]
        assert settings.redis_ca_file == ("/etc/atelier/redis-ca.pem" if ca else "")
        storage, certificate, weights = service["volumes"]
        assert storage["bind"] == {"create_host_path": False}
        assert given(storage["source"], environ) == "/mnt/storage"
        assert storage["target"] == str(folder_of(settings.resolved_storage_url))
        source = ca.get("REDIS_CA", "/dev/null")
        assert given(certificate, environ) == f"{source}:/etc/atelier/redis-ca.pem:ro"
        assert weights == f"weights:{settings.cache_dir}"
        program, command, *words = (given(word, environ) for word in service["command"])
        assert program == "atelier-worker"
        params = read_words(atelier_worker, command, words)
        assert (params["name"], params["labels"]) == ("gpu-a", "zone=a")


@pytest.mark.parametrize("name", NEEDED)
def test_what_has_no_default_is_asked_for(services, name):
    environ = {key: value for key, value in NEEDED.items() if key != name}
    with pytest.raises(AssertionError, match=f"{name} is needed"):
        given(str(services["worker"]), environ)


def test_its_images_are_those_of_the_dockerfile(services):
    stages = set(re.findall(r"^FROM .+ AS (\S+)$", (_ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {service["build"]["target"] for service in services.values()} <= stages


def test_the_document_names_all_that_there_is_for_a_host():
    for file in (*(f"deploy/systemd/{name}.service" for name in _NAMES), "compose.worker.yaml"):
        assert file in _DOCUMENT, file
