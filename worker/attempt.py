"""One attempt at a job: from what an earlier one left, through the engine, to its commit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from enum import StrEnum
from time import monotonic
from typing import Any, Protocol

from shared.clock import to_rfc3339, utc_now
from shared.errors import ArtifactCorrupt, ArtifactMissing, CheckpointInvalid, RunTimeout
from shared.installation import check_identity
from shared.logs import get_logger
from shared.options import StyleOptions
from shared.protocol import EventType, InputPicture, JobMessage, Output, ResultMarker
from shared.provenance import Provenance
from shared.redis.live import Flag, LiveProgress
from shared.storage import layout
from shared.storage.store import ArtifactStore
from worker.checkpoint import Checkpoint, find_checkpoint, fingerprint, keep_checkpoint
from worker.commit import create_marker, find_result
from worker.context import WorkerContext
from worker.engine.images import encode_jpeg, encode_png
from worker.engine.state import EngineState, Losses, MadeBy, Step
from worker.lease import LeaseKeeper
from worker.reporter import Reporter
from worker.talk import Talk

#: Redis is asked and told at most this often; a fast device makes a hundred steps a second.
_TALK_SECONDS = 0.1
_PREVIEW_SIDE_PX = 768
_PREVIEW_QUALITY = 85

_log = get_logger(__name__)


class Outcome(StrEnum):
    """What became of a message."""

    #: The attempt ended, and that is reported.
    ENDED = "ended"
    #: The message was stale or a duplicate; nothing was done.
    DROPPED = "dropped"
    #: This node is shutting down, or has no usable storage; the message goes back, for another one.
    RELEASED = "released"
    #: It failed in a way that may be this node's own: the message goes back, and the child is to be replaced.
    FAULTED = "faulted"
    #: Something failed that may not fail elsewhere or later; the rescuer decides.
    ABANDONED = "abandoned"


class Engine(Protocol):
    """What carries out the optimisation; see `worker.engine.engine.StyleEngine`."""

    @property
    def notice(self) -> str | None:
        """The whole of what people have to know of its weights, for the log and `/workers`."""

    def made_by(self, options: StyleOptions) -> MadeBy:
        """Return what makes the picture of a job with these options."""

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield one record a step."""


