"""Every refusal of bad input: a clear problem, nothing stored, nothing left on disk."""

from __future__ import annotations

import io
import json
import struct
import zlib

import pytest
from PIL import Image
from sqlalchemy import event

from shared.errors import CheckpointInvalid
from shared.settings import Settings
from tests.support.app import stored_files
from web.app import create_app
from web.services import services_of

JOBS = "/api/v1/jobs"
ASSETS = "/api/v1/assets"


def png_header(width: int, height: int, body: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def zip_bomb() -> bytes:
    """8000 × 8000 black pixels in some 190 kB: real, and too large to be decoded."""
    return png_header(8000, 8000, zlib.compress(bytes(8000 * (1 + 3 * 8000)), 9))


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (40, 40), (shade, 0, 0)) for shade in (0, 100, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (10, 90, 200)).save(buffer, "PNG")
    return buffer.getvalue()


def multipart(**files: bytes) -> dict[str, object]:
    """A body made by hand: the test client's own leaves a temporary file open when it is large."""
    head = '--x\r\nContent-Disposition: form-data; name="{0}"; filename="{0}.png"\r\n\r\n'
    pieces = [head.format(name).encode() + data + b"\r\n" for name, data in files.items()]
    return {"data": b"".join(pieces) + b"--x--\r\n", "content_type": "multipart/form-data; boundary=x"}


BAD_PICTURES = {
    "empty": (b"", 422, "image_invalid"),
    "text": (b"this is not a picture", 422, "image_invalid"),
    "pdf behind .png": (b"%PDF-1.7 and so on", 415, "unsupported_media"),
    "truncated": (png(200, 200)[:-60], 422, "image_invalid"),
    "header only": (png(64, 64)[:20], 422, "image_invalid"),
    "animated gif": (animation("GIF"), 422, "image_animated"),
    "animated png": (animation("PNG"), 422, "image_animated"),
    "animated webp": (animation("WEBP"), 422, "image_animated"),
    "claims 30000 x 30000": (png_header(30000, 30000), 422, "image_too_large"),
    "bomb": (zip_bomb(), 422, "image_too_large"),
    "too small": (png(31, 200), 422, "image_too_small"),
    "too narrow": (png(32, 2000), 422, "image_too_narrow"),
}


@pytest.mark.parametrize("part", ["content", "style"])
@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_picture(client, parts, nothing_left, problem_of, part, name):
    data, status, code = BAD_PICTURES[name]
    problem = problem_of(client.post(JOBS, data=parts(**{part: data})), status, code)
    assert part in problem["detail"]
    nothing_left()
    validated = client.post(JOBS + "?validate_only=true", data=parts(**{part: data}))
    problem_of(validated, status, code)
    if name != "too narrow":  # that depends on a job's size
        problem_of(client.post(ASSETS, data={"file": (io.BytesIO(data), "a.png")}), status, code)
    nothing_left()


def test_too_many_bytes_are_measured(settings, problem_of):
    app = create_app(settings.model_copy(update={"max_upload_bytes": 100_000}))
    try:
        client = app.test_client()
        for size, name in ((100_001, "content has 100001 bytes"), (1_300_000, "the request has 1.3 MB")):
            body = multipart(content=bytes(size), style=b"")
            problem = problem_of(client.post(JOBS, **body), 413, "image_too_heavy")
            assert name in problem["detail"]
            assert "at most 0.1 MB" in problem["detail"]
        # Without a length the body is cut off while it is read.
        body = multipart(content=bytes(1_300_000))
        response = client.post(
            JOBS,
            input_stream=io.BytesIO(body["data"]),
            content_type=body["content_type"],
            environ_overrides={"wsgi.input_terminated": True},
        )
        problem_of(response, 413, "image_too_heavy")
    finally:
        services_of(app).close()


def test_real_default_limit(client, problem_of, nothing_left):
    response = client.post(ASSETS, **multipart(file=bytes(25_000_001)))
    problem = problem_of(response, 413, "image_too_heavy")
    assert "file has 25000001 bytes; at most 25 MB" in problem["detail"]
    nothing_left()


