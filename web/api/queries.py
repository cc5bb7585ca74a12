"""The query of every request to the API: what the operation does not know, or has twice, is refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Flask, current_app, request
from pydantic import BaseModel
from werkzeug.datastructures import MultiDict

from shared.errors import Fault, MalformedRequest
from shared.options import StyleOptions
from web.api.http import refuse_unknown
from web.api.openapi import Operation, operation_of


def check_queries(app: Flask) -> None:
    """Let an app refuse each request to the API whose query it would not heed; pages take any query."""

    def check() -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        operation = None if view is None else operation_of(view)
        if operation is not None and request.method != "OPTIONS":
            check_query(operation, request.args)

    app.before_request(check)


def check_query(operation: Operation, query: MultiDict[str, str]) -> None:
    """Refuse what is not heeded: a parameter that the operation does not have, and one given twice.

    Raises:
        MalformedRequest: naming all of them.
    """
    known = {
        parameter.name: parameter.schema for parameter in operation.parameters if parameter.place == "query"
    }
    in_body = _body_fields(operation.bodies.values())
    faults = []
    for name in sorted(set(query) - set(known)):
        if name in in_body:
            detail = f"{name} is not a parameter here; send it in the body"
            faults.append(Fault(f"/{name}", "unknown_parameter", detail))
        elif "options" in in_body and name in StyleOptions.model_fields:
            detail = f"{name} is not a parameter here; it is an option: put it into options, in the body"
            faults.append(Fault(f"/{name}", "unknown_parameter", detail))
    if faults:
        raise MalformedRequest("; ".join(fault.detail for fault in faults), faults=tuple(faults))
    refuse_unknown("parameter", query, known=known)
    for name, schema in known.items():
        times = len(query.getlist(name))
        if times > 1 and schema.get("type") != "array":
            detail = f"{name} is given {times} times; give it once"
            raise MalformedRequest.at(f"/{name}", detail, code="repeated_parameter")


def _body_fields(bodies: Iterable[Any]) -> set[str]:
    """Return the names of the fields of all bodies: models, or schemas of an object."""
    names: set[str] = set()
    for body in bodies:
        if isinstance(body, type) and issubclass(body, BaseModel):
            names |= {field.alias or name for name, field in body.model_fields.items()}
        else:
            names |= set(body.get("properties", ()))
    return names
