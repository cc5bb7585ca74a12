"""The forms of a job's page, read into the bodies that the API takes, and what is wrong with them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import AtelierError, ServiceError
from web.action_bodies import ExtendBody, ForkBody, RetryBody
from web.api.body import body_faults
from web.pages.option_fields import PRESET, OptionField, option_fields, option_values

#: A fork has the working size of its checkpoint.
_FIXED = {PRESET, "size"}
_USUAL_EXTENSION = 50
_WHOLE = re.compile(r"[+-]?\d{1,9}")
_Body = TypeVar("_Body", bound=BaseModel)


@dataclass(frozen=True)
class RefusedForm:
    """What was refused, and why; `at` are the faults of single fields, by their pointers."""

    action: str
    title: str
    detail: str
    suggestion: str | None = None
    at: Mapping[str, str] = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)


def refusal_of(action: str, error: AtelierError, typed: Mapping[str, str]) -> RefusedForm:
    """Return a refusal as the page shows it, with what had been typed."""
    places = {*form_pointers(action)}
    at = {fault.pointer: fault.detail for fault in error.faults if fault.pointer in places}
    elsewhere = [fault.detail for fault in error.faults if fault.pointer not in places]
    # A service's own words may hold addresses and passwords: they belong into the log.
    detail = error.title() if isinstance(error, ServiceError) else error.detail
    return RefusedForm(
        action=action,
        title=error.title(),
        detail="; ".join(elsewhere) if at else detail,
        suggestion=error.suggestion,
        at=at,
        typed=typed,
    )


def form_pointers(action: str) -> list[str]:
    """Return where the form of an action can show a fault."""
    if action == "extend":
        return ["/steps"]
    if action == "fork":
        return ["/step", "/name", *(entry.pointer for entry in fork_fields())]
    return []


def fork_fields() -> list[OptionField]:
    """Return the options that a fork may change."""
    return [entry for entry in option_fields() if entry.name not in _FIXED]


def read_retry(sent: Mapping[str, str]) -> RetryBody:
    """Return how to retry; raises `MalformedRequest` when it is not known."""
    return _body(RetryBody, {"from": sent.get("from", "checkpoint")})


def read_extend(sent: Mapping[str, str]) -> ExtendBody:
    """Return how many steps more; raises `MalformedRequest` naming the field."""
    text = sent.get("steps", "").strip()
    return _body(ExtendBody, {"steps": _whole(text)} if text else {})


def read_fork(sent: Mapping[str, str], parent: Mapping[str, Any]) -> ForkBody:
    """Return a fork: what is left as the parent (its options) has it, or empty, is not said.

    Raises:
        MalformedRequest, MissingPart: naming the fields.
    """
    fields = fork_fields()
    texts = {entry.name: sent.get(entry.input_name, "") for entry in fields}
    given = option_values(fields, texts)
    values: dict[str, object] = {
        "options": {name: value for name, value in given.items() if value != parent.get(name)}
    }
    if step := sent.get("step", "").strip():
        values["step"] = _whole(step)
    if name := sent.get("name", "").strip():
        values["name"] = name
    return _body(ForkBody, values)


def extension_room(steps: int) -> int:
    """Return how many steps more a job of so many may have."""
    return _most_steps() - steps


def usual_extension(steps: int) -> int:
    """Return the number of steps that is offered for an extension."""
    return max(1, min(_USUAL_EXTENSION, extension_room(steps)))


def usual_fork_steps(steps: int, step: int) -> int:
    """Return the steps that are offered for a fork at a step: the parent's, or as many again at its end."""
    return steps if steps > step else min(step + steps, _most_steps())


@cache
def _most_steps() -> int:
    return next(int(entry.maximum) for entry in option_fields() if entry.name == "steps")


def _body(kind: type[_Body], values: Mapping[str, object]) -> _Body:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise body_faults(error) from None


def _whole(text: str) -> int | str:
    return int(text) if _WHOLE.fullmatch(text) else text
