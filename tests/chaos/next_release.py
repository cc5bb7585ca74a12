"""The next release, as far as others can tell: this code, with more to say than this release understands.

It has another build and a higher protocol. Whatever it writes for others carries fields that this release
does not know, and there is one option more, whose default means what was done before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pydantic

NEXT_BUILD = "next-release"
_FIELD, _MORE = "told_by_the_next_release", {"since": 2, "of": ["what", "nobody", "knows"]}
#: These map names to numbers, words or sentences: there is no field in them.
_NO_OBJECTS = {"losses", "faults", "labels", "numerics", "not_served"}


def set_next(folder: Path, names: list[str], *, is_next: bool) -> None:
    """Let the processes of these names be of the next release, or of this one, from their next start on."""
    (folder / "next").mkdir(exist_ok=True)
    for name in names:
        path = folder / "next" / name
        if is_next:
            path.touch()
        else:
            path.unlink(missing_ok=True)


def is_next(folder: Path, name: str) -> bool:
    """Whether the process of a name is of the next release when it is started."""
    return (folder / "next" / name).exists()


def tell_more(value: Any) -> Any:
    """Return a JSON value with an unknown field in each object of it."""
    if isinstance(value, dict):
        parts = {name: part if name in _NO_OBJECTS else tell_more(part) for name, part in value.items()}
        return {**parts, _FIELD: _MORE}
    return [tell_more(part) for part in value] if isinstance(value, list) else value


def install_next_release(kind: str) -> None:
    """Make this process, one of a kind, of the next release; before more than the clock is imported."""
    _add_option()
    _raise_protocol()
    from shared import broker, installation, protocol
    from shared.redis import control, live, workers

    for model in (
        protocol.WorkerEvent, protocol.ResultMarker, installation.Installation, live.LiveProgress,
        control.ControlBeat, workers.WorkerBeat,
    ):  # fmt: skip
        model.model_dump_json = _telling_more(model.model_dump_json)  # type: ignore[method-assign]
    to_json = protocol.JobMessage.to_json
    protocol.JobMessage.to_json = lambda self: tell_more(to_json(self))  # type: ignore[method-assign]
    make_entry = broker.Dispatch._entry

    def entry(self: broker.Dispatch, message: protocol.JobMessage, route: str, step: int) -> str:
        values = json.loads(make_entry(self, message, route, step))
        for part in (values, values["headers"], values["properties"]):
            part[_FIELD] = _MORE
        return json.dumps(values)

    broker.Dispatch._entry = entry  # type: ignore[method-assign]
    if kind == "node":
        _tell_more_in_checkpoints()
    else:
        _tell_more_in_rows()


def _add_option() -> None:
    from shared import options

    class StyleOptions(options.StyleOptions):
        """Those of the next release."""

        grain: float = pydantic.Field(0.0, ge=0, le=1, title="Grain", description="None is as it always was.")

    options.StyleOptions = StyleOptions  # type: ignore[misc]


def _raise_protocol() -> None:
    from shared import protocol

    protocol.PROTOCOL += 1
    from shared import release

    this_release = release.this_release

    @cache
    def next_release() -> release.Release:
        known = this_release()
        return replace(known, version=f"{known.version}.post1", build=NEXT_BUILD)

    release.this_release = next_release


def _telling_more(dump: Callable[..., str]) -> Callable[..., str]:
    return lambda self, **how: json.dumps(tell_more(json.loads(dump(self, **how))))


def _tell_more_in_checkpoints() -> None:
    from worker import checkpoint

    pack = checkpoint.pack_checkpoint

    def pack_more(state: Any, **told: Any) -> bytes:
        data = pack(state, **told)
        begin = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:begin])
        header["__metadata__"][_FIELD] = "2"
        text = json.dumps(header, sort_keys=True).encode()
        text += b" " * (-len(text) % 8)
        return b"".join((len(text).to_bytes(8, "little"), text, data[begin:]))

    checkpoint.pack_checkpoint = pack_more


def _tell_more_in_rows() -> None:
    from web.db.models import Job
    from web.jobs import queries

    insert = queries.insert_rows

    def insert_more(session: Any, table: Any, rows: Any) -> None:
        for row in rows if table is Job else ():
            row |= {name: tell_more(row[name]) for name in ("options", "origin") if row.get(name)}
        insert(session, table, rows)

    queries.insert_rows = insert_more
