"""What a view says of itself, and the OpenAPI document that is made from it and lacks no view."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from shared.errors import AtelierError, PictureRefused, ScopeMissing, Unauthenticated
from shared.options import StyleOptions
from shared.texts import field_schemas
from web.access.rules import needed_scope
from web.access.tokens import Scope
from web.api import API_PATH
from web.api.http import MAX_WAIT_SECONDS
from web.api.problems import MEDIA_TYPE, status_of
from web.api.schemas import MessageOut, ProblemOut
from web.jobs.fields import ExtendBody, ForkBody, RetryBody, SubmitBody
from web.webhooks.outbox import Event

JSON = "application/json"
_V = TypeVar("_V", bound=Callable[..., Any])
_KEY = "operation"
#: What the document calls the way to show a token.
_TOKEN = "token"  # noqa: S105 - a name
#: What a schema of a text says of it, in this order.
_LIMITS = ("type", "enum", "exclusiveMinimum", "minimum", "maximum", "maxLength", "default")
_REF = "#/components/schemas/{model}"
_TAGS = {
    "assets": "Pictures that are uploaded once and used in many jobs.",
    "jobs": "A job makes one picture of a content and a style.",
    "pictures": "What a job leaves: previews, checkpoints and the result.",
    "workers": "Who does the work, and how much of it waits.",
    "tokens": "Who may do what.",
    "webhooks": "Programs that are told what becomes of jobs.",
    "health": "For operators.",
}
#: What the description of a field tells of its default, which is not for a client to send.
DEFAULT_NOTE = "Default: `{default}`."
OPTION_NOTE = "What is not sent the preset decides, in a fork the parent; `{default}` as a rule."
#: Kinds that never occur themselves: one of theirs says more.
_ABSTRACT = (PictureRefused,)
#: What the parameters in paths are.
_IN_PATHS = {
    "asset_id": "The asset's id",
    "delivery_id": "The message's id",
    "job_id": "The job's id",
    "secret_id": "The secret's id, as `GET /webhooks` lists it",
    "step": "The step of the checkpoint",
    "token_id": "The token's id, or its name",
    "webhook_id": "The webhook's id: small letters, digits, _ and -, at most 63",
    "worker_id": "The worker's id, as `GET /workers` lists it",
}
#: Of the models whose `id` leads on: the parameter that it is.
_LINKED = {"JobOut": "job_id", "AssetOut": "asset_id"}
_ASSETS = ("01a20000-0000-7000-8000-00000000000a", "01a20000-0000-7000-8000-00000000000b")
_EXAMPLES: Mapping[type, Any] = {
    SubmitBody: {"content": _ASSETS[0], "style": _ASSETS[1], "options": {"preset": "fine", "size": 800}},
    RetryBody: {"from": "zero"},
    ExtendBody: {"steps": 50},
    ForkBody: {"step": 40, "options": {"style_weight": 0.1}},
}
_ALWAYS = {"X-Request-Id": "The request's id, also in the service's log"}


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
    example: Any = None


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


#: What is sent to webhooks; its body is `MessageOut`.
_MESSAGE = Operation(
    "Hear what became of a job",
    "webhooks",
    answers={
        204: Answer("Taken; any other 2xx says so, too"),
        410: Answer("The receiver is gone: nothing more is sent to it"),
    },
    parameters=(
        Parameter("webhook-id", "The message's id, the same each time that it is sent", "header"),
        Parameter("webhook-timestamp", "Of this attempt, in seconds since 1970", "header"),
        Parameter("webhook-signature", "`v1,…`, one for each secret that is valid, spaces between", "header"),
    ),
)
WAIT = Parameter(
    "Prefer",
    f"`wait=N` waits up to N seconds, at most {MAX_WAIT_SECONDS}",
    "header",
    {"type": "string"},
    example="wait=30",
)
IF_NONE_MATCH = Parameter(
    "If-None-Match", "An ETag: answers 304 when it is still the same", "header", example='"1-0a1b2c3d"'
)
IF_MATCH = Parameter(
    "If-Match",
    "The job's ETag: answers 412 when it is another one by now, and changes nothing",
    "header",
    example='"1-0a1b2c3d"',
)
CALLER = Parameter("caller", "Those of this caller; another one than yourself needs the scope `manage`")
RANGE = Parameter("Range", "`bytes=first-last`: answers 206 with that part", "header", example="bytes=0-1023")
NOT_MODIFIED = Answer("Not changed since the ETag")


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """Return what a view says of itself."""
    found = vars(view).get(_KEY)
    return found if isinstance(found, Operation) else None


def binary_schema(media_type: str) -> dict[str, Any]:
    """Return the schema of a file: generators of clients know one by its format, validators by its type."""
    return {"type": "string", "format": "binary", "contentMediaType": media_type}


def part_of(*media_types: str) -> Answer:
    """Return the answer with the part of a picture of one of these types that was asked for."""
    return Answer("The part asked for", media_types=media_types)


def as_sent(schema: Any, *, note: str = DEFAULT_NOTE) -> Any:  # noqa: ANN401 - any part of a schema
    """Return a schema without the defaults that a client must not send of itself.

    What is not sent is decided by the preset, by the parent of a fork, or is nothing at all; a client that
    is made from the schema sends each default that stands in it. Names that must fit a pattern are told apart
    from what they stand for, or a client could not type it. The description tells the default, by `note`.
    """
    if isinstance(schema, list):
        return [as_sent(part, note=note) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {name: as_sent(part, note=note) for name, part in schema.items() if name != "default"}
    if schema.get("default") not in (None, {}):
        told = note.format(default=json.dumps(schema["default"]).strip('"'))
        kept["description"] = f"{str(kept.get('description', '')).rstrip('.')}. {told}"
    patterns = kept.get("patternProperties")
    if isinstance(patterns, Mapping) and len(patterns) == 1:
        (pattern, value), *_ = patterns.items()
        del kept["patternProperties"]
        kept |= {"propertyNames": {"pattern": pattern}, "additionalProperties": value}
    return kept


def text_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a field's schema what holds for the text it is sent as: its type, its limits, its default."""
    return {name: schema[name] for name in _LIMITS if schema.get(name) is not None}


