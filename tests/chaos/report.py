"""The report of a run as Markdown; a terminal shows it as well as a page does."""

from __future__ import annotations

import os
import platform
from collections import Counter
from statistics import median

from tests.chaos.evidence import Evidence, is_kept
from tests.chaos.load import DRAFTS
from tests.chaos.oracle import Judgement
from tests.chaos.oracle_history import is_excused
from tests.chaos.recovery import MARGIN_SECONDS, Recovery
from tests.chaos.run import Plan

_MOST_BREACHES = 40
#: The heading of the last part, if there is one.
BREACHES = "## Breaches"


def write_report(
    plan: Plan, command: str, evidence: Evidence, judged: Judgement, breaches: list[str], *, seconds: float
) -> str:
    """Return the whole report."""
    machine = f"{platform.system()} with {os.cpu_count()} processors, Python {platform.python_version()}"
    lines = [
        f"`{command}`",
        "",
        f"Seed {plan.seed}; {machine}; {seconds / 60:.1f} minutes.",
        f"{plan.workers} workers with the {plan.engine} engine; {plan.steps} steps a job, 5 to a checkpoint.",
        f"The lease is {plan.pace.lease:g} s, renewed every {plan.pace.renew:g} s.",
        f"**Planted: {plan.plant}.**" if plan.plant else "No bug is planted.",
        "",
        *_summary(evidence, judged, breaches),
        "",
        *_faults(evidence, judged),
    ]
    if breaches:
        lines += ["", f"{BREACHES}: {len(breaches)}", ""]
        lines += [f"- {breach}" for breach in breaches[:_MOST_BREACHES]]
    return "\n".join(lines) + "\n"


def _summary(evidence: Evidence, judged: Judgement, breaches: list[str]) -> list[str]:
    accepted = evidence.accepted()
    ends = Counter(job.status for job in evidence.jobs.values())
    asked = Counter(what for job in evidence.submitted for what, answer in job.asked if answer.is_done)
    unheard = sum(answer.unheard for job in evidence.submitted for _, answer in job.asked)
    wishes = ", ".join(f"{what} {count}" for what, count in sorted(asked.items())) or "none"
    rows = {
        "faults injected": len(evidence.injections),
        "jobs accepted": len(accepted),
        "jobs lost": len(evidence.lost()),
        "jobs doubled": sum(job_id not in accepted for job_id in evidence.jobs),
        "drafts": _drafts(evidence),
        "messages of webhooks": _told(evidence),
        "jobs by their end": ", ".join(f"{status} {count}" for status, count in sorted(ends.items())),
        "failed because the checkpoint they were to begin with was damaged": sum(
            is_excused(evidence, job) for job in evidence.jobs.values()
        ),
        "wishes granted": wishes + (f" ({unheard} asked again, unheard)" if unheard else ""),
        "outputs compared with lone runs": f"{judged.compared}, by {judged.lone_runs} lone runs",
        "event streams replayed": len(evidence.streams),
        "workers that gave up while Redis refused, started again": len(evidence.restarted),
        "steps computed": judged.steps.made,
        "steps computed twice": judged.steps.again,
        "most made again by one resumed run": judged.steps.again_at_most,
        "garbage collected afterwards": ", ".join(f"{k} {n}" for k, n in sorted(judged.pruned.items()))
        or "none",
        "**breaches**": f"**{len(breaches)}**",
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def _told(evidence: Evidence) -> str:
    heard = evidence.heard or []
    return f"{len({told.id for told in heard})}, told {len(heard)} times"


def _drafts(evidence: Evidence) -> str:
    replaced, kept = (
        sum(map(bool, found))
        for found in ([job.replaces for job in evidence.submitted], map(is_kept, evidence.submitted))
    )
    count = sum(job.kind in DRAFTS for job in evidence.submitted)
    removed = len(evidence.removed_drafts())
    return f"{count}; {replaced} in the place of another, {kept} kept, {removed} removed as old"


def _faults(evidence: Evidence, judged: Judgement) -> list[str]:
    counts = Counter(fault.kind for fault in evidence.injections)
    promised = f"{evidence.pace.lease:g} s + {MARGIN_SECONDS:g} s"
    lines = [
        f"Recovery is from the fault to when the job was due again (promised: {promised}), and to its next",
        "step, which also waits for a free worker; in seconds, median and worst. Losses while another fault",
        "held up Redis or control are apart.",
        "",
        "| fault | times | leases lost | due again | worst | next step | worst | held up | worst |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for kind in sorted(counts):
        found = [recovery for recovery in judged.recoveries if recovery.kind == kind]
        alone, other = (
            [recovery for recovery in found if recovery.is_disturbed is which] for which in (False, True)
        )
        cells = [kind.replace("_", " "), counts[kind], len(found), *_pair(alone), *_next(alone)]
        cells += [len(other), _pair(other)[1]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    total = [recovery for recovery in judged.recoveries if not recovery.is_disturbed]
    cells = ["**all**", sum(counts.values()), len(judged.recoveries), *_pair(total), *_next(total)]
    other = [recovery for recovery in judged.recoveries if recovery.is_disturbed]
    lines.append("| " + " | ".join(map(str, [*cells, len(other), _pair(other)[1]])) + " |")
    return lines


def _pair(found: list[Recovery]) -> tuple[str, str]:
    return _seconds([recovery.due for recovery in found])


def _next(found: list[Recovery]) -> tuple[str, str]:
    return _seconds([recovery.first_step for recovery in found if recovery.first_step is not None])


def _seconds(values: list[float]) -> tuple[str, str]:
    return (f"{median(values):.1f}", f"{max(values):.1f}") if values else ("–", "–")