BAD_OPTIONS = {
    '{"steps": NaN}': ["/options/steps"],
    '{"learning_rate": Infinity}': ["/options/learning_rate"],
    '{"content_weight": -1}': ["/options/content_weight"],
    '{"steps": 0, "size": 100000}': ["/options/steps", "/options/size"],
    '{"stepz": 10}': ["/options/stepz"],
    '{"steps": "10"}': ["/options/steps"],
    '{"steps": 1.5}': ["/options/steps"],
    '{"content_weight": 0, "style_weight": 0}': ["/options"],
    '{"preset": "fancy"}': ["/options/preset"],
    "[1, 2]": ["/options"],
    "null": ["/options"],
}


@pytest.mark.parametrize("text", BAD_OPTIONS)
def test_bad_options_are_named(client, parts, nothing_left, problem_of, text):
    problem = problem_of(client.post(JOBS, data=parts(options=text)), 422, "invalid_options")
    assert [fault["pointer"] for fault in problem["errors"]] == BAD_OPTIONS[text]
    body = '{"content": "x", "style": "y", "options": ' + text + "}"
    problem_of(client.post(JOBS, data=body, content_type="application/json"), 422, "invalid_options")
    nothing_left()


@pytest.mark.parametrize("text", ["{", "", "nope", "[" * 100_000, '{"a": 1' + "0" * 5000 + "}"])
def test_malformed_json(client, nothing_left, problem_of, text):
    response = client.post(JOBS, data=text, content_type="application/json")
    problem_of(response, 400, "invalid_request")
    nothing_left()


@pytest.mark.parametrize("name", ["options", "labels"])
def test_malformed_json_in_a_part(client, parts, nothing_left, problem_of, name):
    problem = problem_of(client.post(JOBS, data=parts(**{name: "{"})), 400, "invalid_request")
    assert name in problem["detail"]
    nothing_left()


@pytest.mark.parametrize("part", ["content", "style"])
def test_missing_parts(client, parts, nothing_left, problem_of, part):
    problem = problem_of(client.post(JOBS, data=parts(**{part: None})), 422, "missing_part")
    assert problem["errors"][0]["pointer"] == f"/{part}"
    problem = problem_of(client.post(JOBS, data=parts(**{part: "as text"})), 422, "missing_part")
    assert "send it as a file" in problem["detail"]
    other = {"content": "style", "style": "content"}[part]
    problem = problem_of(client.post(JOBS, json={other: "x"}), 422, "missing_part")
    assert problem["errors"] == [
        {"pointer": f"/{part}", "code": "missing_part", "detail": f"{part} is missing"}
    ]
    problem_of(client.post(ASSETS, data={}, content_type="multipart/form-data"), 422, "missing_part")
    nothing_left()


BAD_FIELDS = [
    {"labels": {"Upper": "x"}},
    {"labels": {"": "x"}},
    {"labels": {"a" * 64: "x"}},
    {"labels": {"new\nline": "x"}},
    {"labels": {"a\n": "x"}},
    {"labels": {"a": "x" * 256}},
    {"labels": {"a": "bell\a"}},
    {"labels": {"a": 1}},
    {"labels": {str(number): "x" for number in range(17)}},
    {"labels": ["a"]},
    {"name": "x" * 201},
    {"name": "two\nlines"},
]


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=str)
def test_bad_names_and_labels(client, parts, nothing_left, problem_of, fields):
    data = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    problem = problem_of(client.post(JOBS, data=parts(**data)), 400, "invalid_request")
    assert problem["errors"][0]["pointer"].startswith("/" + next(iter(fields)))
    problem_of(client.post(JOBS, json={"content": "x", "style": "y", **fields}), 400, "invalid_request")
    nothing_left()


def test_surrogates_and_wrong_types(client, nothing_left, problem_of):
    body = '{"content": "x", "style": "y", "name": "\\ud800"}'
    problem_of(client.post(JOBS, data=body, content_type="application/json"), 400, "invalid_request")
    body = '{"content": "x", "style": "y", "options": {"\\ud800": 1}}'
    problem_of(client.post(JOBS, data=body, content_type="application/json"), 400, "invalid_request")
    problem_of(client.post(JOBS, json={"content": 1, "style": []}), 400, "invalid_request")
    problem_of(client.post(JOBS, json=["content"]), 400, "invalid_request")
    problem = problem_of(client.post(JOBS, json={"contents": "x"}), 400, "invalid_request")
    assert "did you mean content?" in problem["detail"]
    nothing_left()


