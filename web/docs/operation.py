"""What a view says of itself: the OpenAPI document is made from it, and lacks no view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from shared.errors import AtelierError

_V = TypeVar("_V", bound=Callable[..., Any])
_KEY = "operation"
JSON = "application/json"
MULTIPART = "multipart/form-data"


@dataclass(frozen=True)
class Answer:
    """One way a view answers: one of some models in JSON, other media types, or nothing but headers."""

    description: str
    models: tuple[type[BaseModel], ...] = ()
    media_types: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Parameter:
    """A parameter in the query or a header; those in the path are read from it."""

    name: str
    description: str
    place: str = "query"
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True)
class Operation:
    """What one method of one path does."""

    summary: str
    tag: str
    answers: Mapping[int, Answer]
    refusals: tuple[type[AtelierError], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    #: Media type → model, or a schema for what no model describes.
    bodies: Mapping[str, type[BaseModel] | Mapping[str, Any]] = field(default_factory=dict)
    needs_body: bool = True

    def __call__(self, view: _V) -> _V:
        """Describe a view, as its decorator; the view's docstring is the long description."""
        vars(view)[_KEY] = self
        return view


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """Return what a view says of itself."""
    found = vars(view).get(_KEY)
    return found if isinstance(found, Operation) else None


WAIT = Parameter(
    "Prefer",
    "wait=N waits up to N seconds, at most 60",
    "header",
    {"type": "string", "examples": ["wait=30"]},
)
IF_NONE_MATCH = Parameter("If-None-Match", "An ETag: answers 304 when it is still the same", "header")
RANGE = Parameter("Range", "bytes=first-last: answers 206 with that part", "header")
NOT_MODIFIED = Answer("Not changed since the ETag")
PARTIAL = Answer("The part asked for", media_types=("application/octet-stream",))