def query_parameters(model: type[BaseModel]) -> tuple[Parameter, ...]:
    """Return the parameters of a query that is read as a model."""
    return tuple(
        Parameter(name, schema["description"], schema=text_schema(schema))
        for name, schema in field_schemas(model).items()
    )


def build_document(app: Flask, *, version: str, contact_url: str) -> dict[str, Any]:
    """Return the document of all views of an app; `contact_url` is where people find the service.

    Raises:
        LookupError: when a view does not say what it does.
    """
    paths: dict[str, dict[str, Any]] = {}
    operations: list[Operation] = []
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        operation = operation_of(view)
        if operation is None and not rule.rule.startswith(API_PATH):
            continue  # a page, for people
        if operation is None:
            raise LookupError(f"the view {rule.endpoint} does not say what it does")
        operations.append(operation)
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            text = inspect.getdoc(view) or ""
            paths.setdefault(path, {})[method.lower()] = _describe(operation, rule, text)
    _add_links(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Atelier",
            "version": version,
            "summary": "Neural style transfer as a job service",
            "description": "Submit a content and a style picture, watch the job, download the result.",
            "contact": {"name": "Who runs this service", "url": contact_url},
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "webhooks": {event.value: {"post": _describe_message(event)} for event in Event},
        "components": {
            "schemas": _schemas(operations),
            "securitySchemes": {
                _TOKEN: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token. As long as there is none at all, nobody needs one.",
                }
            },
        },
    }


def _describe(operation: Operation, rule: Rule, text: str) -> dict[str, Any]:
    scope = needed_scope(rule.endpoint)
    described: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": operation.summary,
        "description": text,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(rule), *map(_parameter, operation.parameters)],
        "responses": _responses(operation, scope),
        "security": [] if scope is None else [{_TOKEN: [scope.value]}],
    }
    if operation.bodies:
        content = {kind: _body(body) for kind, body in operation.bodies.items()}
        described["requestBody"] = {"required": operation.needs_body, "content": content}
    return described


def _describe_message(event: Event) -> dict[str, Any]:
    return {
        "operationId": f"hear_{event.name.lower()}",
        "summary": _MESSAGE.summary,
        "description": "Sent to those who asked for it, at least once, signed as Standard Webhooks has it.",
        "tags": [_MESSAGE.tag],
        "parameters": [_parameter(parameter) for parameter in _MESSAGE.parameters],
        "requestBody": {"required": True, "content": {JSON: {"schema": _schema_or_ref(MessageOut)}}},
        "responses": {
            str(status): {"description": answer.description} for status, answer in _MESSAGE.answers.items()
        },
    }


def _body(body: Any) -> dict[str, Any]:  # noqa: ANN401 - a model, or a schema
    example = _EXAMPLES.get(body) if isinstance(body, type) else None
    described: dict[str, Any] = {"schema": _schema_or_ref(body)}
    return described if example is None else {**described, "example": example}


