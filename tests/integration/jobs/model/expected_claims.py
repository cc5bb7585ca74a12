"""What is expected of the leases: an independent model of claim, fence and delivery counter."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ExpectedClaims:
    """Who holds which job, which attempts are fenced off, and how often each was begun."""

    max_deliveries: int
    owners: dict[str, str] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    deliveries: dict[tuple[str, int], int] = field(default_factory=dict)

    def claim(self, job_id: str, attempt: int, worker: str) -> str:
        """Return the verdict, and note what follows from it."""
        if self.fences.get(job_id, 0) > attempt:
            return "stale"
        if self.owners.get(job_id, worker) != worker:
            return "held"
        self.fences[job_id] = attempt
        self.deliveries[job_id, attempt] = self.deliveries.get((job_id, attempt), 0) + 1
        self.owners[job_id] = worker
        if self.deliveries[job_id, attempt] > self.max_deliveries:
            return "poison"
        return "ok"

    def release(self, job_id: str) -> tuple[str, int] | None:
        """Take the lease away; return who held it and at which attempt."""
        owner = self.owners.pop(job_id, None)
        if owner is None:
            return None
        attempt = self.fences[job_id]
        self.deliveries.pop((job_id, attempt), None)
        return owner, attempt

    def fence(self, job_id: str, attempt: int) -> None:
        """Make lower attempts stale."""
        self.fences[job_id] = max(self.fences.get(job_id, 0), attempt)

    def forget(self) -> None:
        """Lose everything."""
        for known in (self.owners, self.fences, self.deliveries):
            known.clear()
