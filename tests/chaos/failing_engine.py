"""An engine that breaks in every run, and pictures that are not seen, as a switch from outside says.

The switch is a file for each node, read at every run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from shared.errors import ArtifactMissing
from shared.options import StyleOptions
from shared.storage.local import LocalStore
from shared.storage.s3 import S3Store
from tests.support.engines import EngineAround
from worker.engine.state import EngineState, Step
from worker.runner import Engine

#: What the engine says when it breaks; no other failure of an engine has a reason in a run.
FAILURE = "the device is lost"


class Failing(StrEnum):
    """How a node fails."""

    ENGINE = "engine"
    INPUTS = "inputs"


def switch_of(folder: Path, name: str) -> Path:
    """Return the switch of a node of the run in a folder."""
    return folder / "failing" / name


def install_missing_inputs(switch: Path) -> None:
    """Let this process see no picture of a job while the switch says so."""
    for kind in (LocalStore, S3Store):
        _let_fail(kind, switch)


def _let_fail(kind: type[LocalStore | S3Store], switch: Path) -> None:
    read = kind.read

    def failing_read(self: LocalStore | S3Store, key: str) -> bytes:
        if key.startswith("assets/") and _read(switch)[0] is Failing.INPUTS:
            raise ArtifactMissing(f"no file {key} is seen")
        return read(self, key)  # type: ignore[arg-type]

    kind.read = failing_read  # type: ignore[method-assign]


class FailingEngine(EngineAround):
    """Another engine, none of whose runs comes to its end while the switch says so."""

    def __init__(self, engine: Engine, switch: Path) -> None:
        super().__init__(engine)
        self._switch = switch

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield the steps of the engine within, or only some of them."""
        how, most = _read(self._switch)
        steps = self._engine.stylize(content, style, options, resume=resume)
        if how is not Failing.ENGINE:
            yield from steps
            return
        for step in itertools.islice(steps, most):
            if step.step == step.steps:
                break
            yield step
        raise RuntimeError(FAILURE)


def fail_from_now_on(switch: Path, how: Failing, *, steps: int) -> None:
    """Let a node fail; an engine after so many steps of each run, at the latest at its last."""
    switch.parent.mkdir(exist_ok=True)
    partial = switch.with_suffix(".new")
    partial.write_text(f"{how} {steps}")
    partial.replace(switch)


def _read(switch: Path) -> tuple[Failing | None, int]:
    try:
        how, most = switch.read_text().split()
    except FileNotFoundError:
        return None, 0
    return Failing(how), int(most)