def test_unknown_parts_and_parameters(client, parts, nothing_left, problem_of):
    problem = problem_of(client.post(JOBS, data=parts(lables="{}")), 400, "invalid_request")
    assert "did you mean labels?" in problem["detail"]
    problem_of(client.post(JOBS + "?validate=true", data=parts()), 400, "invalid_request")
    problem_of(client.post(JOBS + "?validate_only=maybe", data=parts()), 400, "invalid_request")
    nothing_left()


def test_two_files_of_one_name(client, parts, make_picture, nothing_left, problem_of):
    two = [(io.BytesIO(make_picture(seed=number)), "a.png") for number in (1, 2)]
    problem_of(client.post(JOBS, data={**parts(content=None), "content": two}), 400, "invalid_request")
    nothing_left()


def test_large_text_part(client, parts, nothing_left, problem_of):
    text = (
        b'--x\r\nContent-Disposition: form-data; name="options"\r\n\r\n' + b" " * 600_000 + b"\r\n--x--\r\n"
    )
    kind = "multipart/form-data; boundary=x"
    problem_of(client.post(JOBS, data=text, content_type=kind), 400, "invalid_request")
    problem_of(client.post(JOBS, **multipart(options=b" " * 600_000)), 400, "invalid_request")
    problem_of(client.post(JOBS, data=parts(options=b"\xff\xfe")), 400, "invalid_request")
    problem_of(
        client.post(JOBS, data=" " * 1_100_000, content_type="application/json"), 413, "request_too_large"
    )
    nothing_left()


def test_wrong_content_type(client, nothing_left, problem_of):
    for path in (JOBS, ASSETS):
        problem_of(client.post(path, data="x", content_type="text/plain"), 415, "unsupported_media")
        problem_of(client.post(path), 415, "unsupported_media")
    nothing_left()


def test_unknown_ids(client, problem_of):
    unknown = "01a20000-0000-7000-8000-000000000000"
    for path in ("", "/events", "/preview", "/output", "/checkpoints", "/checkpoints/10", "/attempts"):
        problem_of(client.get(f"{JOBS}/{unknown}{path}"), 404, "not_found")
    problem_of(client.post(f"{JOBS}/{unknown}/cancel"), 404, "not_found")
    problem_of(client.get(f"{ASSETS}/{unknown}"), 404, "not_found")
    problem_of(client.get(f"{ASSETS}/{unknown}/content"), 404, "not_found")
    problem = problem_of(client.post(JOBS, json={"content": unknown, "style": "../x"}), 404, "not_found")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/content", "/style"]


def test_routes_that_are_not_there(client, problem_of):
    problem_of(client.get("/nope"), 404, "not_found")
    problem_of(client.get("/api/v1/jobs/../../etc/passwd"), 404, "not_found")
    problem = problem_of(client.delete(JOBS), 405, "method_not_allowed")
    assert "DELETE is not possible" in problem["detail"]
    assert set(client.delete(JOBS).headers["Allow"].split(", ")) >= {"GET", "POST"}


def test_paths_in_names_are_only_shown(client, submit, make_picture, settings):
    evil = "../../../../tmp/e\x07vil" + "x" * 300 + ".png"
    job = submit(content=(io.BytesIO(make_picture(seed=7)), evil), name="../../etc/passwd")
    shown = job["input"]["content"]["filename"]
    assert shown.startswith("evilx")
    assert len(shown) == 200
    assert job["name"] == "../../etc/passwd"
    files = [
        path.relative_to(settings.data_dir / "storage") for path in settings.data_dir.rglob("*/assets/*/*")
    ]
    assert sorted(path.name for path in files) == sorted(
        job["input"][part]["sha256"] for part in ("content", "style")
    )


def test_storage_not_writable(client, parts, settings: Settings, services, problem_of):
    storage = settings.data_dir / "storage"
    storage.rename(settings.data_dir / "aside")
    storage.write_text("a file where the folder should be")
    response = client.post(JOBS, data=parts())
    problem = problem_of(response, 503, "storage_unavailable")
    assert response.headers["Retry-After"]
    assert str(settings.data_dir) not in response.text
    assert "folder" in problem["suggestion"]
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json["ready"] is False
    assert [name for name, check in ready.json["checks"].items() if not check["ok"]] == ["storage"]
    with services.backend.database.read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM assets").scalar() == 0
    storage.unlink()
    (settings.data_dir / "aside").rename(storage)
    assert client.post(JOBS, data=parts()).status_code == 202


