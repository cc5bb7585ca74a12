"""The view of estimates: how long a job would take, before anything is uploaded."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, request

from shared.errors import DatabaseUnavailable, Fault, InvalidOptions, MalformedRequest
from shared.options import StyleOptions, parse_options
from web.api import API_PATH
from web.api.http import json_answer, refuse_unknown
from web.api.openapi import Answer, Operation, Parameter
from web.api.schemas import EstimateOut, estimate_out
from web.jobs.estimates import make_forecast
from web.services import get_backend

_OPTIONS = ("preset", "steps", "size")
_PARTS = ("content", "style")
_MAX_SIDE_PX = 1_000_000
_SCHEMA = StyleOptions.model_json_schema()["properties"]
_SIDE = {"type": "integer", "minimum": 1, "maximum": _MAX_SIDE_PX}
PARAMETERS = (
    *(Parameter(name, _SCHEMA[name]["description"], schema=_SCHEMA[name]) for name in _OPTIONS),
    *(
        Parameter(
            f"{part}_{side}",
            f"Pixels of the {part} picture; 4:3 is assumed where it is not known",
            schema=_SIDE,
        )
        for part in _PARTS
        for side in ("width", "height")
    ),
)
estimates = Blueprint("estimates", __name__, url_prefix=f"{API_PATH}/estimate")


@estimates.get("")
@Operation(
    "Estimate a job",
    "jobs",
    answers={200: Answer("The estimate", (EstimateOut,))},
    refusals=(MalformedRequest, InvalidOptions, DatabaseUnavailable),
    parameters=PARAMETERS,
)
def read_estimate() -> Response:
    """Tell how long a job would run and wait; nothing is uploaded for it, and nothing is stored.

    It rests on the jobs nearest in work that this service finished last, on devices that are connected now.
    `POST /jobs?validate_only=true` tells the same for a whole job.
    """
    refuse_unknown("parameter", request.args, known=[parameter.name for parameter in PARAMETERS])
    options = parse_options(_options(request.args))
    sizes = {part: size for part in _PARTS if (size := _size(request.args, part)) is not None}
    forecast = make_forecast(get_backend(), options, sizes)
    return json_answer(estimate_out(forecast).model_dump(mode="json"))


def _options(query: Mapping[str, str]) -> dict[str, object]:
    given = {name: query[name] for name in _OPTIONS if query.get(name)}
    return {
        name: _whole(text) if _SCHEMA[name].get("type") == "integer" else text for name, text in given.items()
    }


def _whole(text: str) -> int | str:
    # What is no number stays a text: the options refuse it, and say what is allowed.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _size(query: Mapping[str, str], part: str) -> tuple[int, int] | None:
    names = f"{part}_width", f"{part}_height"
    if not any(query.get(name) for name in names):
        return None
    return _side(query, names[0]), _side(query, names[1])


def _side(query: Mapping[str, str], name: str) -> int:
    number = _whole(query.get(name, ""))
    if isinstance(number, str) or not 1 <= number <= _MAX_SIDE_PX:
        given = query.get(name, "")[:20]
        detail = f"{name} is '{given}'; allowed is 1 to {_MAX_SIDE_PX}, and width and height go together"
        raise MalformedRequest(detail, faults=(Fault(f"/{name}", "out_of_range", detail),))
    return number
