"""What can happen to a mounted storage: it goes, and another folder or storage comes in its place."""

from __future__ import annotations

import shutil
from pathlib import Path

from shared.installation import IDENTITY_KEY, Installation, write_identity
from shared.protocol import new_id
from shared.storage.local import LocalStore


def unmount(root: Path) -> None:
    root.rename(root.with_name("unmounted"))


def mount_nothing(root: Path) -> None:
    unmount(root)
    root.mkdir()


def mount_another(root: Path) -> None:
    """Another installation's storage, which happens to be a copy of ours with an identity of its own."""
    shutil.copytree(root, root.with_name("other"), copy_function=shutil.copy2)
    unmount(root)
    root.with_name("other").rename(root)
    (root / IDENTITY_KEY).unlink()
    write_identity(LocalStore(root), Installation(id=new_id()))


def lose_identity(root: Path) -> None:
    (root / IDENTITY_KEY).unlink()


def spoil_identity(root: Path) -> None:
    (root / IDENTITY_KEY).write_bytes(b"\0" * 40)
