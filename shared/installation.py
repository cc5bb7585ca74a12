"""The identity of an installation: one small file in the storage, which says whose storage this is.

A folder below a mount point that is not mounted looks like an empty storage, and another service's storage
like our own; only the file tells.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ArtifactMissing, IdentityMissing, IdentityWrong
from shared.redis.names import FIRST_NAMES, Names
from shared.storage.store import ArtifactStore

IDENTITY_KEY = "installation.json"
_FIRST_RELEASE_FOLDERS = ("assets", "jobs")


class Installation(BaseModel):
    """The identity; `id` is never changed."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    #: It is a part of every name in Redis.
    id: str = Field(pattern=r"^[0-9A-Za-z_-]{1,100}$")

    @property
    def names(self) -> Names:
        """What this installation's things are called in Redis."""
        return Names(self.id)


def read_identity(store: ArtifactStore) -> Installation | None:
    """Return the identity that a storage carries; None where it carries none.

    Raises:
        IdentityWrong: when the file cannot be read as one.
        StorageUnavailable: when the storage fails.
    """
    try:
        data = store.read(IDENTITY_KEY)
    except ArtifactMissing:
        return None
    try:
        return Installation.model_validate_json(data)
    except ValidationError as error:
        reason = "; ".join(str(fault["msg"]) for fault in error.errors())
        raise IdentityWrong(
            f"{IDENTITY_KEY} in the storage, of {len(data)} bytes, cannot be read: {reason}"
        ) from error


def write_identity(store: ArtifactStore, installation: Installation) -> None:
    """Give a storage its identity; raise `ArtifactExists` when it has one."""
    store.create(IDENTITY_KEY, installation.model_dump_json().encode())


def has_content(store: ArtifactStore) -> bool:
    """Whether a storage holds anything of a service: pictures, or files of jobs."""
    return any(store.folders(folder, limit=1) for folder in _FIRST_RELEASE_FOLDERS)


def names_at(store: ArtifactStore) -> Names:
    """Return the Redis names of the installation that a storage belongs to, for a node that starts.

    A storage with content and without identity is one of the first release, whose control knows no other
    names; the identity comes when control is upgraded.

    Raises:
        IdentityMissing: when the storage has neither: it is not mounted, or no service has begun yet.
        IdentityWrong, StorageUnavailable: as `read_identity`.
    """
    installation = read_identity(store)
    if installation is not None:
        return installation.names
    if has_content(store):
        return FIRST_NAMES
    raise IdentityMissing()


def check_identity(store: ArtifactStore, names: Names) -> None:
    """Prove that the storage that is seen now is the one that was seen at the start.

    Raises:
        IdentityMissing: when it carries no identity.
        IdentityWrong: when it carries that of another installation.
        StorageUnavailable: when the storage fails.
    """
    installation = read_identity(store)
    if installation is None and names.installation_id is not None:
        raise IdentityMissing()  # whatever else lies there
    found = installation.names if installation is not None else names_at(store)
    if found != names:
        first = "one of the first release"
        raise IdentityWrong(
            f"the storage belongs to the installation {found.installation_id or first}, "
            f"this process to {names.installation_id or first}"
        )
