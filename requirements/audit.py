"""Look for known vulnerabilities in what is locked: ``python requirements/audit.py [pip-audit]``.

pip-audit asks the package index about each pinned version. An index that cannot be reached, a mirror that
tells nothing of vulnerabilities, or one that takes too long is no fault of the code: that is said in one
line, and the exit code is 0. It is 1 for a vulnerability that is not in `IGNORED`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Vulnerabilities that do not matter here, by their ids (any of their names), each with the reason.
IGNORED: Mapping[str, str] = {}
#: Together all that is locked anywhere.
_FILES = ("dev.txt", "dev-gpu.txt", "fast.txt")
_FOLDER = Path(__file__).parent
_SECONDS = 90
_ANSWER_SECONDS = 5


@dataclass(frozen=True)
class Verdict:
    """What is to be said, if anything, and the exit code."""

    lines: Sequence[str]
    code: int


def judge(report: Mapping[str, Any], ignored: Mapping[str, str]) -> Verdict:
    """Return what pip-audit's report in JSON means.

    Args:
        report: `dependencies`, each with its `vulns`, or with the `skip_reason` if nothing is known of it.
        ignored: Reasons by the ids of vulnerabilities.
    """
    told = [one for one in report["dependencies"] if "vulns" in one]
    if not told:
        return cannot("the package index tells nothing of vulnerabilities")
    lines = []
    for package in told:
        for found in package["vulns"]:
            names = [found["id"], *found.get("aliases", ())]
            if not ignored.keys() & set(names):
                fixed = ", ".join(found.get("fix_versions", ())) or "no version yet"
                lines.append(f"{package['name']} {package['version']}: {' = '.join(names)}, fixed in {fixed}")
    unknown = sorted(one["name"] for one in report["dependencies"] if "vulns" not in one)
    if unknown:
        lines.append(f"Not audited, since the package index does not know them: {', '.join(unknown)}")
    return Verdict(lines, 1 if len(lines) > bool(unknown) else 0)


def cannot(why: str) -> Verdict:
    """Return that nothing could be found out."""
    return Verdict([f"Known vulnerabilities were NOT looked for: {why}"], 0)


def audit(program: str, *, seconds: float = _SECONDS) -> Verdict:
    """Let pip-audit look for at most so long."""
    words = [program, "--format=json", "--progress-spinner=off", "--disable-pip", "--require-hashes"]
    words += [f"--timeout={_ANSWER_SECONDS}", "--desc=off", "--aliases=on"]
    words += [f"--requirement={_FOLDER / name}" for name in _FILES]
    try:
        done = subprocess.run(  # noqa: S603 - what is installed beside this interpreter
            words, capture_output=True, text=True, timeout=seconds, check=False
        )
    except FileNotFoundError:
        return cannot(f"there is no {program}; make setup installs it")
    except subprocess.TimeoutExpired:
        return cannot(f"the package index had not answered after {seconds:g} s")
    try:
        report = json.loads(done.stdout)
    except ValueError:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return cannot(said[-1][:300] if said else f"pip-audit ended with {done.returncode}")
    return judge(report, IGNORED)


def main() -> int:
    """Say what was found; return the exit code."""
    program = sys.argv[1] if len(sys.argv) > 1 else str(Path(sys.executable).with_name("pip-audit"))
    verdict = audit(program)
    for line in verdict.lines:
        sys.stderr.write(f"{line}\n")
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
