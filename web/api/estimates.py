"""The view of estimates: how long a job would take, before anything is uploaded."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.clock import utc_now
from shared.errors import DatabaseUnavailable, InvalidOptions, MalformedRequest, PriorityNotAllowed
from shared.options import StyleOptions, parse_options
from shared.texts import Whole, field_schemas, read_texts
from web.api import API_PATH
from web.api.http import check_values, json_answer
from web.api.openapi import (
    OPTION_NOTE,
    Answer,
    Operation,
    Parameter,
    as_sent,
    query_parameters,
    text_schema,
)
from web.api.schemas import EstimateOut, estimate_out
from web.jobs.fields import JobFields, Priority
from web.jobs.line import make_forecast
from web.jobs.submission import PARTS
from web.security import current_caller
from web.services import get_backend

_OPTIONS = ("method", "preset", "steps", "size", "init")
_MAX_SIDE_PX = 1_000_000


class PictureSize(BaseModel):
    """The size of one picture, in pixels."""

    model_config = ConfigDict(frozen=True, strict=True)

    width: Whole = Field(ge=1, le=_MAX_SIDE_PX)
    height: Whole = Field(ge=1, le=_MAX_SIDE_PX)


class EstimateFields(BaseModel):
    """What there is beside options and pictures that an estimate rests on."""

    model_config = ConfigDict(frozen=True, strict=True)

    priority: Priority | None = Field(
        None, description="That of the job; where it is not said, of one that asks for none"
    )


_OPTION_SCHEMAS = field_schemas(StyleOptions)
PARAMETERS = (
    *(
        Parameter(
            name,
            _OPTION_SCHEMAS[name]["description"],
            schema=as_sent(_OPTION_SCHEMAS[name], note=OPTION_NOTE),
        )
        for name in _OPTIONS
    ),
    *(
        Parameter(
            f"{part}_{side}",
            f"Pixels of the {part} picture; 4:3 is assumed where it is not known",
            schema=text_schema(schema),
        )
        for part in PARTS
        for side, schema in field_schemas(PictureSize).items()
    ),
    *query_parameters(EstimateFields),
)
estimates = Blueprint("estimates", __name__, url_prefix=f"{API_PATH}/estimate")


@estimates.get("")
@Operation(
    "Estimate a job",
    "jobs",
    answers={200: Answer("The estimate", (EstimateOut,))},
    refusals=(MalformedRequest, InvalidOptions, PriorityNotAllowed, DatabaseUnavailable),
    parameters=PARAMETERS,
)
def read_estimate() -> Response:
    """Tell how long a job would run and wait; nothing is uploaded for it, and nothing is stored.

    It rests on the jobs nearest in work that this service finished last, on devices that are connected now.
    `POST /jobs?validate_only=true` tells the same for a whole job.
    """
    given = {name: text for name in _OPTIONS if (text := request.args.get(name))}
    options = parse_options(read_texts(StyleOptions, given))
    sizes = {part: size for part in PARTS if (size := _size(request.args, part)) is not None}
    asked = check_values(EstimateFields, read_texts(EstimateFields, _fields(request.args)))
    backend = get_backend()
    priority = JobFields(priority=asked.priority).priority_within(backend.settings.max_priority)
    forecast = make_forecast(
        backend, options, sizes, now=utc_now(), caller=current_caller(), priority=priority
    )
    return json_answer(estimate_out(forecast).model_dump(mode="json"))


def _fields(query: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name in EstimateFields.model_fields if (text := query.get(name))}


def _size(query: Mapping[str, str], part: str) -> tuple[int, int] | None:
    texts = {side: query.get(f"{part}_{side}", "") for side in PictureSize.model_fields}
    if not any(texts.values()):
        return None
    try:
        size = PictureSize.model_validate(read_texts(PictureSize, texts))
    except ValidationError as error:
        side = str(error.errors()[0]["loc"][0])
        name, given = f"{part}_{side}", texts[side][:20]
        detail = f"{name} is '{given}'; allowed is 1 to {_MAX_SIDE_PX}, and width and height go together"
        raise MalformedRequest.at(f"/{name}", detail, code="out_of_range") from None
    return size.width, size.height
