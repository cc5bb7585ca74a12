"""The layout of the storage: the keys and folders of all files."""

from __future__ import annotations

import re
from datetime import datetime

#: Of a SHA-256 in hex: enough that no two files of an attempt share it.
_DIGEST_CHARS = 16
_WITH_DIGEST = re.compile(r".+/(?:checkpoint-\d+|result)-([0-9a-f]{16})\.(?:jpg|png)")
_SET_ASIDE = re.compile(r".+\.set-aside-[0-9a-f-]+")


def asset_key(sha256: str) -> str:
    """Return the key of an uploaded picture: equal bytes are stored once."""
    return f"assets/{sha256[:2]}/{sha256}"


def asset_thumbnail_key(sha256: str) -> str:
    """Return the key of an uploaded picture's thumbnail: beside it, made when it is first shown."""
    return f"{asset_key(sha256)}.thumbnail.jpg"


def large_thumbnail_key(sha256: str) -> str:
    """Return the key of an uploaded picture at a middle size: beside it, made when it is first shared."""
    return f"{asset_key(sha256)}.large.thumbnail.jpg"


def job_folder(job_id: str) -> str:
    """Return the folder of all files of a job."""
    return f"jobs/{job_id}"


def attempt_folder(job_id: str, attempt: int) -> str:
    """Return the folder that only this attempt writes to."""
    return f"{job_folder(job_id)}/attempt-{attempt}"


def replaced_attempt_folder(job_id: str, attempt: int, *, now: datetime) -> str:
    """Return the folder to which a restore at this moment moves an attempt that the backup does not know."""
    return f"{job_folder(job_id)}/replaced-{int(now.timestamp())}-attempt{attempt}"


def checkpoint_key(job_id: str, attempt: int, step: int) -> str:
    """Return the key of a checkpoint's state."""
    return f"{attempt_folder(job_id, attempt)}/checkpoint-{step:05d}.safetensors"


def checkpoint_picture_key(job_id: str, attempt: int, step: int, sha256: str) -> str:
    """Return the key of a checkpoint's picture, a JPEG; it contains the SHA-256, by which damage is seen.

    Those of the first releases are PNGs, which have checksums of their own: `checkpoint-00010.png`.
    """
    return f"{attempt_folder(job_id, attempt)}/checkpoint-{step:05d}-{sha256[:_DIGEST_CHARS]}.jpg"


def picture_type(key: str) -> str:
    """Return the media type of a picture of a job, by its key."""
    return "image/jpeg" if key.endswith(".jpg") else "image/png"


def digest_in(key: str) -> str | None:
    """Return the beginning of the SHA-256 of its bytes that a file's key contains; None if it has none."""
    match = _WITH_DIGEST.fullmatch(key)
    return match[1] if match else None


def checkpoint_thumbnail_key(picture_key: str, sha256: str) -> str:
    """Return the key of the thumbnail of a checkpoint's picture: beside it, made when it is first shown.

    `sha256` is that of the checkpoint: where a backup was put back, another one may have lain in its place.
    """
    return f"{picture_key}.{sha256[:16]}.thumbnail.jpg"


def origin_key(job_id: str) -> str:
    """Return the key of the checkpoint that a forked job starts from: its own copy."""
    return f"{job_folder(job_id)}/origin.safetensors"


def preview_key(job_id: str, attempt: int) -> str:
    """Return the key of the newest preview."""
    return f"{attempt_folder(job_id, attempt)}/preview.jpg"


def result_picture_key(job_id: str, attempt: int, sha256: str) -> str:
    """Return the key of the final picture; it contains the SHA-256, so that no zombie can change the file."""
    return f"{attempt_folder(job_id, attempt)}/result-{sha256[:_DIGEST_CHARS]}.png"


def result_thumbnail_key(job_id: str, sha256: str) -> str:
    """Return the key of the final picture's thumbnail; `sha256` is that of the final picture."""
    return f"{job_folder(job_id)}/thumbnail-{sha256[:16]}.jpg"


def marker_key(job_id: str, attempt: int) -> str:
    """Return the key of the commit marker, the last file that a successful attempt writes."""
    return f"{attempt_folder(job_id, attempt)}/result.json"


def is_touched(key: str) -> bool:
    """Whether somebody may need a file that is old once more: a picture, which is uploaded again."""
    return key.startswith("assets/") and "/." not in key


def set_aside_key(key: str, name: str) -> str:
    """Return where a file is put that is not what its place says; `name` tells several of them apart."""
    return f"{key}.set-aside-{name}"


def is_set_aside(key: str) -> bool:
    """Whether a file was set aside: nobody needs it any more, but somebody may want to look at it."""
    return _SET_ASIDE.fullmatch(key) is not None
