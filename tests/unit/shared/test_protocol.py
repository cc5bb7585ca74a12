"""What crosses the wire: releases of the same major version read each other's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import Field

from shared.errors import ArtifactCorrupt, UnreadableMessage
from shared.options import FIRST_OPTIONS, StyleOptions, parse_options
from shared.protocol import (
    PROTOCOL,
    InputPicture,
    JobMessage,
    Origin,
    ResultMarker,
    WorkerEvent,
    read_event,
    read_marker,
    read_message,
)
from shared.provenance import Provenance
from web.jobs.reuse import work_sha256
from worker.checkpoint import fingerprint

#: The fields that the first release reads; it refuses a message that has any other.
FIRST_FIELDS = {
    "version", "job_id", "attempt", "content", "style", "options", "checkpoints_since", "origin",
    "run_timeout_seconds",
}  # fmt: skip


class LaterOptions(StyleOptions):
    """The options of some later release."""

    grain: float = Field(0.0, ge=0, le=1)


def message(options: StyleOptions, **changes: Any) -> JobMessage:
    return JobMessage(
        job_id="j",
        attempt=1,
        content=InputPicture(key="c", sha256="c" * 64),
        style=InputPicture(key="s", sha256="5" * 64),
        options=options,
        origin=Origin(key="o", sha256="0" * 64, step=3),
        **changes,
    )


BOLD = {"preset": "bold", "steps": 7, "checkpoint_every": 3}


def both_hashes(options: StyleOptions) -> tuple[str, str]:
    of_checkpoint = fingerprint(message(options), weights_sha256="e" * 64, engine_version="1")
    of_work = work_sha256(
        content_sha256="c" * 64, style_sha256="5" * 64, options=options, origin_sha256="0" * 64
    )
    return of_checkpoint, of_work


def test_the_hashes_are_those_of_the_first_release():
    assert both_hashes(parse_options(BOLD)) == (
        "e34bcac1d095eb8787aae505cc187ececc2c04218e2b3fba2ad47cc869ace0c9",
        "33e091459f0698448228e2395d602c39eed13ee5929fc19076f4275a564290fe",
    )


def test_a_new_option_changes_nothing_until_it_is_used():
    now, later = parse_options(BOLD), LaterOptions(**BOLD)
    assert both_hashes(later) == both_hashes(now)
    assert message(later).to_json() == message(now).to_json()
    assert metadata(later) == metadata(now)
    used = LaterOptions(**BOLD, grain=0.5)
    assert both_hashes(used)[0] != both_hashes(now)[0]
    assert both_hashes(used)[1] != both_hashes(now)[1]
    assert message(used).to_json()["options"]["grain"] == 0.5
    assert metadata(used) != metadata(now)


def metadata(options: StyleOptions) -> dict[str, str]:
    return Provenance("1", "c", "s", options, 7, "imagenet", "w").to_metadata()


def test_the_first_release_can_read_a_message():
    sent = message(parse_options(BOLD)).to_json()
    assert set(sent) <= FIRST_FIELDS
    assert sent["options"] == parse_options(BOLD).model_dump(include=set(FIRST_OPTIONS))
    assert sent["version"] == 1


@pytest.mark.parametrize("changes", [{}, {"checkpoints_since": 4, "run_timeout_seconds": 9.5}])
def test_a_message_is_read_as_it_was_sent(changes):
    sent = message(parse_options({"preset": "draft", "steps": 100, "size": 512}), **changes)
    assert read_message(sent.to_json()) == sent


def with_more(values: Any) -> Any:
    """Return a JSON value with one more field in every object."""
    if isinstance(values, dict):
        return {**{name: with_more(value) for name, value in values.items()}, "from_a_later_release": [1]}
    return [with_more(value) for value in values] if isinstance(values, list) else values


def test_fields_of_a_later_release_are_ignored():
    sent = message(parse_options(BOLD))
    assert read_message(with_more(sent.to_json())) == sent
    event = WorkerEvent(
        event_id="e",
        type="paused",
        job_id="j",
        attempt=1,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        data={"step": 0},
    )
    assert read_event(event.model_dump_json()[:-1] + ', "from_a_later_release": 1}') == event
    output = {
        "name": "n", "key": "k", "content_type": "image/png", "size_bytes": 1, "sha256": "a", "width": 1,
        "height": 1,
    }  # fmt: skip
    marker = ResultMarker(
        job_id="j", attempt=1, completed_at=event.at, step=1, losses={}, outputs=[output], weights={},
        engine_version="1", run_seconds=1,
    )  # fmt: skip
    more = marker.model_dump_json().replace('"name":"n"', '"name":"n","later":{}')
    assert read_marker((more[:-1] + ', "later": null}').encode()) == marker


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"options": {"steps": "ten"}},
        {"options": 5},
        {"content": None},
        {"attempt": "first"},
        {"attempt": 0},
        {"attempt": 2**80},
        {"job_id": ""},
        {"job_id": "../x"},
        {"job_id": ".."},
        {"job_id": "\ud800"},
        {"job_id": "j" * 1000},
        {"content": {"key": "../../etc/passwd", "sha256": "a"}},
        {"style": {"key": "a\x00b", "sha256": "a"}},
        {"style": {"key": "k" * 5000, "sha256": "a"}},
        {"options": {"steps": 0}},
        {"options": {"size": 2**70}},
        {"run_timeout_seconds": float("nan")},
        {"checkpoints_since": -1},
    ],
)
def test_what_cannot_be_read_is_refused(change):
    sent = message(parse_options(BOLD)).to_json()
    with pytest.raises(UnreadableMessage):
        read_message(sent | change)


def test_what_only_younger_nodes_can_do_is_refused():
    sent = message(parse_options(BOLD), least_protocol=PROTOCOL + 1).to_json()
    with pytest.raises(UnreadableMessage, match=f"understands {PROTOCOL}"):
        read_message(sent)
    assert read_message(sent | {"least_protocol": PROTOCOL}).attempt == 1


def test_another_major_version_is_refused():
    with pytest.raises(UnreadableMessage):
        read_event('{"version": 2}')
    with pytest.raises(ArtifactCorrupt):
        read_marker(b'{"version": 2}')
