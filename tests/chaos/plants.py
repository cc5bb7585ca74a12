"""Bugs put into a node on purpose: the harness is worth something only if it finds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import sleep
from typing import Any

from shared.coordination.claims import Claims, Verdict
from shared.storage.local import LocalStore
from shared.storage.store import ArtifactStore
from worker.attempt import Attempt
from worker.engine.step import Step

_WINDOW_SECONDS = 0.5


class _HeldStore:
    """A store whose writes wait until they are let go."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._held: list[tuple[Callable[[str, bytes], None], str, bytes]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, key: str, data: bytes) -> None:
        self._held.append((self._store.write, key, data))

    def create(self, key: str, data: bytes) -> None:
        self._held.append((self._store.create, key, data))

    def let_go(self) -> None:
        for action, key, data in self._held:
            action(key, data)


def ack_before_commit() -> None:
    """Report success first, and store the result half a second later."""
    commit = Attempt.commit

    def late_commit(self: Attempt, step: Step) -> None:
        held = _HeldStore(self._desk.store)
        self._desk = replace(self._desk, store=held)
        commit(self, step)
        sleep(_WINDOW_SECONDS)
        held.let_go()

    Attempt.commit = late_commit  # type: ignore[method-assign]


def no_fence() -> None:
    """Let every claim and every renewal succeed."""

    def agree(self: Claims, job_id: str, attempt: int, *, token: str) -> Verdict:
        return Verdict.OK

    Claims.claim = Claims.renew = agree  # type: ignore[method-assign]


def forget_marker() -> None:
    """Never write a commit marker."""
    create = LocalStore.create

    def forgetful(self: LocalStore, key: str, data: bytes) -> None:
        if not key.endswith("/result.json"):
            create(self, key, data)

    LocalStore.create = forgetful  # type: ignore[method-assign]


PLANTS: dict[str, Callable[[], None]] = {
    "ack-before-commit": ack_before_commit,
    "no-fence": no_fence,
    "forget-marker": forget_marker,
}