def _add_links(paths: Mapping[str, dict[str, Any]]) -> None:
    """Lead from each answer that made something, a job or an asset, to all that can be done with that one."""
    operations = [operation for methods in paths.values() for operation in methods.values()]
    for model, name in _LINKED.items():
        targets = [
            operation["operationId"]
            for operation in operations
            if [one["name"] for one in operation["parameters"] if one["in"] == "path"] == [name]
        ]
        links = {
            target: {"operationId": target, "parameters": {name: "$response.body#/id"}} for target in targets
        }
        for operation in operations:
            for answer in operation["responses"].values():
                schema = answer.get("content", {}).get(JSON, {}).get("schema", {})
                if "Location" in answer.get("headers", ()) and schema == {"$ref": _REF.format(model=model)}:
                    answer["links"] = links


def _responses(operation: Operation, scope: Scope | None) -> dict[str, Any]:
    responses = {str(status): _answer(answer) for status, answer in sorted(operation.answers.items())}
    by_status: dict[int, list[type[AtelierError]]] = {}
    for refusal in operation.refusals:
        for kind in [*([] if refusal in _ABSTRACT else [refusal]), *refusal.__subclasses__()]:
            known = by_status.setdefault(status_of(kind), [])
            if kind not in known:
                known.append(kind)
    if scope is not None:
        by_status.setdefault(status_of(Unauthenticated), []).append(Unauthenticated)
        by_status.setdefault(status_of(ScopeMissing), []).append(ScopeMissing)
    for status, refusals in sorted(by_status.items()):
        codes = "; ".join(f"`{refusal.code}`: {refusal.title().rstrip('.')}" for refusal in refusals)
        needed = f" (`{scope}` is needed)" if scope and ScopeMissing in refusals else ""
        responses[str(status)] = _problem(f"{codes}{needed}")
    responses["default"] = _problem("Any other problem")
    return responses


def _answer(answer: Answer) -> dict[str, Any]:
    headers = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in {**_ALWAYS, **answer.headers}.items()
    }
    described: dict[str, Any] = {"description": answer.description, "headers": headers}
    if answer.models:
        schemas = [_schema_or_ref(model) for model in answer.models]
        described["content"] = {JSON: {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}}
    elif answer.media_types:
        described["content"] = {kind: {"schema": _content_schema(kind)} for kind in answer.media_types}
    return described


def _content_schema(media_type: str) -> dict[str, Any]:
    # Of a stream of events nothing is told: one reader takes it for a text, another for a list of events.
    return {} if media_type.startswith("text/") else binary_schema(media_type)


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": _schema_or_ref(ProblemOut)}}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": False,
        "schema": dict(parameter.schema),
    }
    return described if parameter.example is None else {**described, "example": parameter.example}


def _path_parameters(rule: Rule) -> Iterable[dict[str, Any]]:
    for name in sorted(rule.arguments):
        kind = "integer" if f"<int:{name}>" in rule.rule else "string"
        yield {
            "name": name,
            "in": "path",
            "description": _IN_PATHS[name],
            "required": True,
            "schema": {"type": kind},
        }


def _schema_or_ref(body: Any) -> dict[str, Any]:  # noqa: ANN401 - a model, or a schema
    if isinstance(body, type) and issubclass(body, BaseModel):
        return {"$ref": _REF.format(model=body.__name__)}
    return dict(body)


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the schemas of all models: those of answers as they are written, those of bodies as read."""
    modes: dict[type[BaseModel], JsonSchemaMode] = {
        MessageOut: "serialization",
        ProblemOut: "serialization",
        StyleOptions: "validation",
    }
    for operation in operations:
        for answer in operation.answers.values():
            modes.update(dict.fromkeys(answer.models, "serialization"))
        for body in operation.bodies.values():
            if isinstance(body, type):
                modes[body] = "validation"
    inputs = sorted(modes.items(), key=lambda item: item[0].__name__)
    schemas: dict[str, Any] = models_json_schema(inputs, ref_template=_REF)[1]["$defs"]
    sent = {model.__name__ for model, mode in modes.items() if mode == "validation"}
    return {
        name: _with_references(
            as_sent(schema, note=OPTION_NOTE if name == StyleOptions.__name__ else DEFAULT_NOTE)
            if name in sent
            else schema
        )
        for name, schema in schemas.items()
    }


def _with_references(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON schema
    """Turn ``x-ref``, which pydantic leaves alone, into a reference to a model that it does not know of."""
    if isinstance(schema, list):
        return [_with_references(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "x-ref" in schema:
        return {"$ref": _REF.format(model=schema["x-ref"])}
    return {name: _with_references(part) for name, part in schema.items()}
