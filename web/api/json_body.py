"""JSON bodies of requests about one job: read, refused with the name of what is wrong, or not expected."""

from __future__ import annotations

from typing import TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from shared.errors import MalformedRequest
from web.api.body import body_faults, parse_json, refuse_unknown

Body = TypeVar("Body", bound=BaseModel)


def read_body(kind: type[Body]) -> Body:
    """Return the body of this kind that was sent; nothing sent is as good as an empty object.

    Raises:
        MalformedRequest, MissingPart: naming each field that is unknown, missing or not valid.
        UnsupportedMediaType: when something else than JSON was sent.
    """
    values = _read_object()
    fields = [field.alias or name for name, field in kind.model_fields.items()]
    refuse_unknown("field", values, known=fields)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise body_faults(error) from None


def refuse_body() -> None:
    """Refuse a body with something in it, where there is nothing to say.

    Raises:
        MalformedRequest, UnsupportedMediaType: as `read_body` does.
    """
    refuse_unknown("field", _read_object(), known=())


def _read_object() -> dict[str, object]:
    refuse_unknown("parameter", request.args, known=())
    data = request.get_data(cache=False)
    if not data.strip():
        return {}
    if not request.is_json:
        raise UnsupportedMediaType(f"send application/json, not {request.mimetype or 'nothing'}")
    values = parse_json(data, name="the body")
    if not isinstance(values, dict):
        raise MalformedRequest("the body must be a JSON object")
    return values
