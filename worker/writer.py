"""The writer of a running attempt: its previews and checkpoints, made and stored beside the steps.

The step loop hands a step over and goes on; one thread fetches what is asked of it, packs, hashes, encodes,
writes and reports. One step is in hand at a time, and whoever hands over the next one waits for it. What goes
wrong is the attempt's own failure, raised in the loop at its next word to the writer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from shared.clock import utc_now
from shared.errors import LeaseLost
from shared.installation import check_identity
from shared.protocol import EventType, JobMessage
from shared.provenance import Provenance
from shared.redis.names import Names
from shared.storage import layout
from shared.storage.store import ArtifactStore
from worker.aside import Aside, Call
from worker.checkpoint import Checkpoint, keep_checkpoint
from worker.engine.images import encode_jpeg
from worker.engine.state import MadeBy, Step
from worker.reporter import Reporter

WRITER_THREAD = "attempt-writer"
_PREVIEW_SIDE_PX = 768
_PREVIEW_QUALITY = 85
#: No difference is seen beside the PNG of the result, in a twentieth of the time and a third of the bytes.
CHECKPOINT_QUALITY = 95

#: One list [step, total, content, style] for each step since the checkpoint before.
Curve = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Due:
    """What is to be made of a step."""

    preview: bool
    checkpoint: bool

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return self.preview or self.checkpoint


def decide_due(
    step: Step, *, every: int, is_stopping: bool, wants_preview: bool, is_writer_idle: bool
) -> Due:
    """Decide what to make of a step.

    A preview is left out while the writer is at something, since the next one comes in a moment: but for the
    last, which stays. A step that nothing can be continued from has no checkpoint, and one without losses is
    the only one of its job: it has no preview beside its result.

    Args:
        step: The step.
        every: A checkpoint is due every so many steps; and at the last one.
        is_stopping: Whether the attempt stops after this step.
        wants_preview: Whether the last preview was long enough ago.
        is_writer_idle: Whether nothing is in the writer's hand.
    """
    is_last = step.step == step.steps
    return Due(
        preview=step.losses is not None and (is_last or (wants_preview and is_writer_idle)),
        checkpoint=step.has_state and (is_stopping or is_last or step.step % every == 0),
    )


def decide_failure(loop: BaseException | None, writer: BaseException | None) -> BaseException | None:
    """Decide with which failure an attempt ends; None when nothing failed.

    What the writer has in hand is of an earlier step than what the loop was at, so its failure came first;
    but whoever has lost the lease, or is to end this moment, has nothing more to say.
    """
    if writer is None or isinstance(loop, LeaseLost):
        return loop
    return writer if loop is None or isinstance(loop, Exception) else loop


def picture_metadata(message: JobMessage, made_by: MadeBy, *, step: int) -> dict[str, str]:
    """Return what a picture of a job as of a step says of how it was made."""
    return Provenance(
        engine_version=made_by.engine_version,
        content_sha256=message.content.sha256,
        style_sha256=message.style.sha256,
        options=message.options,
        step=step,
        weights=made_by.weights,
        weights_sha256=made_by.weights_sha256,
        notice=made_by.mark,
    ).to_metadata()


class Writer:
    """Writes for one attempt inside a ``with`` block, which is left once nothing is in hand any more."""

    def __init__(
        self,
        store: ArtifactStore,
        names: Names,
        message: JobMessage,
        *,
        reporter: Reporter,
        made_by: MadeBy,
        fingerprint: str,
        found: Checkpoint | None,
        numerics: str | None = None,
        exact: bool | None = None,
        on_preview: Callable[[int], None],
    ) -> None:
        """Prepare to write.

        Args:
            store: Where to; nothing is written unless it is that of the installation.
            names: The names of the installation.
            message: The job and the attempt.
            reporter: Hears of each checkpoint, once it is stored.
            made_by: What makes the pictures.
            fingerprint: Of what a checkpoint belongs to.
            found: The checkpoint that the attempt goes on from, which is not written again.
            numerics: What decides the bytes beside the job itself, as checkpoints tell it.
            exact: Whether all steps were made under these; None where nobody knows.
            on_preview: Called from the writer's thread with the step of each preview, once it is stored.
        """
        self._store = store
        self._names = names
        self._message = message
        self._reporter = reporter
        self._made_by = made_by
        self._fingerprint = fingerprint
        self._numerics, self._exact = numerics, exact
        self._there = {found.key: found.file} if found is not None else {}
        self._on_preview = on_preview
        self._aside = Aside(WRITER_THREAD)
        self._call: Call[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in hand."""
        return self._call is None or self._call.done.is_set()

    def check(self) -> None:
        """Raise what has failed, if anything has; wait for nothing."""
        if self._call is not None and self._call.done.is_set():
            self._call.result()

    def begin(self, step: Step, due: Due, curve: Curve) -> None:
        """Hand a step over, once the one before is done; raise what failed of that.

        `curve` are the losses that a checkpoint's report tells.
        """
        self.wait()
        self._call = self._aside.do(partial(self._write, step, due, curve))

    def wait(self) -> None:
        """Wait until nothing is in hand; raise what has failed."""
        if self._call is not None:
            self._call.wait()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._aside.close()
        failure = decide_failure(error, self._call.error if self._call is not None else None)
        if failure is not None and failure is not error:
            raise failure from error

    def _write(self, step: Step, due: Due, curve: Curve) -> None:
        """Fetch, and store; in the writer's thread."""
        message, image = self._message, step.image()
        if due.preview:
            preview = encode_jpeg(image, quality=_PREVIEW_QUALITY, max_side_px=_PREVIEW_SIDE_PX)
            check_identity(self._store, self._names)
            # The next one comes in a moment; sixty workers' syncs would hold up the database's.
            self._store.write_volatile(layout.preview_key(message.job_id, message.attempt), preview)
            self._on_preview(step.step)
        if due.checkpoint:
            metadata = picture_metadata(message, self._made_by, step=step.step)
            self._keep_checkpoint(
                step, encode_jpeg(image, quality=CHECKPOINT_QUALITY, metadata=metadata), curve
            )

    def _keep_checkpoint(self, step: Step, picture: bytes, curve: Curve) -> None:
        """Store a checkpoint's picture and state, then report it."""
        job_id, attempt = self._message.job_id, self._message.attempt
        key = layout.checkpoint_key(job_id, attempt, step.step)
        digest = hashlib.sha256(picture).hexdigest()
        picture_key = layout.checkpoint_picture_key(job_id, attempt, step.step, digest)
        check_identity(self._store, self._names)
        self._store.write(picture_key, picture)
        file = self._there.get(key) or keep_checkpoint(
            self._store,
            key,
            step.state(),
            fingerprint=self._fingerprint,
            numerics=self._numerics,
            exact=self._exact,
        )
        self._reporter.report(
            EventType.CHECKPOINTED,
            {
                "step": step.step,
                "steps": step.steps,
                "key": key,
                "picture_key": picture_key,
                "sha256": file.sha256,
                "state_bytes": file.size_bytes,
                "losses": step.losses_by_name(),
                "curve": [list(point) for point in curve],
                "numerics": self._numerics,
            },
            now=utc_now(),
            # Another file is another event: the row is to have the hash of what lies there.
            mark=f"{step.step}:{file.sha256[:16]}",
        )
