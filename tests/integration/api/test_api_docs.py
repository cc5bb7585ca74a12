"""The OpenAPI document and the page made from it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import jsonschema
import pytest

JOBS = "/api/v1/jobs"


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json


def walk(value):
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(part)


def test_every_view_is_described(app, document):
    assert document["openapi"] == "3.1.0"
    api = ("/api/", "/healthz", "/readyz")  # the rest are pages, for people
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(api)]
    paths = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule) for rule in rules}
    assert paths == set(document["paths"])
    methods = sum(len(rule.methods - {"HEAD", "OPTIONS"}) for rule in rules)
    operations = [entry for path in document["paths"].values() for entry in path.values()]
    assert len(operations) == methods
    assert len({entry["operationId"] for entry in operations}) == methods
    for entry in operations:
        assert entry["summary"]
        assert entry["description"]
        assert entry["responses"]


def test_document_is_whole(document):
    schemas = document["components"]["schemas"]
    references = [part["$ref"] for part in walk(document) if isinstance(part, dict) and "$ref" in part]
    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in schemas, reference
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for path, entry in (
        (path, entry) for path, methods in document["paths"].items() for entry in methods.values()
    ):
        in_path = {parameter["name"] for parameter in entry["parameters"] if parameter["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        for response in entry["responses"].values():
            assert response["description"]
    body = document["paths"][JOBS]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert schemas["StyleOptions"]["properties"]["steps"]["maximum"] == 2000
    assert "application/problem+json" in document["paths"][JOBS]["post"]["responses"]["422"]["content"]


def test_answers_are_as_described(client, document, submit, workshop):
    job = submit(labels={"a": "b"})
    workshop.claim(job["id"])
    workshop.checkpoint(job["id"], 10)
    workshop.progress(job["id"], 12)
    urls = job["urls"]
    paths = [JOBS, urls["self"], urls["checkpoints"], urls["attempts"], "/healthz", "/readyz"]
    workshop.succeed(job["id"])
    paths.append(submit()["urls"]["self"])
    paths.append(job["input"]["content"]["url"].removesuffix("/content"))
    for path in paths:
        template = path.replace(job["id"], "{job_id}")
        template = re.sub(r"assets/[^/]+$", "assets/{asset_id}", template)
        template = re.sub(r"jobs/[0-9a-f-]{36}$", "jobs/{job_id}", template)
        content = document["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]
        schema = {**content["schema"], "components": document["components"]}
        jsonschema.validate(client.get(path).json, schema)
    problem = {**document["components"]["schemas"]["ProblemOut"], "components": document["components"]}
    jsonschema.validate(client.get("/nope").json, problem)


def test_page(client):
    response = client.get("/docs")
    assert response.status_code == 200
    assert "style-src 'self'" in response.headers["Content-Security-Policy"]
    assert set(re.findall(r"<script[^>]*>", response.text)) == {'<script src="/static/js/theme.js">'}
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", response.text)
    assert ' style="' not in response.text

    class Anchors(HTMLParser):
        def __init__(self):
            super().__init__()
            self.ids, self.links = [], []

        def handle_starttag(self, tag, attributes):
            values = dict(attributes)
            if "id" in values:
                self.ids.append(values["id"])
            if tag == "a" and values["href"].startswith("#"):
                self.links.append(values["href"][1:])

    anchors = Anchors()
    anchors.feed(response.text)
    assert set(anchors.links) <= set(anchors.ids)
    assert len(anchors.ids) == len(set(anchors.ids))
    for code in ("image_animated", "invalid_options", "too_many_streams", "worker_lost"):
        assert code in anchors.ids
    with client.get("/static/css/docs.css") as style:
        assert style.status_code == 200


def test_headers_of_every_response(client):
    for path in ("/healthz", "/docs", "/nope", JOBS, "/static/css/docs.css"):
        with client.get(path) as response:
            assert response.headers["X-Request-Id"]
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert "Access-Control-Allow-Origin" not in response.headers
    given = client.get("/healthz", headers={"X-Request-Id": "abc.1"})
    assert given.headers["X-Request-Id"] == "abc.1"
    bad = client.get("/healthz", headers={"X-Request-Id": "a b" * 50})
    assert len(bad.headers["X-Request-Id"]) == 36
