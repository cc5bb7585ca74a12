"""One attempt at a job: from what an earlier one left, through the engine, to its commit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from time import monotonic
from typing import Any, Protocol

from shared.clock import to_rfc3339, utc_now
from shared.errors import ArtifactCorrupt, ArtifactMissing, CheckpointInvalid, RunTimeout
from shared.installation import check_identity
from shared.logs import get_logger
from shared.options import StyleOptions
from shared.protocol import EventType, InputPicture, JobMessage, Output, ResultMarker
from shared.redis.live import Flag
from shared.storage import layout
from shared.storage.store import ArtifactStore
from worker.checkpoint import Checkpoint, find_checkpoint, fingerprint
from worker.commit import create_marker, find_result
from worker.context import WorkerContext
from worker.engine.images import encode_png
from worker.engine.state import EngineState, MadeBy, Step
from worker.lease import LeaseKeeper
from worker.reporter import Reporter
from worker.talk import ProgressTeller, Talk
from worker.writer import Writer, decide_due, picture_metadata

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
        """Yield one record a step; one that was yielded stays true while later ones are made."""


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
        self._teller = ProgressTeller(talk, attempt=message.attempt)
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
        with self._open_writer() as writer:
            for step in self._engine.stylize(content, style, message.options, resume=state):
                self._lease.stepped()
                writer.check()
                outcome = self._deal_with(step, writer)
                if outcome is not None:
                    return outcome
        return Outcome.ENDED

    def _open_writer(self) -> Writer:
        return Writer(
            self._store,
            self._context.redis.names,
            self._message,
            reporter=self._reporter,
            made_by=self._made_by,
            fingerprint=self._fingerprint,
            found=self._found,
            numerics=self._numerics,
            exact=self._exact,
            on_preview=self._teller.tell_preview,
        )

    def _deal_with(self, step: Step, writer: Writer) -> Outcome | None:
        """Tell of a step, have it written if that is due, and return what becomes of the attempt if it ends.

        The loop goes on while a step is written; what ends an attempt waits until it is.
        """
        self._step, last, now = step.step, step.step == step.steps, monotonic()
        if step.losses is not None:
            self._curve.append([step.step, *step.losses_by_name().values()])
        talks = last or now - self._talked >= self._context.talk_seconds
        if talks:
            self._tell(step, now)
        # At the last step nobody's wish counts any more: the picture is done.
        flag = self._flag() if talks and not last else None
        drain = not last and self._draining()
        due = decide_due(
            step,
            every=self._message.options.checkpoint_every,
            is_stopping=bool(flag or drain),
            wants_preview=talks and now - self._previewed >= self._context.settings.preview_seconds,
            is_writer_idle=writer.is_idle,
        )
        if due.preview:
            self._previewed = now
        if due:
            writer.begin(step, due, self._take_curve() if due.checkpoint else ())
        if flag:
            writer.wait()
            self._stop(flag, step.step)
            return Outcome.ENDED
        if drain:
            writer.wait()
            self.release()
            return Outcome.RELEASED
        if last:
            self._commit(step, writer)
        else:
            self._check_time()
        return None

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

    def _tell(self, step: Step, now: float) -> None:
        """Tell the node's parent and Redis where the attempt is; Redis being away holds nothing up."""
        self._talked = now
        self._context.node_state.stepped(step.step)
        if step.losses is not None:
            self._teller.tell_step(step, step.losses, now=now)

    def _take_curve(self) -> list[list[float]]:
        curve, self._curve = self._curve, []
        return curve

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

    def _commit(self, step: Step, writer: Writer) -> None:
        """Store the final picture, then the marker, in one atomic step; only then report success."""
        message = self._message
        image = step.image()
        data = encode_png(image, picture_metadata(message, self._made_by, step=step.step))
        sha256 = hashlib.sha256(data).hexdigest()
        writer.wait()
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
            losses=step.losses_by_name(),
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

    def _report(self, kind: EventType, data: dict[str, Any], *, mark: str = "") -> None:
        self._reporter.report(kind, data, now=utc_now(), mark=mark)
