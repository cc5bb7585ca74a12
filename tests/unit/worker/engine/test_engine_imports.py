"""What is loaded when; each test asks a fresh process."""

from __future__ import annotations

import pytest

from tests.support.modules import loaded_by

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "statement",
    [
        "import worker.engine",
        "import worker.engine.engine, worker.engine.images",
        "import worker.cli.stylize",
    ],
)
def test_the_engine_knows_no_queue_and_no_database(statement):
    forbidden = {"celery", "kombu", "redis", "sqlalchemy", "flask", "apiflask", "web"}
    assert loaded_by(statement) & forbidden == set()


@pytest.mark.parametrize(
    "statement",
    [
        "import worker.engine",
        "import worker.engine.weights.source",
        "from worker.engine.weights.source import *; resolve_weights('untrained', None)",
        "import worker.engine.weights.weights, worker.engine.weights.keras_file",
        "import worker.engine.state, worker.engine.state, worker.engine.images, worker.engine.images",
        "import worker.cli.main, worker.cli.stylize",
    ],
)
def test_tensorflow_is_loaded_by_nothing_but_the_engine_itself(statement):
    assert loaded_by(statement) & {"tensorflow", "keras"} == set()


def test_choosing_weights_needs_next_to_nothing():
    loaded = loaded_by("import worker.engine.weights.source")
    assert loaded & {"numpy", "h5py", "PIL", "safetensors"} == set()
