"""``python -m tests.fuzz``: five minutes of requests to the real web process, with a seed to repeat them.

They are made with a token of each scope in turn, beside another caller.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from shared.settings import Settings
from tests.fuzz.callers import set_scene
from tests.fuzz.described import fuzz
from tests.support.website import Site
from web.access.tokens import Scope
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
                faults = [scope for scope in Scope if not _ask(site, scope, asked.seconds, asked.seed)]
            finally:
                site.close()
    found = f"see above, of {', '.join(faults)}" if faults else "nothing was found"
    sys.stdout.write(f"\nSeed {asked.seed}: {found}.\n")
    return 1 if faults else 0


def _ask(site: Site, scope: Scope, seconds: int, seed: int) -> bool:
    """Send requests with a token of a scope; whether all was well."""
    site.empty()
    scene = set_scene(site, scope)
    share = max(1, seconds // len(Scope))
    is_well, report = fuzz(site.url, seconds=share, max_examples=100, seed=seed, scene=scene)
    sys.stdout.write(f"With a token that may {scope}:\n{report}\n")
    return is_well


if __name__ == "__main__":
    sys.exit(main())
