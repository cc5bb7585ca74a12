"""Requests made from what the service says of itself: schemathesis, all phases and all checks."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

from tests.fuzz.callers import Scene

_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parents[1]


def fuzz(
    url: str, *, seconds: int, max_examples: int, seed: int | None = None, scene: Scene | None = None
) -> tuple[bool, str]:
    """Send requests to the service at `url` for about so long; return whether all was well, and the report.

    `max_examples` are those of each operation in each phase. The same `seed` sends the same requests. With a
    `scene` they are made with its token.
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
        *([] if scene is None else [f"--header=Authorization: Bearer {scene.token}"]),
    ]
    environ = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.fuzz.scene",
        "PYTHONPATH": str(_ROOT),
        "NO_COLOR": "1",
    }
    with scene.as_file() if scene else nullcontext("") as file:
        ended = subprocess.run(
            command,
            env={**environ, "ATELIER_FUZZ_SCENE": str(file)},
            capture_output=True,
            text=True,
            check=False,
            timeout=10 * seconds + 300,
        )
    return ended.returncode == 0, ended.stdout + ended.stderr