def _fail_fast(services, milliseconds: int = 20) -> None:
    """Let new connections wait less for a lock than the 10 s of real life."""
    services.backend.database.close()
    event.listen(
        services.backend.database._engine,
        "connect",
        lambda connection, _: connection.execute(f"PRAGMA busy_timeout={milliseconds}"),
    )


def test_database_locked(client, parts, services, settings, nothing_left, problem_of):
    import sqlite3

    _fail_fast(services)
    other = sqlite3.connect(settings.data_dir / "atelier.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        problem_of(client.post(JOBS, data=parts()), 503, "database_unavailable")
    finally:
        other.execute("ROLLBACK")
        other.close()
    nothing_left()
    assert client.post(JOBS, data=parts()).status_code == 202


def test_failed_write_keeps_what_others_use(client, parts, make_picture, services, settings, problem_of):
    import sqlite3

    shared = make_picture(seed=1)
    known = client.post(ASSETS, data={"file": (io.BytesIO(shared), "a.png")}).json
    _fail_fast(services)
    other = sqlite3.connect(settings.data_dir / "atelier.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        problem_of(client.post(JOBS, data=parts(content=shared)), 503, "database_unavailable")
    finally:
        other.execute("ROLLBACK")
        other.close()
    with client.get(known["url"]) as response:
        assert response.data == shared
    files = [path.name for path in (settings.data_dir / "storage" / "assets").rglob("*") if path.is_file()]
    assert files == [known["sha256"]]


def test_database_gone(client, parts, services, settings, problem_of):
    with services.backend.database.write() as session:
        for table in ("job_labels", "job_events", "job_attempts", "job_checkpoints", "jobs", "assets"):
            session.connection().exec_driver_sql(f"DROP TABLE {table}")
    problem_of(client.post(JOBS, data=parts()), 503, "database_unavailable")
    problem_of(client.get(JOBS), 503, "database_unavailable")
    assert stored_files(settings) == []


@pytest.mark.parametrize("kind", [RuntimeError, CheckpointInvalid])
def test_unexpected_error_leaks_nothing(app, problem_of, kind):
    def broken() -> None:
        raise kind("secret /path/of/ours")

    app.add_url_rule("/broken", view_func=broken)
    response = app.test_client().get("/broken")
    problem_of(response, 500, "internal_error")
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("content", "style", "expected"),
    [
        (b"text", None, ["/style"]),
        (None, None, ["/content", "/style"]),
        (b"text", png(40, 40), ["/content"]),
        (png(40, 40), b"text", ["/style"]),
        (b"text", png(20, 40), ["/content", "/style"]),
        (png(40, 2000), png(2000, 40), ["/content", "/style"]),
    ],
)
def test_a_refusal_points_at_every_picture_at_fault(client, parts, content, style, expected):
    data = parts(content=content, style=style, options={"size": 256})
    answer = client.post(JOBS, data=data, content_type="multipart/form-data")
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json["errors"]] == expected
    for fault in answer.json["errors"]:
        assert fault["detail"].startswith(fault["pointer"][1:])
        assert fault["detail"] in answer.json["detail"] or fault["code"] == "missing_part"


def test_a_known_picture_that_does_not_fit_is_pointed_at(client, make_picture):
    ids = []
    for size in ((40, 2000), (64, 64)):
        file = io.BytesIO(make_picture(*size)), "p.png"
        ids.append(client.post(ASSETS, data={"file": file}).json["id"])
    body = {"content": ids[1], "style": ids[0], "options": {"size": 256}}
    answer = client.post(JOBS, json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "image_too_narrow")
    assert [fault["pointer"] for fault in answer.json["errors"]] == ["/style"]
    refused = client.post(ASSETS, data={"file": (io.BytesIO(b"text"), "p.png")})
    assert [fault["pointer"] for fault in refused.json["errors"]] == ["/file"]
