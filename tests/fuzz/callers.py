"""Two callers beside each other: who asks, with a token of a scope, and who has what is not to be told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from shared.clock import utc_now
from tests.support.waiting import wait_until
from tests.support.website import EXAMPLES, Site
from web.access.tokens import Scope, create_token

ASKER, OTHER = "anna", "ben"
PARTS = ("content", "style")


@dataclass(frozen=True)
class Scene:
    """What a generator of requests is told; ids by kind: `job_id`, `asset_id`, `token_id`.

    `own` are those of who asks, `foreign` those of the other one, `spare` a token that may be revoked.
    """

    scope: str
    token: str
    token_id: str
    spare: str
    own: dict[str, list[str]]
    foreign: dict[str, list[str]]

    @contextmanager
    def as_file(self) -> Iterator[Path]:
        """Write it down for another process."""
        with TemporaryDirectory() as name:
            file = Path(name) / "scene.json"
            file.write_text(json.dumps(asdict(self)))
            yield file


def set_scene(site: Site, scope: Scope) -> Scene:
    """Give both callers jobs and pictures, and who asks a token of a scope."""
    makers = {caller: _token(site, caller, Scope.SUBMIT) for caller in (ASKER, OTHER)}
    text, token_id = _token(site, ASKER, scope)
    _, spare = _token(site, OTHER, Scope.READ)
    wait_until(site.asks_for_a_token, seconds=20, what="the first token counts")
    site.workshop.connect()
    things = {caller: _make_things(site, maker, caller) for caller, (maker, _) in makers.items()}
    return Scene(
        scope=scope.value,
        token=text,
        token_id=token_id,
        spare=spare,
        own={**things[ASKER], "token_id": [token_id, makers[ASKER][1]]},
        foreign={**things[OTHER], "token_id": [makers[OTHER][1], spare]},
    )


def _token(site: Site, caller: str, scope: Scope) -> tuple[str, str]:
    with site.services.backend.database.write() as session:
        made = create_token(
            session,
            name=f"{caller}-{scope}-{utc_now().timestamp()}",
            scopes={scope},
            caller=caller,
            expires_at=None,
            now=utc_now(),
        )
        return made.text, made.row.id


def _make_things(site: Site, token: str, caller: str) -> dict[str, list[str]]:
    """Submit a job that succeeds, and one that waits; return the ids of all that is there then."""
    with httpx2.Client(
        base_url=f"{site.url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60
    ) as client:

        def submit(name: str, **fields: str) -> dict[str, Any]:
            files = {
                part: (f"{caller}-{part}.png", (EXAMPLES / f"{part}.png").read_bytes()) for part in PARTS
            }
            data = {"name": name, "reuse": "false", "options": '{"size": 64, "steps": 20}', **fields}
            answer = client.post("/jobs", files=files, data=data)
            assert answer.status_code == 202, answer.text
            job: dict[str, Any] = answer.json()
            return job

        done, waiting = submit(f"done of {caller}"), submit(f"waits of {caller}")
        site.workshop.run_through(done["id"])
        return {
            "job_id": [done["id"], waiting["id"]],
            "asset_id": [done["input"][part]["asset_id"] for part in PARTS],
        }
