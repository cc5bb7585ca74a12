"""What a log shows of what it is given: everything but secrets."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from shared.logs import configure_logs, get_logger, hide_secrets
from shared.settings import Settings

TOKEN = "atelier_" + "Ab9-_" * 8 + "xyz"
WRONG = "atelier_" + "q" * 30


@pytest.fixture
def _logs_as_they_were():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"no token {TOKEN} here", "no token atelier_… here"),
        ("the token atelier_Ab9xyz of atelier_entry.py", "the token atelier_Ab9xyz of atelier_entry.py"),
        ("Authorization: Basic bWU6cGFzcw==, and more\nnext", "Authorization: …\nnext"),
        ("{'HTTP_AUTHORIZATION': 'Bearer abc', 'n': 1}", "{'HTTP_AUTHORIZATION': '…', 'n': 1}"),
        ('[(b"Cookie", b"a=b; c=d"), 2]', '[(b"Cookie", b"…"), 2]'),
        ("Set-Cookie: atelier_session=q1w2; HttpOnly", "Set-Cookie: …"),
        ("it had atelier_session=q1w2-e_3; Path", "it had atelier_session=…; Path"),
        ("curl -H 'X: bearer abcdefgh12'", "curl -H 'X: bearer …'"),
        ("csrf_token=0123abcd&name=x", "csrf_token=…"),
        ("webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=", "webhook-signature: …"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_…"),
        ("GET /share/eyJhIjox.Yx-_1/thumbnail?width=3", "GET /share/…/thumbnail?width=3"),
        ("redis://me:p%40ss@host:6379/0 is away", "redis://…@host:6379/0 is away"),
        ("asks https://hooks.example/T1?key=k&x=1#a.", "asks https://hooks.example/T1?…#a."),
        ("file:///var/lib/a@b/c is no folder", "file:///var/lib/a@b/c is no folder"),
        ("a plain text", "a plain text"),
    ],
)
def test_of_what_looks_like_a_secret_nothing_is_shown_but_what_it_was(text, shown):
    assert hide_secrets(text) == shown
    assert hide_secrets(hide_secrets(text)) == shown


@pytest.mark.usefixtures("_logs_as_they_were")
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_secret_is_hidden_in_values_collections_exceptions_and_lines_of_libraries(form, capsys):
    configure_logs(Settings(log_format=form))
    log = get_logger("web.test")
    log.info("asked", headers={"Authorization": "Bearer s3cret-1", "Host": "me"}, tokens=[TOKEN], n=3)
    log.info("given", token="s3cret-2", url="https://u:s3cret-3@host/x?k=s3cret-4", of=ValueError(TOKEN))
    log.info("delivered", webhook_url="https://u:s3cret-7@hooks.example:1/T1/s3cret-8?s3cret-9#x")
    logging.getLogger("some.package").warning("sent %s to %s", "whsec_s3cret5", f"/share/{TOKEN}")
    try:
        raise ValueError(f"the header is Cookie: atelier_session=s3cret-6, of {TOKEN}")
    except ValueError:
        log.exception("failed", reason=WRONG)
    said = capsys.readouterr().err
    assert "s3cret" not in said
    assert TOKEN not in said
    assert WRONG not in said
    said = said.replace("\\u2026", "…")
    assert "ValueError: the header is Cookie: …" in said
    assert "https://…@host/x?…" in said
    assert "https://…@hooks.example:1/…" in said
    if form == "json":
        asked, given, *_ = [json.loads(line) for line in said.splitlines()]
        assert (asked["headers"], asked["n"]) == ({"Authorization": "…", "Host": "me"}, 3)
        assert (given["token"], given["of"]) == ("…", "ValueError('atelier_…')")


_UNCAUGHT = """
import sys, threading
from shared.logs import configure_logs
from shared.settings import Settings
configure_logs(Settings())
def fail():
    raise ValueError("of a thread, " + sys.argv[1])
thread = threading.Thread(target=fail, name="side")
thread.start()
thread.join()
raise ValueError("of all, " + sys.argv[1])
"""


def test_an_exception_that_nobody_caught_hides_it_too():
    done = subprocess.run(
        [sys.executable, "-c", _UNCAUGHT, TOKEN], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Exception in thread side:" in done.stderr
    assert "ValueError: of a thread, atelier_…" in done.stderr
    assert done.stderr.endswith("ValueError: of all, atelier_…\n")
    assert TOKEN not in done.stderr
