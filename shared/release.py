"""The release that runs: its version, and its build, which tells two codes of one version apart."""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shared.protocol import PROTOCOL

_ROOT = Path(__file__).parents[1]
_PACKAGES = ("shared", "web", "worker")
_BUILD_CHARACTERS = 12


@dataclass(frozen=True)
class Release:
    """A release of Atelier; `protocol` is what it understands (see `shared.protocol.PROTOCOL`)."""

    version: str
    build: str
    protocol: int


@cache
def this_release() -> Release:
    """Return the release of this process.

    The build is a digest of the installed source files: equal code has the same one however it was installed.
    """
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*.py")):
            data = path.read_bytes()
            digest.update(f"{path.relative_to(_ROOT).as_posix()} {len(data)}\n".encode() + data)
    return Release(
        version=importlib.metadata.version("atelier"),
        build=digest.hexdigest()[:_BUILD_CHARACTERS],
        protocol=PROTOCOL,
    )
