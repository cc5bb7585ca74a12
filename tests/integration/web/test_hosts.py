"""The names that the web process answers to, whatever it listens on."""

from __future__ import annotations

import http.client
import json

import pytest

from tests.support.web_process import WebProcess
from web.address import OWN_PATHS
from web.app import create_app
from web.services import services_of

JOBS = "/api/v1/jobs"


@pytest.fixture
def open_client(settings):
    """A client of a service that everybody reaches, as in a container."""
    app = create_app(settings.model_copy(update={"host": "0.0.0.0", "allowed_hosts": "gpu-host.lan"}))
    yield app.test_client()
    services_of(app).close()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.7:8000"]
)
def test_a_name_that_leads_here_is_no_name_of_ours(open_client, host: str):
    for path in (JOBS, "/", "/openapi.json", "/static/icon.svg"):
        answer = open_client.get(path, headers={"Host": host})
        assert (answer.status_code, answer.json["code"]) == (421, "unknown_host"), path
        assert "ATELIER_ALLOWED_HOSTS" in answer.json["suggestion"]
    assert open_client.post(JOBS, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "host", ["gpu-host.lan:8000", "GPU-HOST.LAN.", "localhost:8000", "127.0.0.1", "[::1]:1"]
)
def test_its_own_names_lead_here(open_client, host: str):
    assert open_client.get(JOBS, headers={"Host": host}).status_code == 200


def test_what_a_proxy_is_told_by_others_changes_nothing(open_client):
    for forged in ("X-Forwarded-Host", "X-Host", "Forwarded"):
        headers = {
            "Host": "evil.example",
            forged: "host=gpu-host.lan" if forged == "Forwarded" else "gpu-host.lan",
        }
        assert open_client.get(JOBS, headers=headers).status_code == 421
        headers = {"Host": "gpu-host.lan", forged: "evil.example"}
        assert open_client.get(JOBS, headers=headers).status_code == 200


def test_as_many_proxies_are_believed_as_are_set(settings):
    app = create_app(settings.model_copy(update={"trusted_proxies": 1, "allowed_hosts": "gpu-host.lan"}))
    client = app.test_client()
    for told, status in (
        ("gpu-host.lan", 200), ("evil.example, gpu-host.lan", 200), ("gpu-host.lan, evil.example", 421)
    ):  # fmt: skip
        answer = client.get(JOBS, headers={"Host": "127.0.0.1:8000", "X-Forwarded-Host": told})
        assert answer.status_code == status, told
    answer = client.get("/new", headers={"X-Forwarded-Prefix": "/evil", "Host": "gpu-host.lan"})
    assert "/evil" not in answer.text
    services_of(app).close()


def test_the_apps_own_paths_are_known(app):
    """A path in `ATELIER_URL` that begins as one of them does is refused."""
    assert {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()} - {""} == OWN_PATHS


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_who_looks_after_machines_may_ask_by_any_address(open_client, path: str):
    assert open_client.get(path, headers={"Host": "10.0.0.7:8000"}).status_code == 200


@pytest.mark.process
def test_listening_for_others_is_said_at_the_start(settings):
    process = WebProcess(
        settings.model_copy(update={"host": "0.0.0.0", "allowed_hosts": "gpu-host.lan", "open": True})
    )
    process.start()
    try:
        (said,) = [
            line for line in map(json.loads, process.log) if line["event"] == "listens_beyond_this_machine"
        ]
        assert said["level"] == "warning"
        assert "without a login" in said["detail"]
        assert "gpu-host.lan" in said["detail"]
        connection = http.client.HTTPConnection("127.0.0.1", process.settings.port, timeout=30)
        for host, status in (("gpu-host.lan", 200), ("evil.example", 421)):
            connection.request("GET", JOBS, headers={"Host": host})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
        connection.close()
    finally:
        process.end()


@pytest.mark.process
def test_listening_for_this_machine_needs_no_word(settings):
    process = WebProcess(settings)
    process.start()
    process.end()
    assert not any("listens_beyond" in line for line in process.log)
