"""What the service answers, as the command line shows it; and the fields of a new job, as it sends them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.status import JobKind, JobStatus


@dataclass(frozen=True)
class JobOutput:
    """One output file of a job; `url` is absolute or a path of the service."""

    name: str
    url: str
    sha256: str
    size_bytes: int
    content_type: str


@dataclass(frozen=True)
class JobView:
    """The job's JSON document and the few parts of it that the command line shows."""

    document: dict[str, Any]

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.document["id"])

    @property
    def name(self) -> str:
        """The job's name, or its id if it has none."""
        return str(self.document.get("name") or self.id)

    @property
    def status(self) -> JobStatus:
        """The job's status."""
        return JobStatus(self.document["status"])

    @property
    def version(self) -> int:
        """The number of its last event."""
        return int(self.document["version"])

    @property
    def step(self) -> int:
        """Steps done; 0 before the first."""
        return int(self._part("progress").get("step") or 0)

    @property
    def steps(self) -> int:
        """Steps asked for."""
        return int(self._part("progress").get("steps") or self._part("options").get("steps") or 0)

    @property
    def attempt(self) -> int:
        """The number of the current attempt."""
        return int(self._part("attempt").get("number") or 1)

    @property
    def is_pausing(self) -> bool:
        """Whether its worker was asked to pause and still runs."""
        return self.status is JobStatus.RUNNING and self.document.get("status_reason") == "pausing"

    @property
    def origin(self) -> tuple[str, int] | None:
        """The job and the step whose checkpoint it starts from, if it was forked or extended."""
        origin = self._part("origin")
        return (str(origin["job_id"]), int(origin["step"])) if origin else None

    @property
    def loss(self) -> float | None:
        """The total loss at the last step."""
        loss = self._part("progress").get("loss")
        total = loss.get("total") if isinstance(loss, dict) else None
        return None if total is None else float(total)

    @property
    def seconds_left(self) -> float | None:
        """The estimated time left, in seconds."""
        eta = self._part("eta").get("seconds")
        if eta is not None:
            return float(eta)
        rate = self._part("progress").get("steps_per_second")
        return (self.steps - self.step) / float(rate) if rate and self.steps else None

    @property
    def notice(self) -> str | None:
        """The notice about the weights that it ran with."""
        notice = self._part("weights").get("notice")
        return str(notice) if notice else None

    @property
    def hindrance(self) -> str | None:
        """Why it does not start, if something keeps it from starting."""
        message = self._part("queue").get("message")
        return str(message) if message else None

    @property
    def leader_id(self) -> str | None:
        """The job with the same work that it waits for, or whose result it got."""
        leader_id = self.document.get("leader_id")
        return str(leader_id) if leader_id else None

    @property
    def error(self) -> dict[str, Any]:
        """Why it failed: code, title, detail, retryable, suggestion; empty when it did not."""
        return self._part("error")

    @property
    def run_seconds(self) -> float | None:
        """The run time in seconds."""
        seconds = self._part("metrics").get("run_seconds")
        return None if seconds is None else float(seconds)

    @property
    def outputs(self) -> list[JobOutput]:
        """The output files; empty before it succeeded."""
        return [
            JobOutput(item["name"], item["url"], item["sha256"], item["size_bytes"], item["content_type"])
            for item in self.document.get("outputs") or []
        ]

    def _part(self, name: str) -> dict[str, Any]:
        part = self.document.get(name)
        return part if isinstance(part, dict) else {}


@dataclass(frozen=True)
class JobAnswer:
    """A job as the service answered with it; None when it still has the given ETag."""

    job: JobView | None
    etag: str | None


@dataclass(frozen=True)
class Submitted:
    """The submitted job; `is_replay` when an earlier request with the same key had created it."""

    job: JobView
    is_replay: bool


@dataclass(frozen=True)
class Event:
    """One event of a job; only one that is kept has a number."""

    kind: str
    data: dict[str, Any]
    number: int | None = None

    @property
    def is_last(self) -> bool:
        """Whether the job has ended with it."""
        return self.kind == "status" and JobStatus(self.data["status"]).is_final

    def to_json(self) -> dict[str, object]:
        """Return it as the service told it."""
        return {"id": self.number, "event": self.kind, "data": self.data}


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events in the lines of a stream of server-sent events; each of ours has one line of data."""
    told: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line:
            told[name] = value.strip()
        elif "data" in told:
            number = told.get("id")
            yield Event(
                told.get("event", "message"), json.loads(told["data"]), int(number) if number else None
            )
            told = {}


@dataclass(frozen=True)
class JobFields:
    """What is sent of a new job beside its pictures; `timeouts` are in seconds, by their fields' names."""

    options: Mapping[str, object]
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    reuse: bool = True
    kind: JobKind = JobKind.JOB
    #: Fields that are sent as they are.
    more: Mapping[str, object] = field(default_factory=dict)

    def to_parts(self) -> dict[str, str]:
        """Return the fields as the text parts of a request."""
        return {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in self.to_json().items()
        }

    def to_json(self) -> dict[str, object]:
        """Return the fields as those of a JSON body; what is not set is left out."""
        fields: dict[str, object] = {"options": dict(self.options), **self.timeouts, **self.more}
        if self.name is not None:
            fields["name"] = self.name
        if self.labels:
            fields["labels"] = dict(self.labels)
        if self.kind is not JobKind.JOB:
            fields["kind"] = self.kind.value
        return fields if self.reuse else {**fields, "reuse": False}
