"""A process that is killed at a chosen call: neither that call is made, nor what follows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from types import ModuleType

import pytest

#: What `LocalStore` asks of the system when it removes files.
REMOVING = tuple((os, name) for name in ("rename", "link", "unlink", "utime", "lstat", "fsync", "rmdir"))


class Killed(BaseException):
    """What `kill -9` is to the process: nothing of it goes on."""


def die() -> None:
    """End what goes on."""
    raise Killed


def before_call(
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    act: Callable[[], None],
    *,
    calls: Sequence[tuple[ModuleType, str]] = REMOVING,
) -> list[str]:
    """Do something once, right before the call of this number; return the calls, as they are made."""
    seen: list[str] = []

    def wrap(module: ModuleType, name: str) -> None:
        call = getattr(module, name)

        def wrapped(*words: object, **how: object) -> object:
            seen.append(name)
            if len(seen) == number:
                act()
            return call(*words, **how)

        monkeypatch.setattr(module, name, wrapped)

    for module, name in calls:
        wrap(module, name)
    return seen


def killed_at_each(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, calls: Sequence[tuple[ModuleType, str]]
) -> Iterator[tuple[int, Callable[[], bool]]]:
    """Yield a number and a function that acts and is killed at the call of this number, until it is not.

    The function returns whether it came to its end; it must be called before the next number is asked for.
    """
    for number in count(1):
        ends: list[bool] = []

        def run(number: int = number, ends: list[bool] = ends) -> bool:
            with monkeypatch.context() as patch:
                before_call(patch, number, die, calls=calls)
                try:
                    act()
                except Killed:
                    ends.append(False)
                else:
                    ends.append(True)
            return ends[-1]

        yield number, run
        if ends[-1]:
            return
