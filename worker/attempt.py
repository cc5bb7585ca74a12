"""One attempt's writing: progress, preview, checkpoints, commit; all below its own folder."""

from __future__ import annotations

import hashlib
from time import monotonic
from typing import TYPE_CHECKING, Any

from shared.clock import to_rfc3339, utc_now
from shared.coordination.flags import Flag
from shared.coordination.progress import LiveProgress
from shared.errors import ArtifactCorrupt, ArtifactExists, ArtifactMissing, RedisUnavailable, RunTimeout
from shared.events import EventType
from shared.logs import get_logger
from shared.messages import JobMessage
from shared.result import Output, ResultMarker, read_marker
from shared.storage import layout
from worker.checkpoint import pack_checkpoint
from worker.desk import Desk
from worker.engine.encode import encode_jpeg, encode_png
from worker.engine.step import Step
from worker.reporter import Reporter

if TYPE_CHECKING:
    from worker.runner import Engine

_log = get_logger(__name__)
#: Redis is asked and told at most this often; a fast device makes a hundred steps a second.
_TALK_SECONDS = 0.1
_PREVIEW_SIDE_PX = 768


class Attempt:
    """What one attempt reports and stores, in the order in which the runner calls it."""

    def __init__(self, desk: Desk, message: JobMessage, reporter: Reporter, engine: Engine) -> None:
        self._desk = desk
        self._message = message
        self._reporter = reporter
        self._engine = engine
        self._fingerprint = ""
        self._claim: dict[str, Any] = {}
        self._began = monotonic()
        self._talked = self._previewed = float("-inf")
        self._preview_step = 0
        self._first_step: int | None = None
        self._first_step_at = 0.0
        self._curve: list[list[float]] = []

    def repair(self) -> bool:
        """Report success again, and compute nothing, when this attempt is committed already."""
        key = layout.marker_key(self._message.job_id, self._message.attempt)
        try:
            marker = read_marker(self._desk.store.read(key))
        except ArtifactMissing:
            return False
        except ArtifactCorrupt as error:
            _log.error("marker_removed", key=key, reason=error.detail)
            self._desk.store.delete(key)
            return False
        self._report(EventType.SUCCEEDED, marker.model_dump(mode="json"))
        return True

    def begin(self, fingerprint: str, *, resumed_from: int | None) -> None:
        """Report the claim."""
        self._fingerprint = fingerprint
        weights = self._engine.weights
        self._claim = {
            "worker_id": self._desk.worker_id,
            "device": self._desk.device,
            "weights": {"name": weights.name, "sha256": weights.sha256, "notice": weights.notice},
            "engine_version": self._engine.version,
            "resumed_from_step": resumed_from,
        }
        if weights.notice:
            _log.warning("weights_notice", weights=weights.name, notice=weights.notice)
        _log.info("attempt_begun", resumed_from_step=resumed_from, weights=weights.name)
        self.report_claimed()

    def report_claimed(self) -> None:
        """Report the claim; again when Redis has lost it."""
        if self._claim:
            mark = f"{self._desk.worker_id}:{to_rfc3339(utc_now())}"
            self._report(EventType.CLAIMED, self._claim, mark=mark)

    def show(self, step: Step) -> None:
        """Publish progress and preview, each not too often; Redis being away holds nothing up."""
        now = monotonic()
        self._curve.append([step.step, *_losses(step).values()])
        if self._first_step is None:
            self._first_step, self._first_step_at = step.step, now
        last = step.step == step.steps
        if now - self._previewed >= self._desk.settings.preview_seconds or last:
            self._previewed = now
            preview = encode_jpeg(step.image(), quality=85, max_side_px=_PREVIEW_SIDE_PX)
            key = layout.preview_key(self._message.job_id, self._message.attempt)
            # The next one comes in a moment; sixty workers' syncs would hold up the database's.
            self._desk.store.write_volatile(key, preview)
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
            loss_total=step.losses.total,
            loss_content=step.losses.content,
            loss_style=step.losses.style,
            steps_per_second=rate,
            preview_step=self._preview_step,
        )
        try:
            self._desk.board.publish(self._message.job_id, progress)
        except RedisUnavailable as error:
            _log.warning("progress_not_published", reason=error.detail)

    def flag(self) -> Flag | None:
        """Return what is asked of this attempt; nothing while Redis is away."""
        try:
            return self._desk.flags.read(self._message.job_id, self._message.attempt)
        except RedisUnavailable:
            return None

    def save_checkpoint(self, step: Step) -> None:
        """Store the state and a picture of it, then report them."""
        store, message = self._desk.store, self._message
        key = layout.checkpoint_key(message.job_id, message.attempt, step.step)
        picture_key = layout.checkpoint_picture_key(message.job_id, message.attempt, step.step)
        data = pack_checkpoint(step.state(), fingerprint=self._fingerprint)
        store.write(picture_key, encode_png(step.image(), self._metadata(step)))
        store.write(key, data)
        self._report(
            EventType.CHECKPOINTED,
            {
                "step": step.step,
                "steps": step.steps,
                "key": key,
                "picture_key": picture_key,
                "sha256": hashlib.sha256(data).hexdigest(),
                "losses": _losses(step),
                "curve": self._curve,
            },
            mark=str(step.step),
        )
        self._curve = []

    def stop(self, flag: Flag, step: int) -> None:
        """Report that the job stopped after `step` because it was asked to: canceled, or paused."""
        kind = EventType.CANCELED if flag is Flag.CANCEL else EventType.PAUSED
        _log.info("attempt_stopped", as_asked=kind.value, step=step)
        self._report(kind, {"step": step})

    def check_time(self) -> None:
        """Raise `RunTimeout` when the attempt has run for longer than the job allows."""
        allowed, ran = self._message.run_timeout_seconds, monotonic() - self._began
        if allowed is not None and ran > allowed:
            raise RunTimeout(f"the attempt ran for {ran:.0f} s; allowed are {allowed:g} s")

    def release(self, step: Step) -> None:
        """Report that another node should go on."""
        _log.info("attempt_released", step=step.step)
        mark = f"{self._desk.worker_id}:{to_rfc3339(utc_now())}"
        self._report(EventType.RELEASED, {"step": step.step}, mark=mark)

    def commit(self, step: Step) -> None:
        """Store the final picture, then the marker, in one atomic step; only then report success."""
        store, message = self._desk.store, self._message
        image = step.image()
        data = encode_png(image, self._metadata(step))
        sha256 = hashlib.sha256(data).hexdigest()
        key = layout.result_picture_key(message.job_id, message.attempt, sha256)
        store.write(key, data)
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
            weights=self._claim["weights"],
            engine_version=self._engine.version,
            run_seconds=round(monotonic() - self._began, 3),
            gpu_peak_bytes=step.gpu_peak_bytes,
        )
        marker_key = layout.marker_key(message.job_id, message.attempt)
        try:
            store.create(marker_key, marker.model_dump_json().encode())
        except ArtifactExists:
            # A zombie of the same attempt was first; its result is the result.
            marker = read_marker(store.read(marker_key))
        _log.info("attempt_succeeded", run_seconds=marker.run_seconds)
        self._report(EventType.SUCCEEDED, marker.model_dump(mode="json"))

    def _metadata(self, step: Step) -> dict[str, str]:
        """Return what is written into a picture, so that it says itself how it was made."""
        weights = self._engine.weights
        metadata = {
            "Software": f"Atelier engine {self._engine.version}",
            "atelier:content_sha256": self._message.content.sha256,
            "atelier:style_sha256": self._message.style.sha256,
            "atelier:options": self._message.options.model_dump_json(),
            "atelier:step": str(step.step),
            "atelier:weights": weights.name,
            "atelier:weights_sha256": weights.sha256,
        }
        return metadata | ({"atelier:notice": weights.notice} if weights.notice else {})

    def _report(self, kind: EventType, data: dict[str, Any], *, mark: str = "") -> None:
        self._reporter.report(kind, data, now=utc_now(), mark=mark)


def _losses(step: Step) -> dict[str, float]:
    return {"total": step.losses.total, "content": step.losses.content, "style": step.losses.style}
