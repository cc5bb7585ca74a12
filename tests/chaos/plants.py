"""Bugs put into a process on purpose: the harness is worth something only if it finds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any, Literal

from shared.redis.claims import Claims, Verdict
from shared.storage.local import LocalStore, make_folders
from tests.chaos import plants_nodes, plants_webhooks, plants_writer
from tests.chaos.plants_upgrade import count_defaults, refuse_unknown_fields, refuse_unknown_reports
from tests.chaos.plants_writer import HeldStore

_WINDOW_SECONDS = 0.5


@dataclass(frozen=True)
class Plant:
    """A bug, the kind of process that gets it, the faults that bring it out, and the breach to be seen.

    Web gets none but its own: the others are bugs of nodes and control.
    """

    where: Literal["node", "control", "web", "restore", "all", "harness and all"]
    install: Callable[[], None]
    kinds: tuple[str, ...]
    faults: int
    breach: str

    def is_of(self, kind: str) -> bool:
        """Whether a process of this kind gets it."""
        return self.where == kind or (kind != "web" and self.where in ("all", "harness and all"))


def ack_before_commit() -> None:
    """Report success first, and store the result half a second later; control believes it."""
    from web.control import projector
    from worker.attempt import Attempt

    projector.find_result = lambda *_, **__: object()  # type: ignore[assignment]

    commit = Attempt._commit

    def late_commit(self: Attempt, *step: Any) -> None:
        held = HeldStore(self._store)
        self._store = held  # type: ignore[assignment]
        commit(self, *step)
        sleep(_WINDOW_SECONDS)
        held.let_go()

    Attempt._commit = late_commit  # type: ignore[method-assign]


def no_fence() -> None:
    """Let every claim and every renewal succeed."""

    def agree(self: Claims, job_id: str, attempt: int, *, token: str) -> Verdict:
        return Verdict.OK

    Claims.claim = Claims.renew = agree  # type: ignore[method-assign]


def forget_marker() -> None:
    """Never write a commit marker."""
    create = LocalStore.create

    def forgetful(self: LocalStore, key: str, data: bytes) -> None:
        if not key.endswith("/result.json"):
            create(self, key, data)

    LocalStore.create = forgetful  # type: ignore[method-assign]


def forget_moments() -> None:
    """Go on from a checkpoint without the optimiser's moments: the sleeping engine's, or Adam's."""
    from worker import attempt
    from worker.checkpoint import Checkpoint
    from worker.engine.state import EngineState

    find = attempt.find_checkpoint

    def forgetful(*words: Any, **names: Any) -> Checkpoint | None:
        found = find(*words, **names)
        if found is None:
            return None
        arrays = {
            name: array * (1 if name in ("value", "image") else 0)
            for name, array in found.state.arrays.items()
        }
        return Checkpoint(found.key, EngineState(found.state.step, arrays), found.file)

    attempt.find_checkpoint = forgetful  # type: ignore[assignment]


def ignore_flags() -> None:
    """Never look whether somebody wants the job to stop."""
    from worker.attempt import Attempt

    Attempt._flag = lambda self: None  # type: ignore[method-assign]


def no_inbox() -> None:
    """Apply a report as often as it is delivered."""
    from web.control import projector

    projector.enter_inbox = lambda _session, event_ids, **_: set(event_ids)  # type: ignore[assignment]


def no_rescue() -> None:
    """Never look for lost leases."""
    from web.control.rescuer import Rescuer

    Rescuer.rescue = lambda self, projector: 0  # type: ignore[method-assign]


def forget_files() -> None:
    """Put the database of a backup back, and none of its files."""
    from web.backup import restoring

    restoring._is_there = lambda *_: True  # type: ignore[assignment]


def keep_timeline() -> None:
    """After a restore leave later attempts in their places, and take whatever marker lies there."""
    from shared.protocol import ResultMarker
    from web.backup import restoring

    ResultMarker.mismatch = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    restoring._begun = lambda *_: []  # type: ignore[assignment]
    restoring.read_fences = lambda *_: {}  # type: ignore[assignment]


def stop_at_junk() -> None:
    """Take a report that cannot be read for a bug of one's own."""
    from shared.errors import UnreadableMessage
    from shared.protocol import read_event
    from web.control import projector

    def read(text: str) -> Any:
        try:
            return read_event(text)
        except UnreadableMessage as error:
            raise RuntimeError from error

    projector.read_event = read


def fail_at_refusal() -> None:
    """Take whatever Redis refuses for a command that is wrong, so for a fault of the attempt."""
    from shared.redis import connection

    connection.is_wrong_command = lambda _error: True


