"""Packages of others with the names of ours, first on Python's path: everything goes on with our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.processes import own_python
from tests.support.ports import free_port
from tests.support.waiting import wait_until
from worker.engine.weights.fetch import fetch_file_within

pytestmark = pytest.mark.process
_ROOT = Path(__file__).parents[3]
_PATIENCE_SECONDS = 60
_SCRIPTS = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder with packages and a module that say so when they are loaded."""
    folder = tmp_path / "foreign"
    for name in ("web", "worker"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('foreign {name}')\n")
    (folder / "shared.py").write_text("raise RuntimeError('foreign shared')\n")
    return folder


@pytest.fixture
def run(foreign: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python in the foreign folder, which is first on its path, too."""

    def do(*words: object, **environ: str) -> subprocess.CompletedProcess[str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
        # Where this code is installed otherwise, its root is on the path already.
        plain["PYTHONPATH"] = f"{foreign}{os.pathsep}{_ROOT}"
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, cwd=foreign, env=plain | environ, capture_output=True, text=True)

    return do


@pytest.mark.parametrize("program", _SCRIPTS)
def test_a_script_as_installers_write_it_runs_our_own(run, tmp_path, program):
    module, _, function = _SCRIPTS[program].partition(":")
    script = tmp_path / program
    script.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    for words in ([script], ["-m", "atelier_entry", program], own_python(program)[1:]):
        done = run(*words, "--version")
        assert (done.returncode, done.stderr) == (0, ""), words
        assert done.stdout.startswith(f"{program}, version ")
        wrong = run(*words, "rnu")
        assert (wrong.returncode, f"Usage: {program} " in wrong.stderr) == (2, True)


@pytest.mark.parametrize("program", _SCRIPTS)
def test_modules_in_the_current_folder_are_not_meant(tmp_path, program):
    """Python looks there first with -m; a folder of somebody's own may well have a redis.py."""
    for name in ("click", "redis", "web", "secrets"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('foreign {name}')\n")
    done = subprocess.run(
        [sys.executable, "-m", "atelier_entry", program, "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_foreign_module_that_is_loaded_already_is_named(run, foreign):
    (foreign / "web" / "__init__.py").write_text("")
    (foreign / "sitecustomize.py").write_text("import web\n")
    done = run("-m", "atelier_entry", "atelier", "--version")
    assert done.returncode == 2
    assert f"'web' is loaded before Atelier begins, from {foreign / 'web' / '__init__.py'}" in done.stderr


def test_a_package_that_lies_over_ours_is_named(run, tmp_path):
    """As pip leaves it when two distributions have a package of one name."""
    site = tmp_path / "site"
    for name in ("shared", "web", "worker"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text((_ROOT / name / "__init__.py").read_text())
    (site / "web" / "__init__.py").write_text('"""web.py: makes web apps."""\n')
    (site / "atelier_entry.py").write_text((_ROOT / "atelier_entry.py").read_text())
    done = run(site / "atelier_entry.py", "atelier", "--version")
    assert done.returncode == 2
    assert f"the package 'web' in {site} is not Atelier's" in done.stderr


def test_an_unknown_program_is_refused(run):
    done = run("-m", "atelier_entry", "celery")
    assert (done.returncode, "known are atelier and atelier-worker" in done.stderr) == (2, True)


@pytest.mark.acceptance
def test_up_and_what_it_starts_run_our_own(foreign, tmp_path):
    """Web with its gunicorn worker, control, and a node."""
    data, log, weights = tmp_path / "data", tmp_path / "up.log", str(tmp_path / "no.h5")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    environ |= {"PYTHONPATH": f"{foreign}{os.pathsep}{_ROOT}", "ATELIER_VGG19_WEIGHTS": weights}
    words = own_python("atelier", "up", "--port", str(free_port()), "--data-dir", str(data))
    with log.open("w") as file:
        up = subprocess.Popen(words, cwd=foreign, env=environ, stderr=file)
    try:
        wait_until(
            lambda: "Ctrl-C stops everything" in log.read_text() or up.poll() is not None,
            seconds=_PATIENCE_SECONDS,
            what="up",
        )
    finally:
        up.terminate()
        code = up.wait(_PATIENCE_SECONDS)
    said = log.read_text()
    assert code == 0, said
    # The worker got as far as to its weights, and those are what it lacks.
    assert "worker-1 ended with exit code 3" in said
    for part in (data / "logs").glob("*.log"):
        assert "foreign" not in part.read_text(), part


def test_a_download_in_a_process_of_its_own_runs_our_own(foreign, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{foreign}{os.pathsep}{_ROOT}")
    monkeypatch.chdir(foreign)
    served = tmp_path / "served"
    served.write_bytes(b"weights")
    with pytest.raises(Exception, match="is not an http or https address"):
        fetch_file_within(30, served.as_uri(), "0" * 32, tmp_path / "file")


@pytest.mark.slow
def test_the_look_at_tensorflow_runs_our_own(run):
    done = run("-m", "atelier_entry", "atelier-worker", "check", "--gpus", "none", "--json")
    checks = {check["part"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["cuda"]["level"] == "ok", checks["cuda"]