class Attempt:
    """One attempt whose lease is held. All that it writes lies below a folder of its own."""

    def __init__(
        self,
        context: WorkerContext,
        engine: Engine,
        message: JobMessage,
        *,
        reporter: Reporter,
        talk: Talk,
        lease: LeaseKeeper,
        store: ArtifactStore,
        draining: Callable[[], bool],
    ) -> None:
        self._context = context
        self._engine = engine
        self._message = message
        self._reporter = reporter
        self._talk = talk
        self._lease = lease
        self._store = store
        self._draining = draining
        self._made_by = engine.made_by(message.options)
        self._fingerprint = ""
        self._numerics = context.numerics.get(message.options.method)
        #: Whether all steps were made under these numerics, also those before; None where nobody knows.
        self._exact: bool | None = None
        self._began = monotonic()
        self._talked = self._previewed = float("-inf")
        self._preview_step = 0
        self._first_step: int | None = None
        self._first_step_at = 0.0
        self._curve: list[list[float]] = []
        self._found: Checkpoint | None = None
        self._step = 0
        #: Whether it is still at its files: what is wrong then may be so for this node alone.
        self.is_reading = True
        #: Whether its result is stored: its node works.
        self.is_committed = False

    def run(self) -> Outcome:
        """Carry it out, from where an earlier attempt left it.

        Raises:
            LeaseLost: when another node has the job now.
            ServiceError: when this node cannot go on, but another one, or a later attempt, may.
            AtelierError: when the job has failed.
        """
        message = self._message
        made_by = self._made_by
        self._fingerprint = fingerprint(
            message, weights_sha256=made_by.weights_sha256, engine_version=made_by.engine_version
        )
        if self._repair():
            return Outcome.ENDED
        flag = self._flag()
        try:
            self._found = found = find_checkpoint(self._store, message, fingerprint=self._fingerprint)
        except (ArtifactMissing, ArtifactCorrupt, CheckpointInvalid):
            if flag is None:
                raise
            found = None  # canceled, and perhaps deleted: then it may well be gone
        self._step = done = found.state.step if found else 0
        if self._numerics is not None:
            self._exact = found.exact_under(self._numerics) if found else True
        if flag:
            # Asked while it was still queued: not even begun.
            self._stop(flag, done)
            return Outcome.ENDED
        self._begin(resumed_from=done or None)
        content, style = self._read(message.content, "content"), self._read(message.style, "style")
        self._forget_preview()
        self.is_reading = False
        state = found.state if found else None
        for step in self._engine.stylize(content, style, message.options, resume=state):
            self._lease.stepped()
            self._step = step.step
            self._context.node_state.stepped(step.step)
            if step.losses is not None:
                self._show(step, step.losses)
            last = step.step == step.steps
            # At the last step nobody's wish counts any more: the picture is done.
            flag = None if last else self._flag()
            drain = not last and self._draining()
            is_due = flag or drain or last or step.step % message.options.checkpoint_every == 0
            if is_due and step.has_state:
                self._save_checkpoint(step)
            if flag:
                self._stop(flag, step.step)
                return Outcome.ENDED
            if drain:
                self.release()
                return Outcome.RELEASED
            if last:
                self._commit(step)
            else:
                self._check_time()
        return Outcome.ENDED

    def _repair(self) -> bool:
        """Report success again, and compute nothing, when this attempt is committed already."""
        marker = find_result(self._store, self._message, fingerprint=self._fingerprint)
        if marker is not None:
            self._report(EventType.SUCCEEDED, marker.model_dump(mode="json"))
        return marker is not None

    def _begin(self, *, resumed_from: int | None) -> None:
        """Report the claim."""
        _log.info("attempt_begun", resumed_from_step=resumed_from, weights=self._made_by.weights)
        self._reporter.report_claimed(
            {
                "worker_id": self._context.worker_id,
                "device": self._context.device,
                "weights": self._made_by.facts(),
                "engine_version": self._made_by.engine_version,
                "resumed_from_step": resumed_from,
                "numerics": self._numerics,
                "exact": self._exact,
            }
        )

    def _read(self, picture: InputPicture, name: str) -> bytes:
        data = self._store.read(picture.key)
        if hashlib.sha256(data).hexdigest() != picture.sha256:
            raise ArtifactCorrupt(f"the stored {name} picture is not the one that was submitted")
        return data

    def _forget_preview(self) -> None:
        """Remove a preview from the place of this attempt's own, unless the attempt was begun here before.

        After a backup was put back it may be the picture of another timeline.
        """
        folder = layout.attempt_folder(self._message.job_id, self._message.attempt)
        if self._found is None or not self._found.key.startswith(f"{folder}/"):
            self._store.delete(layout.preview_key(self._message.job_id, self._message.attempt))

    def _flag(self) -> Flag | None:
        """Return what is asked of this attempt; nothing while Redis is away."""
        return self._talk.read_flag()

    def _show(self, step: Step, losses: Losses) -> None:
        """Publish progress and preview, each not too often; Redis being away holds nothing up."""
        now = monotonic()
        self._curve.append([step.step, *_losses(step).values()])
        if self._first_step is None:
            self._first_step, self._first_step_at = step.step, now
        last = step.step == step.steps
        if now - self._previewed >= self._context.settings.preview_seconds or last:
            self._previewed = now
            preview = encode_jpeg(step.image(), quality=_PREVIEW_QUALITY, max_side_px=_PREVIEW_SIDE_PX)
            key = layout.preview_key(self._message.job_id, self._message.attempt)
            check_identity(self._store, self._context.redis.names)
            # The next one comes in a moment; sixty workers' syncs would hold up the database's.
            self._store.write_volatile(key, preview)
            self._preview_step = step.step
        elif now - self._talked < _TALK_SECONDS:
            return
        self._talked = now
        done, elapsed = step.step - self._first_step, now - self._first_step_at
        # The first step of a process also compiles: its time says nothing of those to come.
        rate = done / elapsed if done and elapsed > 0 else None
        progress = LiveProgress(
            attempt=self._message.attempt,
            step=step.step,
            steps=step.steps,
            loss_total=losses.total,
            loss_content=losses.content,
            loss_style=losses.style,
            steps_per_second=rate,
            preview_step=self._preview_step,
        )
        self._talk.publish(progress)

    def _save_checkpoint(self, step: Step) -> None:
        """Store the state and a picture of it, and report them; a state resumed from is not written again."""
        message = self._message
        key = layout.checkpoint_key(message.job_id, message.attempt, step.step)
        picture_key = layout.checkpoint_picture_key(message.job_id, message.attempt, step.step)
        check_identity(self._store, self._context.redis.names)
        self._store.write(picture_key, encode_png(step.image(), self._metadata(step)))
        if self._found is not None and self._found.key == key:
            sha256 = self._found.sha256
        else:
            sha256 = keep_checkpoint(
                self._store,
                key,
                step.state(),
                fingerprint=self._fingerprint,
                numerics=self._numerics,
                exact=self._exact,
            )
        self._report(
            EventType.CHECKPOINTED,
            {
                "step": step.step,
                "steps": step.steps,
                "key": key,
                "picture_key": picture_key,
                "sha256": sha256,
                "losses": _losses(step),
                "curve": self._curve,
                "numerics": self._numerics,
            },
            # Another file is another event: the row is to have the hash of what lies there.
            mark=f"{step.step}:{sha256[:16]}",
        )
        self._curve = []

    def _stop(self, flag: Flag, step: int) -> None:
        """Report that the job stopped after `step` because it was asked to: canceled, or paused."""
        kind = EventType.CANCELED if flag is Flag.CANCEL else EventType.PAUSED
        _log.info("attempt_stopped", as_asked=kind.value, step=step)
        self._report(kind, {"step": step})

    def release(self, **why: object) -> None:
        """Report that another node should go on; `why` is a fault or a reason, unless the node just ends."""
        _log.info("attempt_released", step=self._step, **why)
        mark = f"{self._context.worker_id}:{to_rfc3339(utc_now())}"
        self._report(EventType.RELEASED, {"step": self._step, **why}, mark=mark)

    def _check_time(self) -> None:
        """Raise `RunTimeout` when the attempt has run for longer than the job allows."""
        allowed, ran = self._message.run_timeout_seconds, monotonic() - self._began
        if allowed is not None and ran > allowed:
            raise RunTimeout(f"the attempt ran for {ran:.0f} s; allowed are {allowed:g} s")

    def _commit(self, step: Step) -> None:
        """Store the final picture, then the marker, in one atomic step; only then report success."""
        message = self._message
        image = step.image()
        data = encode_png(image, self._metadata(step))
        sha256 = hashlib.sha256(data).hexdigest()
        check_identity(self._store, self._context.redis.names)
        key = layout.result_picture_key(message.job_id, message.attempt, sha256)
        self._store.write(key, data)
        output = Output(
            name="result.png",
            key=key,
            content_type="image/png",
            size_bytes=len(data),
            sha256=sha256,
            width=image.shape[1],
            height=image.shape[0],
        )
        marker = ResultMarker(
            job_id=message.job_id,
            attempt=message.attempt,
            completed_at=utc_now(),
            step=step.step,
            losses=_losses(step),
            outputs=[output],
            weights=self._made_by.facts(),
            engine_version=self._made_by.engine_version,
            run_seconds=round(monotonic() - self._began, 3),
            gpu_peak_bytes=step.gpu_peak_bytes,
            fingerprint=self._fingerprint,
            task_sha256=message.task_sha256,
            steps=step.steps,
            numerics=self._numerics,
            exact=self._exact,
        )
        marker = create_marker(self._store, message, marker, fingerprint=self._fingerprint)
        self.is_committed = True
        _log.info("attempt_succeeded", run_seconds=marker.run_seconds)
        self._report(EventType.SUCCEEDED, marker.model_dump(mode="json"))

    def _metadata(self, step: Step) -> dict[str, str]:
        return Provenance(
            engine_version=self._made_by.engine_version,
            content_sha256=self._message.content.sha256,
            style_sha256=self._message.style.sha256,
            options=self._message.options,
            step=step.step,
            weights=self._made_by.weights,
            weights_sha256=self._made_by.weights_sha256,
            notice=self._made_by.mark,
        ).to_metadata()

    def _report(self, kind: EventType, data: dict[str, Any], *, mark: str = "") -> None:
        self._reporter.report(kind, data, now=utc_now(), mark=mark)


def _losses(step: Step) -> dict[str, float]:
    return {} if step.losses is None else asdict(step.losses)
