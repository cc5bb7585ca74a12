"""The commit of an attempt: its marker, written once, and believed only where it is of this very task."""

from __future__ import annotations

import hashlib

from shared.errors import ArtifactCorrupt, ArtifactExists, ArtifactMissing
from shared.logs import get_logger
from shared.protocol import JobMessage, ResultMarker, read_marker
from shared.storage import layout
from shared.storage.store import ArtifactStore
from shared.storage.verify import file_fault

_log = get_logger(__name__)


def find_result(store: ArtifactStore, message: JobMessage, *, fingerprint: str) -> ResultMarker | None:
    """Return the marker of an attempt that is committed already, with its outputs whole; None without one.

    What lies in its place and is something else is set aside: a damaged file, the marker of another timeline
    (after a backup was put back, attempts are counted anew), one whose outputs are gone.
    """
    key = layout.marker_key(message.job_id, message.attempt)
    try:
        data = store.read(key)
    except ArtifactMissing:
        return None
    reason = None
    try:
        marker = read_marker(data)
        reason = marker.mismatch(message, fingerprint=fingerprint) or _output_fault(store, marker)
    except ArtifactCorrupt as error:
        reason = error.detail
    if reason is None:
        return marker
    _log.error("marker_set_aside", key=key, reason=reason)
    store.set_aside(key, sha256=hashlib.sha256(data).hexdigest())
    return None


def create_marker(
    store: ArtifactStore, message: JobMessage, marker: ResultMarker, *, fingerprint: str
) -> ResultMarker:
    """Write the marker, which makes the result one, and return the one that counts.

    A zombie of the same attempt may have been first: its result is the result.
    """
    key = layout.marker_key(message.job_id, message.attempt)
    while True:
        try:
            store.create(key, marker.model_dump_json().encode())
        except ArtifactExists:
            found = find_result(store, message, fingerprint=fingerprint)
            if found is not None:
                return found
        else:
            return marker


def _output_fault(store: ArtifactStore, marker: ResultMarker) -> str | None:
    for output in marker.outputs:
        fault = file_fault(store, output.key, sha256=output.sha256, size_bytes=output.size_bytes)
        if fault is not None:
            return fault
    return None
