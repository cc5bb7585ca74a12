"""Fixtures of the fast method's tests: the packaged model for real, loaded once."""

from __future__ import annotations

import pytest

from shared.settings import Settings
from worker.engine.fast.engine import FastEngine
from worker.engine.fast.model import FastModel, load_fast_model
from worker.engine.fast.source import find_fast_model


@pytest.fixture(scope="session")
def packaged() -> FastModel:
    return load_fast_model(find_fast_model(Settings()), threads=2)


@pytest.fixture(scope="session")
def fast_engine(packaged: FastModel) -> FastEngine:
    return FastEngine(packaged)
