"""Planted bugs of how checkpoints are written and told of; see `tests.chaos.plants`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from random import randrange
from time import sleep
from typing import Any

from shared.storage.store import ArtifactStore

_WINDOW_SECONDS = 0.5
#: As long as a few of the sleeping engine's steps: a disk that is busy.
_WRITE_SECONDS = 0.2


class HeldStore:
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
        """Write all that waits, in order."""
        for action, key, data in self._held:
            action(key, data)


def write_again() -> None:
    """Write a state that was resumed from again, with other bytes, and report it as the same event."""
    from worker import attempt, checkpoint, writer
    from worker.reporter import Reporter

    pack, report = checkpoint.pack_checkpoint, Reporter.report

    def rewrite(store: ArtifactStore, key: str, state: Any, **told: Any) -> checkpoint.StateFile:
        data = pack(state, **told)
        length = int.from_bytes(data[:8], "little")
        header = data[8 : 8 + length] + b" " * 8 * randrange(1, 1000)
        data = len(header).to_bytes(8, "little") + header + data[8 + length :]
        store.write(key, data)
        return checkpoint.StateFile(sha256(data).hexdigest(), len(data))

    def find(*words: Any, **names: Any) -> Any:
        found = checkpoint.find_checkpoint(*words, **names)
        return found and replace(found, key=f"{found.key} of another attempt")

    def report_once(self: Reporter, *words: Any, mark: str = "", **names: Any) -> None:
        report(self, *words, mark=mark.partition(":")[0], **names)

    writer.keep_checkpoint, attempt.find_checkpoint = rewrite, find
    Reporter.report = report_once  # type: ignore[method-assign]


def tell_before_write() -> None:
    """Report a checkpoint first, and store it half a second later."""
    from worker.writer import Writer

    keep = Writer._keep_checkpoint

    def keep_late(self: Writer, *what: Any) -> None:
        store = self._store
        self._store = held = HeldStore(store)  # type: ignore[assignment]
        keep(self, *what)
        self._store = store
        sleep(_WINDOW_SECONDS)
        held.let_go()

    Writer._keep_checkpoint = keep_late  # type: ignore[method-assign]


def lose_the_last() -> None:
    """Wait for nothing that is being written when an attempt ends, and throw it away."""
    from worker.writer import Writer

    write, leave, ended = Writer._write, Writer.__exit__, set[Writer]()

    def write_unless_ended(self: Writer, *what: Any) -> None:
        sleep(_WRITE_SECONDS)
        if self not in ended:
            write(self, *what)

    def leave_at_once(self: Writer, *how: Any) -> None:
        ended.add(self)
        leave(self, *how)

    Writer._write = write_unless_ended  # type: ignore[method-assign]
    Writer.wait = lambda self: None  # type: ignore[method-assign]
    Writer.__exit__ = leave_at_once  # type: ignore[method-assign]
