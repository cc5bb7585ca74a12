"""Taking pictures in: from the parts of a request to checked pictures, never holding more than is allowed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from werkzeug.datastructures import FileStorage

from shared.errors import PictureTooHeavy
from shared.picture import PictureFacts, PictureLimits, inspect_picture
from web.display_name import clean_filename

#: What a request may have beside two pictures: its other parts, and what separates them.
_OTHER_PARTS_BYTES = 1_000_000


@dataclass(frozen=True)
class Picture:
    """What is known of a picture that was checked; `filename` is for showing only."""

    sha256: str
    size_bytes: int
    filename: str
    facts: PictureFacts


def max_body_bytes(limits: PictureLimits) -> int:
    """Return how many bytes a request with two pictures may have."""
    return 2 * limits.max_bytes + _OTHER_PARTS_BYTES


def take_picture(part: FileStorage, *, name: str, limits: PictureLimits) -> tuple[Picture, bytes]:
    """Return what is known of one part of a request, and its bytes; `name` is what messages call it.

    Raises:
        PictureRefused: the subclass says why.
    """
    size = part.stream.seek(0, os.SEEK_END)
    if size > limits.max_bytes:
        raise too_heavy(name, size, limits)
    part.stream.seek(0)
    data = part.stream.read()
    facts = inspect_picture(data, name=name, limits=limits)
    filename = clean_filename(part.filename, default=name)
    return Picture(hashlib.sha256(data).hexdigest(), size, filename, facts), data


def too_heavy(name: str, size: int | None, limits: PictureLimits) -> PictureTooHeavy:
    """Return the refusal of too many bytes; `size` is None when they were not all counted."""
    if size is None:
        measured = "is larger than two pictures may be"
    elif size - limits.max_bytes < 100_000:
        measured = f"has {size} bytes"  # in MB it would look like the limit
    else:
        measured = f"has {size / 1e6:.1f} MB"
    return PictureTooHeavy(
        f"{name} {measured}; at most {limits.max_bytes / 1e6:g} MB are allowed for a picture"
    )
