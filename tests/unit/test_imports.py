"""Who may know whom, read from the modules that a fresh process has loaded."""

from __future__ import annotations

import pytest

from tests.support.modules import loaded_by

pytestmark = pytest.mark.process


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


def test_the_web_process_loads_no_tensorflow():
    loaded = loaded_by("import web, web.app, web.server")
    assert loaded & {"tensorflow", "keras", "worker", "h5py"} == set()
