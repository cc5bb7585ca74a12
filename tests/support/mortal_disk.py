"""Deaths at a chosen change of the disk: the n-th of the system's calls that make, sync, rename or remove."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.engine.state import Step

#: Of a last checkpoint and its picture, the preview, the result and its marker there are 19, and a few more
#: where folders are new.
LEAST_POINTS = 19
_CHANGES: tuple[tuple[Any, str], ...] = (
    (os, "link"), (os, "fsync"), (tempfile, "mkstemp"),
    (Path, "replace"), (Path, "rename"), (Path, "unlink"), (Path, "mkdir"),
)  # fmt: skip


def when_its_end_is_stored(step: Step, act: Callable[[], None]) -> Step:
    """Return the last step of a job, which does something once, when its picture is first asked for.

    By then nothing of an earlier step is in the writer's hand any more: all changes of the disk that follow
    are those of the end.
    """
    acts, lock = [act], Lock()

    def image() -> NDArray[np.uint8]:
        with lock:
            if acts:
                acts.pop()()
        return step.image()

    return replace(step, _image=image)


class Death:
    """Dies right before the n-th change of the disk once it is armed, or right after it, and stays dead."""

    def __init__(self, die: Callable[[], NoReturn]) -> None:
        """`die` is how: by a signal, or by an exception, which is raised again at every later change."""
        self._die = die
        self._point = 0
        self._is_after = self._is_armed = False
        #: How many changes there were since it was armed.
        self.count = 0
        self.is_dead = False

    def arm(self, point: int, *, is_after: bool) -> None:
        """Count from here, and die at `point`, the first being 1."""
        self._point, self._is_after, self._is_armed, self.count = point, is_after, True, 0

    def disarm(self) -> None:
        """Let everything be done again, if it is not too late."""
        self._is_armed = False

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Watch every change of this process; `patch` knows how to undo it."""
        for owner, name in _CHANGES:
            patch.setattr(owner, name, self._watched(getattr(owner, name)))

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*words: Any, **names: Any) -> Any:
            if self.is_dead:
                self._die()
            if not self._is_armed:
                return call(*words, **names)
            self.count += 1
            self.is_dead = self.count == self._point
            if self.is_dead and not self._is_after:
                self._die()
            result = call(*words, **names)
            if self.is_dead:
                self._die()
            return result

        return watched
