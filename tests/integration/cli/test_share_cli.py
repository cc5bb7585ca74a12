"""`atelier share` and `atelier unshare` against the real app."""

from __future__ import annotations

import json

import httpx2
import pytest


def test_a_link_is_printed_alone_and_revoked(service, atelier, pictures):
    job_id = atelier("submit", *pictures).stdout.strip()
    shared = atelier("share", job_id)
    assert shared.exit_code == 0, shared.stderr
    url = shared.stdout.strip()
    path = url[url.index("/share/") :]
    assert httpx2.get(service.url + path).status_code == 200
    assert f"'atelier unshare {job_id}' revokes" in " ".join(shared.stderr.split())
    assert atelier("unshare", job_id[:18]).stdout == "revoked\n"
    assert httpx2.get(service.url + path).status_code == 404
    assert json.loads(atelier("unshare", job_id, "--json").stdout) == {"job_id": job_id, "revoked": True}


def test_what_it_shows_and_for_how_long(atelier, pictures):
    job_id = atelier("submit", *pictures).stdout.strip()
    link = json.loads(atelier("share", job_id, "--expires", "12h", "--json").stdout)
    assert link["of"] == "page"
    refused = atelier("share", job_id, "--of", "output")
    assert refused.exit_code == 2
    assert "it has no result yet" in refused.stderr


@pytest.mark.parametrize(
    ("span", "said"), [("never", "is no time from now, such as 12h, 7d or 4w"), ("900d", "31536000 or less")]
)
def test_every_link_expires(atelier, pictures, span, said):
    job_id = atelier("submit", *pictures).stdout.strip()
    refused = atelier("share", job_id, "--expires", span)
    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.split())
