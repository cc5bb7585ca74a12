"""The wheel in an environment of its own, outside the checkout, with a worker's packages and no others."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

from shared.redis import Coordination
from shared.settings import Settings
from tests.support.installation import names_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

_ROOT = Path(__file__).parents[3]
_PATIENCE_SECONDS = 120
#: Of these the packages of a worker are, on whichever machine: not all are for this one.
_LOCKED = ("worker", "gpu", "fast")
_OF_OTHERS = ("flask", "werkzeug", "sqlalchemy", "alembic", "gunicorn", "jinja2", "httpx2", "pytest")


def locked_names() -> set[str]:
    texts = [(_ROOT / f"requirements/{name}.txt").read_text() for name in _LOCKED]
    return {name for text in texts for name in re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)}


def installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def bring(package: Distribution, site: Path) -> None:
    """Put an installed package into another environment without a copy and without a network."""
    for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
        here, there = Path(str(package.locate_file(top))), site / top
        if here.exists() and not there.exists():
            there.symlink_to(here)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("host")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-index", "--no-deps"]
    built = ["wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(_ROOT)]
    subprocess.run([*pip, *built], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    programs = folder / "env/bin"
    subprocess.run([*pip, "--python", str(programs / "python"), "install", *offline, str(wheel)], check=True)
    (site,) = folder.glob("env/lib/python3*/site-packages")
    for package in filter(None, map(installed, locked_names())):
        bring(package, site)
    return programs


@pytest.fixture
def environ(settings: Settings) -> dict[str, str]:
    """As on a machine that has never seen the checkout."""
    names_of(settings)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ATELIER_", "PYTHON"))}
    return {**plain, **settings.to_environ()}


@pytest.fixture
def node(programs: Path, environ: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = ["run", "--name", "installed", "--methods", "fast", "--labels", "zone=a"]
    with subprocess.Popen(
        [programs / "atelier-worker", *words], cwd=tmp_path, env=environ, start_new_session=True
    ) as node:
        yield node
        if node.poll() is None:
            os.killpg(node.pid, signal.SIGKILL)


def test_nothing_of_web_is_there_and_the_code_is_that_of_the_wheel(programs, environ, tmp_path):
    ask = f"""
import importlib.util, json, shared
there = [name for name in {_OF_OTHERS!r} if importlib.util.find_spec(name)]
print(json.dumps([there, shared.__file__]))
"""
    asked = [programs / "python", "-c", ask]
    done = subprocess.run(asked, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    there, place = json.loads(done.stdout)
    assert there == []
    assert Path(place).is_relative_to(programs.parent)


@pytest.mark.parametrize("command", ["run", "check", "stylize", "weights"])
def test_its_commands_explain_themselves(programs, environ, tmp_path, command):
    done = subprocess.run(
        [programs / "atelier-worker", command, "--help"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: atelier-worker {command}" in done.stdout


@pytest.mark.slow
def test_its_check_finds_all_that_a_worker_needs_and_really_loads_tensorflow(programs, environ, tmp_path):
    done = subprocess.run(
        [programs / "atelier-worker", "check", "--gpus", "none", "--json"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    assert (done.returncode, told["could_work"], told["methods"]) == (0, True, ["gatys", "fast"]), told


def test_it_runs_a_node(node, settings):
    seen = Coordination.connect(settings, names_of(settings)).workers
    wait_until(lambda: [beat.state for beat in seen.alive()] == ["idle"], seconds=_PATIENCE_SECONDS)
    (beat,) = seen.alive()
    assert (beat.worker_id, beat.methods, beat.labels) == ("installed", ["fast"], {"zone": "a"})
    node.terminate()
    assert node.wait(_PATIENCE_SECONDS) == 0
