"""``python -m tests.fuzz``: five minutes of requests to the real web process, with a seed to repeat them."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from shared.settings import Settings
from tests.fuzz.described import fuzz
from tests.support.control import say_control_runs
from tests.support.website import Site
from web.cli.local.redis_server import RedisServer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        with RedisServer(folder / "redis") as server:
            settings = Settings(
                redis_url=server.url,
                data_dir=folder / "data",
                cache_dir=folder / "cache",
                vgg19_weights="untrained",
                min_free_bytes=0,
            )
            site = Site(settings)
            try:
                site.start()
                say_control_runs(site.services.backend.redis)
                is_well, report = fuzz(site.url, seconds=asked.seconds, max_examples=100, seed=asked.seed)
            finally:
                site.close()
    found = "nothing was found" if is_well else "see above"
    sys.stdout.write(f"{report}\nSeed {asked.seed}: {found}.\n")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
