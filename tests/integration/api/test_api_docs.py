"""The OpenAPI document and the page made from it."""

from __future__ import annotations

import json
import re
import shlex
from html.parser import HTMLParser
from urllib.parse import urlsplit

import jsonschema
import pytest

from shared.options import parse_options
from web.access.rules import needed_scope
from web.address import parse_address
from web.api.documentation import service_address
from web.api.http import wait_seconds

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
    api = ("/api/", "/healthz", "/readyz", "/metrics")  # the rest are pages, for people
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


def test_who_may_ask_is_described(app, document):
    (scheme,) = document["components"]["securitySchemes"].items()
    assert (scheme[0], scheme[1]["type"], scheme[1]["scheme"]) == ("token", "http", "bearer")
    for methods in document["paths"].values():
        for entry in methods.values():
            endpoint = next(
                name for name in app.view_functions if name.replace(".", "_") == entry["operationId"]
            )
            scope = needed_scope(endpoint)
            if scope is None:
                assert entry["security"] == []
                assert not {"401", "403"} & set(entry["responses"])
            else:
                assert entry["security"] == [{"token": [scope.value]}]
                assert "`unauthenticated`" in entry["responses"]["401"]["description"]
                assert f"(`{scope}` is needed)" in entry["responses"]["403"]["description"]


def test_answers_are_as_described(client, document, submit, workshop):
    job = submit(labels={"a": "b"})
    workshop.claim(job["id"])
    workshop.checkpoint(job["id"], 10)
    workshop.progress(job["id"], 12)
    urls = job["urls"]
    paths = [JOBS, urls["self"], urls["checkpoints"], urls["attempts"], "/healthz", "/readyz"]
    workshop.succeed(job["id"])
    paths.append(submit()["urls"]["self"])
    asset = job["input"]["content"]["url"].removesuffix("/content")
    client.put(f"{asset}/star")
    paths += [asset, "/api/v1/assets"]
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
    (script,) = re.findall(r"<script[^>]*>", response.text)
    assert re.fullmatch(r'<script src="/static/v-[0-9a-f]+/js/theme\.js">', script)
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


class Shown(HTMLParser):
    """The page's code blocks, the words in `code`, and the rows of its tables as texts."""

    def __init__(self, text):
        super().__init__()
        self.blocks, self.codes, self.rows = [], [], []
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")
        elif tag in ("pre", "code"):
            (self.blocks if tag == "pre" else self.codes).append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if "pre" in self.open:
            self.blocks[-1] += data
        elif "code" in self.open:
            self.codes[-1] += data
        if "td" in self.open:
            self.rows[-1][-1] += data


def test_examples_work_when_they_are_copied(app, client):
    """Every line is a command of this very service, whose values are JSON and within the limits."""
    (block,) = Shown(client.get("/docs", base_url="http://127.0.0.1:8123").text).blocks
    adapter = app.url_map.bind("127.0.0.1:8123")
    lines = block.replace("\\\n", " ").strip().splitlines()
    assert len(lines) == 4
    for line in lines:
        words = shlex.split(line)
        (url,) = [word for word in words if word.startswith("http")]
        assert url.startswith("http://127.0.0.1:8123/api/v1/jobs"), line
        method = "POST" if "-F" in words else "GET"
        assert adapter.match(urlsplit(url).path, method=method)
        for word in words:
            name, _, value = word.partition("=")
            if name == "options":
                assert parse_options(json.loads(value)).size == 256
            if name == "Prefer: wait":
                assert wait_seconds(word.removeprefix("Prefer: ")) == int(value)


@pytest.mark.parametrize(
    ("configured", "asked", "shown"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8123/", "http://127.0.0.1:8123"),
        ("http://[::1]:8000", "http://localhost:9000/", "http://localhost:9000"),
        ("http://localhost:8000", "http://studio.lan/", "http://studio.lan"),
        ("https://atelier.example.com/art/", "http://10.0.0.7:8000/", "https://atelier.example.com/art"),
    ],
)
def test_the_address_that_examples_name(configured, asked, shown):
    assert service_address(parse_address(configured), asked=asked) == shown


def test_values_are_shown_as_they_are_sent_and_descriptions_are_sentences(client):
    shown = Shown(client.get("/docs").text)
    assert not {"True", "False", "None"} & set(" ".join(shown.codes).split())
    meanings = [" ".join(row[-1].split()) for row in shown.rows if row]
    assert len(meanings) > 200
    for meaning in filter(None, meanings):
        assert meaning[-1] == ".", meaning
        assert not re.search(r"[a-z)`] (Allowed|Default|At most)", meaning), meaning
        sentences = re.split(r"(?<=[a-z]\.) ", meaning)
        assert len(sentences) == len(set(sentences)), meaning  # nothing is said twice
    parameters = [row for row in shown.rows if len(row) == 4]
    assert parameters
    assert all(row[-1].strip() for row in parameters)


def test_descriptions_begin_with_a_capital_letter_or_with_code(document):
    found = [part.get("description") for part in walk(document) if isinstance(part, dict)]
    assert [text for text in found if isinstance(text, str) and text[:1].islower()] == []


def test_every_refusal_is_among_the_answers_of_its_view(document):
    """Also a kind that has kinds of its own: the database that is away, not only the one that is damaged."""
    answers = document["paths"][JOBS]["post"]["responses"]
    assert "`database_unavailable`" in answers["503"]["description"]
    assert "`database_unusable`" in answers["503"]["description"]
    assert "image_refused" not in answers["422"]["description"]


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
