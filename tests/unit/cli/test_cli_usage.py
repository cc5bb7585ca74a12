"""What the command line says and refuses by itself, without any service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from shared.errors import InvalidOptions, InvalidSettings, StorageUnavailable
from shared.options import StyleOptions
from shared.status import JobStatus
from web.cli.main import main
from web.cli.output import ServiceProblem, ServiceUnreachable, exit_code_for, exit_code_of
from worker.cli.main import main as atelier_worker

_COMMANDS = (
    *("up", "demo", "web", "control", "submit", "status", "watch", "list", "cancel", "pause", "resume"),
    *(
        "retry",
        "extend",
        "fork",
        "download",
        "checkpoints",
        "attempts",
        "events",
        "delete",
        "asset",
        "estimate",
    ),
    *("ready", "prune"),
)


@pytest.fixture
def pictures(tmp_path, make_picture):
    for name in ("content.png", "style.png"):
        (tmp_path / name).write_bytes(make_picture())
    return [str(tmp_path / "content.png"), str(tmp_path / "style.png")]


def test_help_lists_every_command_and_the_exit_codes():
    shown = CliRunner().invoke(main, ["--help"]).stdout
    for command in _COMMANDS:
        assert f"\n  {command} " in shown
    for code in ("0 ", "1 ", "2 ", "3 ", "4 ", "130 "):
        assert f"\n  {code}" in shown


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_has_help(command):
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert "--help" in result.stdout


def test_the_help_of_submit_names_every_style_option():
    shown = CliRunner().invoke(main, ["submit", "--help"]).stdout
    for name, field in StyleOptions.model_fields.items():
        assert f"{name}={field.default}" in shown


@pytest.mark.process
def test_help_loads_no_server_no_database_and_no_client():
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from web.cli.main import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print({'flask', 'sqlalchemy', 'celery', 'redis', 'httpx2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_wrong_options_are_all_named_before_anything_is_sent(pictures):
    words = [
        "submit",
        *pictures,
        "-O",
        "steps=0",
        "-O",
        "sise=3",
        "-O",
        "learning_rate=nan",
        "--url",
        "http://x",
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    for part in ("steps is 0; allowed is 1 to 2000", "did you mean size?", "learning_rate is"):
        assert part in result.stderr
    document = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)["error"]
    assert document["code"] == "invalid_options"
    assert [fault["pointer"] for fault in document["errors"]] == [
        "/options/steps",
        "/options/learning_rate",
        "/options/sise",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["submit", "nowhere.png", "nowhere.png"], "does not exist"),
        (["list", "--label", "nonsense"], "not of the form KEY:VALUE"),
        (["list", "--label", "a:1", "--label", "a=2"], "a is given twice, as '1' and as '2'"),
        (["list", "--created-after", "2026-11-23T08:47:41"], "no moment with its zone"),
        (["list", "--url", ""], "'' is not the URL of a service"),
        (["watch", "x", "--timeout", "nan"], "no number of seconds"),
        (["extend", "x", "5", "--idempotency-key", ""], "is no key"),
        (["fork", "x", "5", "--idempotency-key", "schlüssel"], "is no key"),
        (["queue", "--url", "http://x", "set-aside"], "--url is of no use"),
        (["list", "--status", "done"], "is not one of"),
        (["list", "--name", ""], "leave the option out"),
        (["list", "--batch", " "], "leave the option out"),
        (["download", "x", "-o", ""], "it is empty; name a file or a folder"),
        (["fork", "x", "5", "-o", ""], "it is empty; name a file or a folder"),
        (["up", "--data-dir", ""], "it is empty; name a file or a folder"),
        (["worker", "add", "--data-dir", ""], "it is empty; name a file or a folder"),
        (["backup", ""], "it is empty; name a file or a folder"),
        (["demo", "-o", ""], "it is empty; name a file or a folder"),
        (["queue", "set-aside", "--drop", ""], "leave the option out"),
        (["queue", "set-aside", "--drop", "x", "--limit", "5"], "--limit is for the list"),
        (["resume", "x", "--timeout", "5"], "goes with --wait or -o"),
        (["retry", "x", "--timeout", "5"], "goes with --wait or -o"),
        (["download", "x", "--preview", "--step", "5"], "--preview is a picture of its own"),
        (["download", "x", "--preview", "--small"], "--preview is a picture of its own"),
        (["download", "x", "--step", "0"], "0 is not in the range"),
        (["download", "x", "-o", "a.jpg"], "'a.jpg' would hold a PNG"),
        (["download", "x", "--step", "5", "-o", "a.webp"], "'a.webp' would hold a JPEG or a PNG"),
        (["download", "x", "--preview", "-o", "a.png"], "'a.png' would hold a JPEG"),
        (["download", "x", "--small", "-o", "nowhere/a.jpg"], "'nowhere' does not exist"),
        (["estimate", "-O", "style_weight=2"], "style_weight changes no estimate"),
        (["estimate", "--content", "big"], "not of the form WIDTHxHEIGHT"),
        (["list", "--limit", "x"], "'x' is no whole number from 1 to 10000"),
        (["extend", "x", "many"], "'many' is no whole number from 1 on"),
        (["watch", "x", "--timeout", "inf"], "inf is not in the range 0<=x<=31536000"),
        (["watch", "x", "--timeout", "soon"], "'soon' is no number of seconds"),
        (["list", "--limit", "5", "--limit", "6"], "--limit is given twice; it has one value"),
        (["list", "--name", "a", "--name=b"], "--name is given twice"),
        (["asset", "show", "x", "--url", "http://a", "--url", "http://b"], "--url is given twice"),
        (["submit", "a", "b", "--reuse", "--no-reuse"], "--reuse is given twice"),
        (["asset", "upload"], "Missing argument"),
        (["asset", "show", ""], "it is empty"),
        (["asset", "uplaod"], "did you mean 'upload'?"),
        (["worker", "ad"], "did you mean 'add'?"),
        (["up", "--port", "70000"], "70000"),
        (["nonsense"], "there is no command 'nonsense'; there are: up, demo,"),
        (["lst"], "did you mean 'list'?"),
        (["queue", "setaside"], "did you mean 'set-aside'?"),
        (["list", "--url", "nonsense"], "'nonsense' is not the URL of a service"),
        (["list", "--url", "ftp://host/"], "not the URL of a service"),
        (["list", "--url", "http://[::1"], "not the URL of a service"),
    ],
)
def test_wrong_usage_ends_with_2(words, message):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        (main, ["--nope"], "No such option '--nope'"),
        (main, ["lst"], "did you mean 'list'?"),
        (main, ["list", "--limit", "0"], "0 is not in the range"),
        (main, ["list", "--nope"], "No such option '--nope'"),
        (main, ["status"], "Missing argument 'ID'"),
        (main, ["queue", "setaside"], "did you mean 'set-aside'?"),
        (main, ["asset", "download"], "Missing argument 'ID'"),
        (atelier_worker, ["stylize", "a", "b"], "File 'a' does not exist"),
        (atelier_worker, ["weights", "chekc"], "did you mean 'check'?"),
    ],
)
def test_a_refused_word_is_a_document_as_any_other_refusal(program, words, said):
    result = CliRunner().invoke(program, [*words, "--json"])
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert (error["code"], said in error["detail"]) == ("usage_refused", True)
    assert said in result.stderr
    assert error.keys() == {"code", "detail", "suggestion", "errors"}
    assert CliRunner().invoke(program, words).stdout == ""


def test_a_wrong_setting_is_a_document_in_both_programs():
    for program, words in (
        (main, ["list"]),
        (atelier_worker, ["check"]),
        (atelier_worker, ["weights", "check"]),
    ):
        result = CliRunner(env={"ATELIER_PORT": "0"}).invoke(program, [*words, "--json"])
        assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (2, "invalid_settings")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", ""], "it is empty; name a file or a folder"),
        (["-o", "out.png", "--weights", ""], "leave the option out"),
        (["-o", "out.png", "-O", "checkpoint_every=5"], "checkpoint_every is for jobs of the service"),
        (["-o", "/proc/out.png"], "'/proc/out.png' cannot be written"),
        (["-o", "fifo.png"], "'fifo.png' is no file"),
    ],
)
def test_stylize_refuses_before_it_computes(pictures, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo.png")
    result = CliRunner().invoke(atelier_worker, ["stylize", *pictures, *words])
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_a_node_without_a_name_is_not_given_another():
    result = CliRunner().invoke(atelier_worker, ["run", "--name", ""])
    assert (result.exit_code, "leave the option out" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "words", [["--wait"], ["-o", "out.png"], ["--timeout", "5"], ["--idempotency-key", "k"]]
)
def test_a_dry_run_takes_nothing_that_it_would_not_do(pictures, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["submit", *pictures, "--dry-run", *words])
    assert (result.exit_code, "--dry-run submits nothing" in result.stderr) == (2, True)


def test_an_option_with_two_values_is_refused(pictures):
    result = CliRunner().invoke(main, ["submit", *pictures, "-O", "steps=5", "-O", "steps=6"])
    assert result.exit_code == 2
    assert "steps is given twice, as 5 and as 6" in result.stderr


def test_the_other_program_says_what_may_have_been_meant():
    result = CliRunner().invoke(atelier_worker, ["stylise"])
    assert (result.exit_code, "did you mean 'stylize'?" in result.stderr) == (2, True)


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("atelier wa", ["plain,watch"]),
        ("atelier queue set", ["plain,set-aside"]),
        ("atelier list --status ca", ["plain,canceled", "plain,canceling"]),
        ("atelier fork --idem", ["plain,--idempotency-key"]),
        ("atelier-worker st", ["plain,stylize"]),
    ],
)
def test_a_shell_completes_commands_options_and_values(words, completed):
    program = words.split()[0]
    environ = {
        **os.environ,
        f"_{program.replace('-', '_').upper()}_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [Path(sys.executable).with_name(program)], env=environ, capture_output=True, text=True
    )
    assert sorted(done.stdout.split()) == completed


def test_a_wrong_setting_is_named_and_ends_with_2():
    result = CliRunner(env={"ATELIER_PROT": "1"}).invoke(main, ["list"])
    assert result.exit_code == 2
    assert "ATELIER_PROT is not a setting; did you mean ATELIER_PORT?" in result.stderr


def test_exit_codes_of_errors_and_statuses():
    def problem(status):
        return ServiceProblem("no", status=status, code="x", title="x")

    assert exit_code_of(ServiceUnreachable("away")) == 4
    assert [exit_code_of(problem(status)) for status in (400, 404, 409, 422, 429, 500, 503)] == [
        2,
        2,
        2,
        2,
        1,
        1,
        1,
    ]
    assert [exit_code_of(error()) for error in (InvalidOptions, InvalidSettings, StorageUnavailable)] == [
        2,
        2,
        1,
    ]
    codes = {status.value: exit_code_for(status) for status in JobStatus if status.is_final}
    assert codes == {"succeeded": 0, "failed": 1, "canceled": 3, "expired": 1}
