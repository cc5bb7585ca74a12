"""The description that programs read: a client made from it works, and what it promises holds."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.callers import set_scene
from tests.fuzz.described import fuzz
from tests.support.control import say_control_runs
from tests.support.website import Site
from web.access.tokens import Scope

#: This generator knows files by one media type only.
_CONFIG = "content_type_overrides:\n" + "".join(
    f'  "{kind}": application/octet-stream\n' for kind in ("image/png", "image/jpeg", "image/*")
)


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json


@pytest.fixture
def site(settings):
    site = Site(settings)
    try:
        site.start()
        say_control_runs(site.services.backend.redis)
        yield site
    finally:
        site.close()


def make_client(document: dict, folder: Path) -> None:
    """Generate the package `made_client` in a folder; a warning is an error."""
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "config.yml").write_text(_CONFIG + "post_hooks: []\n")
    subprocess.run(
        [
            Path(sys.executable).with_name("openapi-python-client"),
            "generate",
            "--path=openapi.json",
            "--config=config.yml",
            "--output-path=made_client",
            "--meta=none",
            "--fail-on-warning",
        ],
        cwd=folder,
        check=True,
    )


@pytest.mark.process
def test_a_generated_client_submits_waits_lists_and_downloads(
    request, site, document, tmp_path, monkeypatch, make_picture
):
    make_client(document, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    api, models = "made_client.api", importlib.import_module("made_client.models")
    types = importlib.import_module("made_client.types")
    client = importlib.import_module("made_client").Client(base_url=site.url, timeout=60)
    request.addfinalizer(client.get_httpx_client().close)

    def call(name, **arguments):
        return importlib.import_module(f"{api}.{name}").sync_detailed(client=client, **arguments)

    def file(seed):
        data = make_picture(seed=seed)
        return types.File(payload=io.BytesIO(data), file_name=f"{seed}.png", mime_type="image/png")

    assets = [
        call("assets.assets_create_asset", body=models.AssetsCreateAssetBody(file=file(seed))).parsed
        for seed in (1, 2)
    ]
    assert call("assets.assets_read_content", asset_id=assets[0].id).parsed.payload.read() == make_picture(
        seed=1
    )
    # What the caller does not say is the preset's, not the generator's.
    options = models.StyleOptions(preset=models.StyleOptionsPreset.FINE)
    body = models.SubmitBody(content=assets[0].id, style=assets[1].id, options=options)
    assert body.to_dict()["options"] == {"preset": "fine"}
    job = call("jobs.jobs_submit_job", body=body).parsed
    assert (job.options.steps, job.options.size) == (200, 1024)
    site.workshop.claim(job.id)
    site.workshop.checkpoint(job.id, 10)
    site.workshop.succeed(job.id)
    ended = call("jobs.jobs_read_job", job_id=job.id, prefer="wait=30").parsed
    assert ended.status == models.JobStatus.SUCCEEDED
    listed = call("jobs.jobs_index", status=[models.JobStatus.SUCCEEDED], label=[]).parsed
    assert [one.id for one in listed.jobs] == [job.id]
    result = call("pictures.job_files_read_output", job_id=job.id).parsed.payload.read()
    assert result.startswith(b"\x89PNG")
    part = call("pictures.job_files_read_output", job_id=job.id, range_="bytes=0-7")
    assert (part.status_code, part.parsed.payload.read()) == (206, result[:8])
    refused = call("jobs.jobs_read_job", job_id="nothing").parsed
    assert (refused.code, refused.errors[0].pointer) == ("not_found", "/job_id")
    # What a fork does not say is the parent's.
    assert models.ForkBody(step=10).to_dict() == {"step": 10}


@pytest.mark.process
@pytest.mark.parametrize(
    ("scope", "seconds"), [(Scope.READ, 4), (Scope.SUBMIT, 6), (Scope.MANAGE, 4), (Scope.ADMIN, 10)]
)
def test_what_is_described_holds_and_nothing_tells_of_another_caller(site, scope, seconds):
    """A short run; `make fuzz` is a long one."""
    scene = set_scene(site, scope)
    is_well, report = fuzz(site.url, seconds=seconds, max_examples=3, seed=1, scene=scene)
    assert is_well, report
    assert not [line for line in site.log if "Traceback" in line]


def walk(value):
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(part)


def test_files_are_binary_in_both_directions(document):
    paths = document["paths"]
    for path, name in (("/api/v1/assets", "file"), ("/api/v1/jobs", "content"), ("/api/v1/jobs", "style")):
        body = paths[path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert body["properties"][name]["format"] == "binary"
        assert body["additionalProperties"] is False
    pictures = 0
    for methods in paths.values():
        for operation in methods.values():
            answers = operation["responses"]
            for status in ("200", "206"):
                for kind, content in answers.get(status, {}).get("content", {}).items():
                    if kind.startswith("image/"):
                        assert content["schema"]["format"] == "binary"
                        assert set(answers["206"]["content"]) == set(answers["200"]["content"])
                        pictures += 1
    assert pictures == 16


def test_what_the_preset_or_the_parent_decides_has_no_default(document):
    schemas = document["components"]["schemas"]
    for name in ("StyleOptions", "ForkBody", "SubmitBody"):
        assert not [part for part in walk(schemas[name]) if isinstance(part, dict) and "default" in part], (
            name
        )
        assert schemas[name]["additionalProperties"] is False
    parameters = document["paths"]["/api/v1/estimate"]["get"]["parameters"]
    assert not [one for one in parameters if "default" in one["schema"]]
    labels = schemas["SubmitBody"]["properties"]["labels"]
    assert labels["additionalProperties"] == {"type": "string", "maxLength": 255}
    assert "100" in schemas["StyleOptions"]["properties"]["steps"]["description"]


def test_keywords_links_examples_and_a_contact(document):
    known = {
        *("type", "title", "description", "default", "examples", "format", "enum", "const", "properties"),
        *("required", "additionalProperties", "propertyNames", "pattern", "items", "anyOf", "oneOf", "$ref"),
        *("minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "minProperties"),
        *("maxProperties", "maxItems", "minItems", "contentMediaType", "contentSchema"),
    }
    for schema in document["components"]["schemas"].values():
        for part in [schema, *schema.get("properties", {}).values()]:
            assert {word for word in part if not word.startswith("x-")} <= known
    assert document["info"]["contact"]["url"].startswith("http")
    links = document["paths"]["/api/v1/jobs"]["post"]["responses"]["202"]["links"]
    assert links["jobs_read_job"]["parameters"] == {"job_id": "$response.body#/id"}
    described = [*document["paths"].values(), *document["webhooks"].values()]
    operations = {one["operationId"] for methods in described for one in methods.values()}
    linked = [
        part
        for part in walk(document)
        if isinstance(part, dict) and "operationId" in part and "parameters" in part
    ]
    assert {part["operationId"] for part in linked} <= operations
    body = document["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"]["options"] == {"preset": "fine", "size": 800}


def test_a_whole_number_may_have_a_point(client, parts, problem_of):
    answer = client.post("/api/v1/jobs", data=parts(options={"steps": 12.0, "size": 64.0}))
    options = answer.json["options"]
    assert (options["steps"], options["size"]) == (12, 64)
    assert '"steps": 12,' in answer.text
    assert client.get("/api/v1/jobs?page_size=2.0").status_code == 200
    problem = problem_of(
        client.post("/api/v1/jobs", data=parts(options={"steps": 12.5})), 422, "invalid_options"
    )
    assert "whole number" in problem["detail"]
