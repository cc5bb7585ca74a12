"""The part of workers and of the control process, played step by step as a test says."""

from __future__ import annotations

import hashlib
import io
from datetime import datetime
from typing import Any

from PIL import Image

from shared.clock import utc_now
from shared.errors import AtelierError, OutOfMemory
from shared.options import steps_of
from shared.protocol import PROTOCOL, EventType, ResultMarker, WorkerEvent, new_id
from shared.redis.live import LiveProgress
from shared.redis.workers import WorkerBeat, WorkerRegistry
from shared.storage.layout import (
    asset_key,
    attempt_folder,
    checkpoint_key,
    checkpoint_picture_key,
    marker_key,
    preview_key,
    result_picture_key,
)
from web.control.projector import Projector
from web.db.models import Job
from web.jobs.queries import get_job
from web.services import Services

FAST_WEIGHTS = {"name": "magenta-int8", "sha256": "cd" * 32, "notice": None}
WEIGHTS = {"name": "untrained", "sha256": "ab" * 32, "notice": "the weights were never trained"}


class Workshop:
    """Workers as a test wants them: what they do goes through Redis, and a projector writes it down."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stream = services.backend.redis.stream
        self._projector = Projector(services.backend, clock=utc_now)

    def connect(self, worker_id: str = "gpu-a", device: str = "cuda:0", **facts: Any) -> None:
        """Let a worker be known as alive, for an hour; `facts` are what else its beat tells."""
        now = utc_now()
        registry = WorkerRegistry(
            self._services.backend.redis.client, self._services.backend.redis.names, worker_seconds=3600
        )
        registry.beat(
            WorkerBeat(
                worker_id=worker_id,
                device=device,
                **{"weights": "untrained", "protocol": PROTOCOL, "started_at": now, "at": now, **facts},
            )
        )

    def claim(self, job_id: str, *, worker_id: str = "gpu-a", resumed_from_step: int | None = None) -> None:
        """Begin the attempt: the job is running."""
        self._report(
            job_id,
            EventType.CLAIMED,
            worker_id=worker_id,
            device="cuda:0",
            weights=weights_of(self._job(job_id)),
            engine_version="1",
            resumed_from_step=resumed_from_step,
        )

    def progress(
        self,
        job_id: str,
        step: int,
        *,
        attempt: int | None = None,
        preview: bool = True,
        preview_step: int | None = None,
        loss: dict[str, float] | None = None,
    ) -> None:
        """Be at a step, of the present attempt if no other is named.

        With a preview of how the picture looks there; `preview_step` says instead of which step there is one.
        """
        job = self._job(job_id)
        if preview_step is None:
            preview_step = step if preview else 0
            if preview:
                picture = self.paint(job, step).convert("RGB")
                picture.thumbnail((768, 768))
                self.preview(job_id, encode(picture, "JPEG"))
        loss = loss or losses(step)
        live = LiveProgress(
            attempt=attempt or job.attempt,
            step=step,
            steps=job.options["steps"],
            loss_total=loss["total"],
            loss_content=loss["content"],
            loss_style=loss["style"],
            steps_per_second=4.0,
            preview_step=preview_step,
        )
        self._services.backend.redis.progress.publish(job.id, live)

    def preview(self, job_id: str, data: bytes, attempt: int | None = None) -> None:
        """Write a preview, without a word of it."""
        key = preview_key(job_id, attempt or self._job(job_id).attempt)
        self._services.backend.storage.write(key, data)

    def checkpoint(
        self,
        job_id: str,
        step: int,
        picture: bytes | None = None,
        *,
        after: int = 0,
        loss: dict[str, float] | None = None,
        is_old: bool = False,
    ) -> None:
        """Keep a checkpoint at a step; the one before it was at step `after`.

        Its picture is painted if none is given; with `loss`, its curve is that one point. One that `is_old`
        has a PNG, as those of the first releases.
        """
        job = self._job(job_id)
        data = picture or encode(self.paint(job, step), "PNG" if is_old else "JPEG")
        picture_key = checkpoint_picture_key(job.id, job.attempt, step, hashlib.sha256(data).hexdigest())
        if is_old:
            picture_key = f"{attempt_folder(job.id, job.attempt)}/checkpoint-{step:05d}.png"
        self._services.backend.storage.write(picture_key, data)
        state_key = checkpoint_key(job.id, job.attempt, step)
        state = f"state of step {step}".encode()
        self._services.backend.storage.write(state_key, state)
        steps = range(after + 1, step + 1)
        curve = [[step, *loss.values()]] if loss else [[at, *losses(at).values()] for at in steps]
        self._report(
            job_id,
            EventType.CHECKPOINTED,
            step=step,
            steps=job.options["steps"],
            key=state_key,
            picture_key=picture_key,
            sha256=hashlib.sha256(state).hexdigest(),
            losses=loss or losses(step),
            curve=curve,
        )

    def succeed(self, job_id: str, data: bytes | None = None, sha256: str | None = None) -> None:
        """End well, with a picture; it is painted if none is given, which `sha256` may belie."""
        job = self._job(job_id)
        steps = steps_of(job.options)
        picture = self.paint(job, steps)
        data = data or encode(picture)
        sha256 = sha256 or hashlib.sha256(data).hexdigest()
        key = result_picture_key(job.id, job.attempt, sha256)
        self._services.backend.storage.write(key, data)
        output = {
            "name": "result.png",
            "key": key,
            "content_type": "image/png",
            "size_bytes": len(data),
            "sha256": sha256,
            "width": picture.width,
            "height": picture.height,
        }
        facts = {
            "step": steps,
            "losses": {} if steps == 1 else losses(steps),
            "outputs": [output],
            "weights": weights_of(job),
            "engine_version": "1",
            "run_seconds": 12.5 if steps > 1 else 0.72,
            "gpu_peak_bytes": None,
        }
        marker = ResultMarker.model_validate(
            {"job_id": job.id, "attempt": job.attempt, "completed_at": utc_now(), **facts}
        )
        self._services.backend.storage.write(
            marker_key(job.id, job.attempt), marker.model_dump_json().encode()
        )
        self._report(job_id, EventType.SUCCEEDED, **facts)

    def fail(self, job_id: str, error: AtelierError | None = None) -> None:
        """End badly."""
        error = error or OutOfMemory("the picture needs 9.1 GB of memory; cuda:0 has 7.8 GB")
        self._report(job_id, EventType.FAILED, error=error.to_json())

    def cancel(self, job_id: str, step: int) -> None:
        """Do what was asked: stop."""
        self._report(job_id, EventType.CANCELED, step=step)

    def pause(self, job_id: str, step: int) -> None:
        """Do what was asked: give the device free. The checkpoint before that is yours to make."""
        self._report(job_id, EventType.PAUSED, step=step)

    def release(self, job_id: str, step: int) -> None:
        """Give the attempt back, as a worker does that is shut down."""
        self._report(job_id, EventType.RELEASED, step=step)

    def run_through(self, job_id: str, *, every: int = 10) -> None:
        """Carry a whole job out, with checkpoints."""
        self.claim(job_id)
        steps = steps_of(self._job(job_id).options)
        for step in range(every, steps + 1, every):
            self.progress(job_id, step)
            self.checkpoint(job_id, step, after=step - every)
        self.succeed(job_id)

    def paint(self, job: Job, step: int) -> Image.Image:
        """Return how the picture might look at a step: the content turning into the style."""
        content, style = (self._asset(asset.sha256) for asset in (job.content, job.style))
        content.thumbnail((job.options["size"], job.options["size"]))
        painted = Image.blend(content, style.resize(content.size), 0.6 * step / steps_of(job.options))
        # No two steps alike, so that no two previews are.
        painted.putpixel((0, 0), (step % 256, step // 256, 0))
        return painted

    def _asset(self, sha256: str) -> Image.Image:
        return Image.open(io.BytesIO(self._services.backend.storage.read(asset_key(sha256)))).convert("RGB")

    def _job(self, job_id: str) -> Job:
        with self._services.backend.database.read() as session:
            return get_job(session, job_id)

    def _report(self, job_id: str, kind: EventType, *, at: datetime | None = None, **data: object) -> None:
        self._stream.report(
            WorkerEvent(
                event_id=new_id(),
                type=kind,
                job_id=job_id,
                attempt=self._job(job_id).attempt,
                at=at or utc_now(),
                data=dict(data),
            )
        )
        self._projector.drain()


def weights_of(job: Job) -> dict[str, str | None]:
    """Return what the network is called that carries a job out."""
    return FAST_WEIGHTS if job.options["method"] == "fast" else WEIGHTS


def losses(step: int) -> dict[str, float]:
    """Losses that fall as real ones do: quickly, then slowly."""
    content, style = 4e5 * (1 - 0.8 * 0.95**step), 9e7 / (1 + step) ** 1.3
    return {"total": content + style, "content": content, "style": style}


def encode(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return buffer.getvalue()
