"""What `make lint` makes of what pip-audit finds, or cannot find out."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parents[2] / "requirements/audit.py"
FOUND = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1", "2.0"]}
WELL = {"name": "flask", "version": "3", "vulns": []}
UNKNOWN = {"name": "own", "skip_reason": "not there"}


@pytest.fixture(scope="module")
def script():
    # Its dataclass looks for its module.
    sys.modules["audit"] = sys
    return runpy.run_path(str(_SCRIPT), run_name="audit")


def run(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o700)
    return subprocess.run(
        [sys.executable, str(_SCRIPT), str(program)], capture_output=True, text=True, check=False
    )


def told(*dependencies: dict[str, object]) -> str:
    return f"cat <<'END'\n{json.dumps({'dependencies': dependencies, 'fixes': []})}\nEND"


def test_what_is_well_is_not_spoken_of(tmp_path):
    done = run(tmp_path, told(WELL))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_vulnerability_is_named_with_where_it_is_mended_and_fails(tmp_path):
    done = run(tmp_path, told(WELL, {"name": "x", "version": "1.0", "vulns": [FOUND]}) + "\nexit 1")
    assert done.returncode == 1
    assert done.stderr == "x 1.0: PYSEC-1 = CVE-1, fixed in 1.1, 2.0\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (told(UNKNOWN), "the package index tells nothing of vulnerabilities"),
        ("echo 'some trace' >&2; echo 'ERROR: no route to host' >&2; exit 1", "ERROR: no route to host"),
        ("exit 3", "pip-audit ended with 3"),
    ],
)
def test_what_cannot_be_found_out_is_said_in_one_line_and_is_no_fault(tmp_path, body, said):
    done = run(tmp_path, body)
    assert (done.returncode, done.stderr) == (0, f"Known vulnerabilities were NOT looked for: {said}\n")


def test_without_the_program_too(tmp_path):
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), str(tmp_path / "none")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n"), "make setup" in done.stderr) == (0, 1, True)


def test_one_that_takes_too_long_is_given_up(script, tmp_path):
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o700)
    verdict = script["audit"](str(program), seconds=0.2)
    assert (verdict.code, verdict.lines) == (
        0,
        ["Known vulnerabilities were NOT looked for: the package index had not answered after 0.2 s"],
    )


def test_what_is_ignored_by_any_of_its_names_is_no_fault_and_what_is_unknown_is_named(script):
    report = {"dependencies": [{"name": "x", "version": "1", "vulns": [FOUND]}, UNKNOWN]}
    verdict = script["judge"](report, {"CVE-1": "not reachable"})
    assert (verdict.code, verdict.lines) == (
        0,
        ["Not audited, since the package index does not know them: own"],
    )
    assert script["judge"](report, {}).code == 1
