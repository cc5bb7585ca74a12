"""Lone runs: the same job, by the same engine, on a quiet machine; what a run's results must equal."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from shared.options import Method, StyleOptions, read_stored_options
from shared.protocol import InputPicture, JobMessage, Origin, read_marker
from shared.settings import Settings
from shared.storage.layout import asset_key, checkpoint_key, marker_key
from tests.chaos.evidence import Evidence
from tests.chaos.node import make_engine
from tests.support.installation import names_of
from web.cli.local.redis_server import RedisServer
from web.db.models import Job
from worker.checkpoint import unpack_checkpoint
from worker.context import WorkerContext
from worker.runner import Outcome, Runner


@dataclass(frozen=True)
class LoneResult:
    """The SHA-256 of the picture, and by step that of the checkpointed state."""

    output: str
    checkpoints: dict[int, str]


class LoneRuns:
    """A context with a node of its own, which nothing happens to; the same work is done once."""

    def __init__(self, evidence: Evidence, folder: Path) -> None:
        self._evidence = evidence
        self._folder = folder
        self._redis = RedisServer(folder / "redis")
        self._done: dict[str, tuple[str, LoneResult]] = {}

    def __enter__(self) -> LoneRuns:
        self._redis.start()
        values = self._evidence.settings.model_dump() | {
            "redis_url": self._redis.url,
            "data_dir": self._folder,
            "lease_seconds": 600,
        }
        settings = Settings.model_validate(values)
        self._context = WorkerContext.open(settings, names_of(settings), worker_id="lone", device="cpu")
        shutil.copytree(self._evidence.storage / "assets", self._folder / "storage" / "assets")
        engine = make_engine(settings, self._evidence.engine, list(Method), step_seconds=0)
        self._runner = Runner(self._context, engine, draining=lambda: False)
        return self

    def __exit__(self, *_: object) -> None:
        self._context.redis.close()
        self._redis.stop()

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self._done)

    def result(self, job: Job) -> LoneResult:
        """Return what a job must have resulted in."""
        return self._run(job, read_stored_options(job.options), self._origin(job))[1]

    def base(self, job: Job) -> LoneResult:
        """Return what a job must have resulted in before it was extended."""
        return self._run(job, self._base_options(job), None)[1]

    def _origin(self, job: Job) -> Origin | None:
        """Return the lone run's own checkpoint that corresponds to a job's origin."""
        if job.origin is None:
            return None
        if job.origin["job_id"] == job.id:
            parent, options = job, self._base_options(job)
        else:
            parent = self._evidence.jobs[job.origin["job_id"]]
            options = read_stored_options(parent.options)
        lone_id, _ = self._run(parent, options, None)
        key = checkpoint_key(lone_id, 1, job.origin["step"])
        sha256 = hashlib.sha256(self._context.store.read(key)).hexdigest()
        return Origin(key=key, sha256=sha256, step=job.origin["step"])

    @staticmethod
    def _base_options(job: Job) -> StyleOptions:
        return read_stored_options({**job.options, "steps": job.origin["step"]})  # type: ignore[index]

    def _run(self, job: Job, options: StyleOptions, origin: Origin | None) -> tuple[str, LoneResult]:
        pictures = [InputPicture(key=asset_key(a.sha256), sha256=a.sha256) for a in (job.content, job.style)]
        content, style = pictures
        words = [content.sha256, style.sha256, options.model_dump(), origin.key if origin else ""]
        work = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
        if work not in self._done:
            message = JobMessage(
                job_id=work, attempt=1, content=content, style=style, options=options, origin=origin
            )
            outcome = self._runner.run(message)
            if outcome is not Outcome.ENDED:
                raise RuntimeError(f"a lone run ended {outcome}")
            self._done[work] = work, self._read(work)
        return self._done[work]

    def _read(self, job_id: str) -> LoneResult:
        store = self._context.store
        marker = read_marker(store.read(marker_key(job_id, 1)))
        files = [key for key in store.list(f"jobs/{job_id}") if key.endswith(".safetensors")]
        return LoneResult(
            marker.outputs[0].sha256, {_step_of(key): state_sha256(store.read(key)) for key in files}
        )


def state_sha256(data: bytes) -> str:
    """Return the SHA-256 of a checkpoint's state; the file's own also depends on its header's order."""
    state = unpack_checkpoint(data, fingerprint=None)
    digest = hashlib.sha256(str(state.step).encode())
    for name in sorted(state.arrays):
        digest.update(name.encode() + state.arrays[name].tobytes())
    return digest.hexdigest()


def _step_of(key: str) -> int:
    return int(key.rpartition("-")[2].removesuffix(".safetensors"))
