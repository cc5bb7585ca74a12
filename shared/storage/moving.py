"""Copying all files of an installation from one store to another, proven by their hashes.

The identity is copied last: a service does not start on a store that lacks it, so a copy that was killed is
never taken for a whole one. It may be repeated, and goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import ArtifactExists, ArtifactMissing, FileDamaged, IdentityMissing, IdentityWrong
from shared.installation import IDENTITY_KEY, Installation, has_content, read_identity, write_identity
from shared.storage.store import ArtifactStore
from shared.storage.verify import sha256_of

#: Says in the target whose files are being copied there, until its identity does.
UNDER_WAY_KEY = "copy-under-way.json"
_NOT_COPIED = (IDENTITY_KEY, UNDER_WAY_KEY)
_CHECKS = "check/"
#: Files are small, and each takes some answers of the store.
_AT_ONCE = 8


@dataclass(frozen=True)
class Copied:
    """What a copy holds, and how much of it this run has copied.

    `sha256` is that of the list of all files: a line for each, sorted by key, of its SHA-256, two spaces and
    its key. `others` are files of the target that the source does not have.
    """

    installation_id: str
    files: int
    size_bytes: int
    sha256: str
    copied_files: int
    copied_bytes: int
    others: int


@dataclass(frozen=True)
class _Proven:
    key: str
    sha256: str
    size_bytes: int
    is_new: bool


def copy_files(
    source: ArtifactStore, target: ArtifactStore, *, on_file: Callable[[int, int], None] = lambda *_: None
) -> Copied:
    """Copy all files of the installation in `source`, and read each back; what is there and equal stays.

    What is written to the source meanwhile may be missing: stop the service, or repeat this once it is
    stopped. `on_file` hears after each file how many of how many are there.

    Raises:
        IdentityMissing: when the source carries no identity.
        IdentityWrong: when the target is of another installation, or holds files and does not say whose.
        FileDamaged: when a file cannot be read back as it was written.
        StorageUnavailable: when one of the two fails.
    """
    installation = read_identity(source)
    if installation is None:
        raise IdentityMissing(
            "the storage to copy from carries no identity: it is not mounted, or it is empty"
        )
    _take(target, installation)
    keys = [key for key in source.list(".") if _is_copied(key)]
    there = {key for key in target.list(".") if _is_copied(key)}
    proven = []
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="copy") as pool:
        for done, found in enumerate(pool.map(lambda key: _copy(source, target, key, there), keys), 1):
            proven += [found] if found is not None else []
            on_file(done, len(keys))
    with suppress(ArtifactExists):
        write_identity(target, installation)
    target.delete(UNDER_WAY_KEY)
    new = [each for each in proven if each.is_new]
    lines = "".join(f"{each.sha256}  {each.key}\n" for each in proven)
    return Copied(
        installation_id=installation.id,
        files=len(proven),
        size_bytes=sum(each.size_bytes for each in proven),
        sha256=hashlib.sha256(lines.encode()).hexdigest(),
        copied_files=len(new),
        copied_bytes=sum(each.size_bytes for each in new),
        others=len(there - set(keys)),
    )


def _take(target: ArtifactStore, installation: Installation) -> None:
    """See to it that the target is empty, or holds a copy of this installation, begun or whole."""
    target.make_root()
    found = read_identity(target)
    if found is None:
        try:
            begun = Installation.model_validate_json(target.read(UNDER_WAY_KEY))
        except ArtifactMissing:
            if has_content(target):
                raise IdentityWrong(
                    "the storage to copy to holds files, and does not say of which installation: choose "
                    "another place, or remove them"
                ) from None
            with suppress(ArtifactExists):
                target.create(UNDER_WAY_KEY, installation.model_dump_json().encode())
            return
        found = begun
    if found != installation:
        raise IdentityWrong(
            f"the storage to copy from is of the installation {installation.id}, the other of {found.id}"
        )


def _is_copied(key: str) -> bool:
    return key not in _NOT_COPIED and not key.startswith(_CHECKS)


def _copy(source: ArtifactStore, target: ArtifactStore, key: str, there: Collection[str]) -> _Proven | None:
    """Copy one file, unless it is there, and prove it; None when it was removed meanwhile."""
    try:
        with source.open(key) as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(0)
            sha256 = sha256_of(file)
            is_new = key not in there or _sha256_at(target, key) != sha256
            if is_new:
                file.seek(0)
                target.write(key, file)
    except ArtifactMissing:
        return None
    found = _sha256_at(target, key) if is_new else sha256
    if found != sha256:
        raise FileDamaged(
            f"{key} has the SHA-256 {found or 'of no file'} in its copy, and {sha256} where it was read"
        )
    return _Proven(key, sha256, size_bytes, is_new)


def _sha256_at(store: ArtifactStore, key: str) -> str | None:
    try:
        with store.open(key) as file:
            return sha256_of(file)
    except ArtifactMissing:
        return None
