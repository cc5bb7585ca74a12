"""Checkpoints: all that an attempt needs to go on exactly where another one stopped.

One safetensors file each, which carries its own digest and the fingerprint of what it belongs to.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from shared.errors import ArtifactCorrupt, ArtifactExists, ArtifactMissing, CheckpointInvalid
from shared.logs import get_logger
from shared.protocol import JobMessage, Origin
from shared.storage.layout import job_folder
from shared.storage.store import ArtifactStore
from worker.engine.state import EngineState

_log = get_logger(__name__)
_FORMAT = "1"
_LENGTH_BYTES = 8
_NAME = re.compile(r"/attempt-(\d+)/checkpoint-(\d+)\.safetensors$")


@dataclass(frozen=True)
class StateFile:
    """The file of a state, as it lies in the store."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found: its key, the engine's state in it, and its file."""

    key: str
    state: EngineState
    file: StateFile
    #: What it was made with; None where it does not say.
    numerics: str | None = None
    #: Whether all steps up to it were made with these; None where that is not known.
    exact: bool | None = None

    def exact_under(self, numerics: str | None) -> bool | None:
        """Whether a job that goes on from here under some numerics has the bytes of one that ran through.

        None where that is not known.
        """
        if self.exact is False or (None not in (self.numerics, numerics) and self.numerics != numerics):
            return False
        return None if None in (self.numerics, numerics) else self.exact


def fingerprint(message: JobMessage, *, weights_sha256: str, engine_version: str) -> str:
    """Return the SHA-256 of all that decides a result: inputs, options, weights, engine version.

    How often checkpoints are written decides nothing, so that option is left out.
    """
    parts = {
        "content": message.content.sha256,
        "style": message.style.sha256,
        "options": message.options.model_dump(include=set(message.options.told_names - {"checkpoint_every"})),
        "weights": weights_sha256,
        "engine_version": engine_version,
        "origin": message.origin.sha256 if message.origin else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def pack_checkpoint(
    state: EngineState, *, fingerprint: str, numerics: str | None = None, exact: bool | None = None
) -> bytes:
    """Return a checkpoint file's bytes; equal states have equal bytes.

    A row keeps the hash of the file, and an attempt that is begun again writes the file again. safetensors
    itself writes its metadata in an order that changes from call to call, so the header is made here.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in state.arrays.items()}
    metadata = {
        "format": _FORMAT,
        "step": str(state.step),
        "fingerprint": fingerprint,
        "digest": _digest(arrays, state.step),
        # Told only where it is known: an attempt that is begun again writes the same bytes.
        **({} if numerics is None else {"numerics": numerics}),
        **({} if exact is None else {"exact": str(exact)}),
    }
    plain = memoryview(save(arrays))
    header_bytes = int.from_bytes(plain[:_LENGTH_BYTES], "little")
    tensors = json.loads(bytes(plain[_LENGTH_BYTES : _LENGTH_BYTES + header_bytes]))
    header = json.dumps({"__metadata__": metadata, **tensors}, sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _LENGTH_BYTES)  # the format aligns its tensors
    length = len(header).to_bytes(_LENGTH_BYTES, "little")
    return b"".join((length, header, plain[_LENGTH_BYTES + header_bytes :]))


def unpack_checkpoint(data: bytes, *, fingerprint: str | None) -> EngineState:
    """Return the state in a checkpoint file's bytes; without a fingerprint, one of whatever options.

    Raises:
        CheckpointInvalid: when it is damaged, of another format, or of other inputs or options.
    """
    return read_checkpoint("", data, fingerprint=fingerprint).state


def read_checkpoint(key: str, data: bytes, *, fingerprint: str | None) -> Checkpoint:
    """Return the checkpoint in the bytes of the file under a key; all else as `unpack_checkpoint`."""
    try:
        arrays = load(data)
        header_bytes = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + header_bytes]).get("__metadata__", {})
        step = int(metadata["step"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointInvalid(f"checkpoint is damaged: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise CheckpointInvalid(f"checkpoint has format {metadata.get('format')!r}; known is {_FORMAT!r}")
    if metadata.get("digest") != _digest(arrays, step):
        raise CheckpointInvalid("checkpoint is damaged: its digest does not match its content")
    if fingerprint is not None and metadata.get("fingerprint") != fingerprint:
        raise CheckpointInvalid("checkpoint belongs to other inputs, options, weights or engine version")
    return Checkpoint(
        key,
        EngineState(step=step, arrays=arrays),
        _file_of(data),
        numerics=metadata.get("numerics"),
        exact={"True": True, "False": False}.get(metadata.get("exact", "")),
    )


def find_checkpoint(store: ArtifactStore, message: JobMessage, *, fingerprint: str) -> Checkpoint | None:
    """Return the checkpoint to go on from: the job's newest usable one, else its origin, else none.

    Unusable ones are passed over, and logged.

    Raises:
        CheckpointInvalid, ArtifactCorrupt, ArtifactMissing: when there is nothing but an origin, and that is
            damaged or gone.
    """
    found = [
        (int(match[2]), int(match[1]), key)
        for key in store.list(job_folder(message.job_id))
        if (match := _NAME.search(key)) and int(match[1]) >= message.checkpoints_since
    ]
    for _step, _attempt, key in sorted(found, reverse=True):
        try:
            return read_checkpoint(key, store.read(key), fingerprint=fingerprint)
        except (CheckpointInvalid, ArtifactCorrupt, ArtifactMissing) as error:
            _log.warning("checkpoint_passed_over", key=key, reason=error.detail)
    return _read_origin(store, message.origin) if message.origin else None


def keep_checkpoint(
    store: ArtifactStore,
    key: str,
    state: EngineState,
    *,
    fingerprint: str,
    numerics: str | None = None,
    exact: bool | None = None,
) -> StateFile:
    """Store a state under a key, and return the file that lies there then.

    An attempt that is begun again may find its own file there: that stays, as what has been reported of it
    may be kept in a row. A file that cannot be gone on from, or that belongs to something else (another
    timeline, after a backup was put back), is set aside.
    """
    data = pack_checkpoint(state, fingerprint=fingerprint, numerics=numerics, exact=exact)
    while True:
        try:
            store.create(key, data)
        except ArtifactExists:
            try:
                there = store.read(key)
            except ArtifactMissing:
                continue
        else:
            return _file_of(data)
        if there == data:
            return _file_of(data)
        try:
            if unpack_checkpoint(there, fingerprint=fingerprint).step == state.step:
                return _file_of(there)
            reason = "it is of another step"
        except CheckpointInvalid as error:
            reason = error.detail
        _log.warning("checkpoint_set_aside", key=key, reason=reason)
        store.set_aside(key, sha256=_sha256(there))


def _read_origin(store: ArtifactStore, origin: Origin) -> Checkpoint:
    data = store.read(origin.key)
    if _sha256(data) != origin.sha256:
        raise CheckpointInvalid(f"{origin.key} is not the checkpoint that the job was to begin with")
    return read_checkpoint(origin.key, data, fingerprint=None)


def _file_of(data: bytes) -> StateFile:
    return StateFile(_sha256(data), len(data))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(arrays: dict[str, np.ndarray], step: int) -> str:
    digest = hashlib.sha256(f"step {step}".encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