def trust_the_mount() -> None:
    """Never look whose storage it is, nor whether there is any."""
    from web import backend
    from worker import attempt, health, intake, writer

    for module in (attempt, backend, health, intake, writer):
        module.check_identity = lambda *_: None  # type: ignore[attr-defined]

    def make(self: LocalStore, folder: Path) -> None:
        make_folders(folder, below=self.root)

    LocalStore._make_folders = make  # type: ignore[method-assign]


def forget_hand_back() -> None:
    """Give a job up because the storage fails, without a word of it to control."""
    from worker.runner import Outcome, Runner

    def give_up(self: Runner, _attempt: object, error: Any) -> Outcome:
        self.health.lose_storage(error)
        return Outcome.ABANDONED

    Runner._give_up_storage = give_up  # type: ignore[method-assign]


PLANTS: dict[str, Plant] = {
    "ack-before-commit": Plant(
        "all", ack_before_commit, ("kill_node",), 4, "it had succeeded, but its output"
    ),
    "no-fence": Plant(
        "node", no_fence, ("make_zombie", "repeat_messages"), 20, "held its lease|steps of attempt"
    ),
    # Control takes no success without a marker: such a job never ends.
    "forget-marker": Plant("node", forget_marker, ("lose_success",), 3, "it ended 0 times, asked for 1"),
    "forget-moments": Plant("node", forget_moments, ("kill_child",), 6, "is not that of the lone run"),
    "write-again": Plant(
        "node", plants_writer.write_again, ("kill_at_commit",), 2, "has other bytes than its row says"
    ),
    "tell-before-write": Plant(
        "node",
        plants_writer.tell_before_write,
        ("kill_child",),
        6,
        r"a checkpoint of step \d+ had been told of",
    ),
    "lose-the-last": Plant("node", plants_writer.lose_the_last, ("drain_node",), 6, "was drained at step"),
    "note-before-it-is-told": Plant(
        "control", plants_webhooks.note_before_it_is_told, ("kill_control",), 6, "was never told"
    ),
    "word-it-anew": Plant(
        "control", plants_webhooks.word_it_anew, ("kill_control",), 2, "told in different words"
    ),
    "forget-to-tell": Plant("all", plants_webhooks.forget_to_tell, ("kill_child",), 1, "was never told"),
    "ignore-flags": Plant("node", ignore_flags, (), 0, "steps were made after it was asked to"),
    "no-inbox": Plant("control", no_inbox, ("disturb_reports",), 8, "was reported twice"),
    "no-rescue": Plant("control", no_rescue, ("kill_node",), 2, "stuck"),
    "stop-at-junk": Plant("control", stop_at_junk, ("junk_items",), 2, "stuck"),
    "fail-at-refusal": Plant("node", fail_at_refusal, ("refuse_commands",), 4, "as if its engine had failed"),
    "trust-the-mount": Plant("all", trust_the_mount, ("unmount_storage",), 4, "below the mount point"),
    "forget-hand-back": Plant(
        "node", forget_hand_back, ("long_full_disk",), 1, "was counted as the loss of a worker"
    ),
    "refuse-unknown-fields": Plant(
        "node", refuse_unknown_fields, ("upgrade",), 1, "entry of ours, set aside"
    ),
    "refuse-unknown-reports": Plant(
        "control", refuse_unknown_reports, ("upgrade",), 1, "entry of ours, set aside"
    ),
    "count-defaults": Plant("node", count_defaults, ("upgrade",), 2, "steps back; allowed are"),
    "forget-files": Plant("restore", forget_files, ("restore",), 2, "is needed, and not there"),
    "keep-timeline": Plant(
        "all",
        keep_timeline,
        ("restore_earlier_timeline",),
        2,
        "it succeeded at step|is not that of the lone run",
    ),
    "blame-the-job": Plant(
        "control", plants_nodes.blame_the_job, ("failing_node",), 2, "it ended failed: .*(?:missing|failed)"
    ),
    "never-rest": Plant(
        "node", plants_nodes.never_rest, ("failing_node",), 1, r"failed \d+ jobs, and takes the next one"
    ),
    "forget-the-light-node": Plant(
        "control", plants_nodes.forget_the_light_node, ("kill_light_node",), 1, "stuck"
    ),
    "keep-replaced": Plant(
        "web", plants_nodes.keep_replaced, ("make_light_zombie",), 1, "s after it was replaced"
    ),
    "hold-for-ever": Plant("node", plants_nodes.hold_for_ever, ("restart_redis_unseen",), 8, "stuck"),
    **{
        f"shared-{what}": Plant(
            "harness and all", install, ("second_installation",), 1, "second installation .*carry no identity"
        )
        for what, install in plants_nodes.SHARED.items()
    },
}
