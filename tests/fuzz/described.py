"""Requests made from what the service says of itself: schemathesis, all phases and all checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parents[1]


def fuzz(url: str, *, seconds: int, max_examples: int, seed: int | None = None) -> tuple[bool, str]:
    """Send requests to the service at `url` for about so long; return whether all was well, and the report.

    `max_examples` are those of each operation in each phase. The same `seed` sends the same requests.
    """
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(_FOLDER / "schemathesis.toml"),
        "run",
        f"{url}/openapi.json",
        "--checks=all",
        "--phases=examples,coverage,fuzzing,stateful",
        f"--max-examples={max_examples}",
        f"--max-time={seconds}",
        *([] if seed is None else [f"--seed={seed}"]),
    ]
    environ = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.fuzz.pictures",
        "PYTHONPATH": str(_ROOT),
        "NO_COLOR": "1",
    }
    ended = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=10 * seconds + 300
    )
    return ended.returncode == 0, ended.stdout + ended.stderr
