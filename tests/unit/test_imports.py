"""Who may know whom, read from the modules that a fresh process has loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in answer.stdout.split()}


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import web, web.app, web.control.process, web.cli.main", {"tensorflow", "worker", "keras"}),
        ("import worker.engine", {"celery", "redis", "sqlalchemy", "flask", "tensorflow"}),
        ("import worker.engine.engine", {"celery", "redis", "sqlalchemy", "flask", "web"}),
        ("import worker.node, worker.cli.main, worker.cli.run", {"tensorflow", "sqlalchemy", "flask", "web"}),
        ("import shared.broker, shared.settings", {"tensorflow", "sqlalchemy", "flask", "web", "worker"}),
        ("import shared.options, shared.picture", {"redis", "celery"}),
    ],
)
def test_nothing_forbidden_is_loaded(statement: str, forbidden: set[str]):
    assert loaded_by(statement) & forbidden == set()
