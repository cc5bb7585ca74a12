"""What a generator of requests is told of two callers: ids as examples, and what must not be told.

schemathesis loads it. Without a scene (`ATELIER_FUZZ_SCENE`, a file) it changes nothing.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import schemathesis

import tests.fuzz.pictures  # noqa: F401 - schemathesis loads one file: this one brings the other along

_FILE = os.environ.get("ATELIER_FUZZ_SCENE")
_SCENE: dict[str, Any] = json.loads(Path(_FILE).read_text()) if _FILE else {}
_FOREIGN: dict[str, list[str]] = _SCENE.get("foreign", {})
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SEES_ALL = _SCENE.get("scope", "admin") in ("manage", "admin")


def _examples(kind: str) -> list[str]:
    return [*_FOREIGN[kind], *_SCENE["own"][kind]]


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Give the ids of both callers as examples, wherever an id is asked for."""
    if not _SCENE:
        return
    for methods in raw_schema["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                kind = {"id_prefix": "job_id"}.get(parameter["name"], parameter["name"])
                if kind in _FOREIGN:
                    parameter.pop("example", None)
                    parameter["examples"] = {
                        f"{number}": {"value": value} for number, value in enumerate(_examples(kind))
                    }
    body = raw_schema["components"]["schemas"]["SubmitBody"]["properties"]
    for part in ("content", "style"):
        body[part]["examples"] = _examples("asset_id")


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Keep the token that all requests are made with; watch no job that does not end."""
    parameters, own = case.path_parameters or {}, _SCENE.get("own", {})
    if parameters.get("token_id") in own.get("token_id", ()):
        parameters["token_id"] = _SCENE["spare"]
    job_id = str(parameters.get("job_id", ""))
    is_seen = _ID.fullmatch(job_id) and (_SEES_ALL or job_id not in _FOREIGN.get("job_id", ()))
    if own and is_seen and case.operation.path.endswith("/events"):
        parameters["job_id"] = own["job_id"][0]


@schemathesis.check
def tells_of_no_other_caller(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """No id of another caller is in an answer, but in a refusal of what named it; none of theirs is done."""
    foreign = [] if _SEES_ALL else [one for ids in _FOREIGN.values() for one in ids]
    request = response.request
    body = request.body or b""
    asked = f"{request.url}\n{body.decode(errors='replace') if isinstance(body, bytes) else body}"
    told = f"{response.content.decode(errors='replace')}\n{response.headers}"
    for one in foreign:
        if one in told:
            assert response.status_code >= 400, f"{response.status_code} tells of {one}"
            assert one in asked, f"{one} was not asked for, and is told"
        if one in f"{request.url}".partition("?")[0]:
            assert response.status_code >= 400, f"{response.status_code} for what is another's: {one}"


@schemathesis.check
def admin_may_all(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Nothing that is described needs more than the highest scope."""
    if _SCENE.get("scope") == "admin":
        assert b"scope_missing" not in response.content
