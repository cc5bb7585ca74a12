"""The entry of both programs, by a name that nobody else has: it lets them be made of our own packages.

`web`, `worker` and `shared` are words that others use, too: for a folder where somebody works, for a package
in the same environment. Whatever comes first on Python's path, the neighbours of this file are loaded. The
console scripts begin here, and so do the processes that a program starts (`own_python` in
`shared/processes.py`)::

    python -m atelier_entry atelier up
    python -P /path/of/atelier_entry.py worker.engine.weights.fetch URL HASH FILE

It knows the standard library alone, since it runs before anything else can be trusted.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_ROOT = Path(__file__).resolve().parent
#: Each of our packages, and words of its first lines: else another package of this name lies over it.
_OWN = {"shared": "web side and the worker side", "web": "The web side", "worker": "The worker side"}
_PROGRAMS = {"atelier": "web.cli.main", "atelier-worker": "worker.cli.main"}
_WRONG_SETTINGS = 2


class _OwnPackages(MetaPathFinder):
    """Finds our packages beside this file, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where one of our packages is; None for every other module, which Python looks for itself."""
        if path is not None or fullname not in _OWN:
            return None
        return PathFinder.find_spec(fullname, [str(_ROOT)], target)


def prefer_own_packages() -> None:
    """Let this process load our own packages, whatever else has their names; end it where that cannot be."""
    for name, mark in _OWN.items():
        loaded = sys.modules.get(name)
        if loaded is not None and not _is_own(loaded):
            sys.exit(
                _refusal(
                    f"a module named '{name}' is loaded before Atelier begins, from {_place(loaded)}: a .pth "
                    "file or a sitecustomize module does that; take it away, or use an environment without it"
                )
            )
        first = _ROOT / name / "__init__.py"
        try:
            is_ours = mark in first.read_text(errors="replace")
        except OSError:
            is_ours = False
        if not is_ours:
            sys.exit(
                _refusal(
                    f"the package '{name}' in {_ROOT} is not Atelier's: another of this name was installed "
                    "over it, or it was removed; install Atelier into an environment of its own"
                )
            )
    if not any(isinstance(finder, _OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OwnPackages())


def atelier() -> Any:  # noqa: ANN401 - what the program ends with
    """Run `atelier`."""
    return _run("atelier")


def atelier_worker() -> Any:  # noqa: ANN401 - what the program ends with
    """Run `atelier-worker`."""
    return _run("atelier-worker")


def main() -> Any:  # noqa: ANN401 - what the program ends with
    """Run the program, or our own module, that the first word names, with the other words."""
    _forget_this_folder()
    name, *words = sys.argv[1:] or [""]
    if name in _PROGRAMS:
        sys.argv = [name, *words]
        return _run(name)
    if name.partition(".")[0] not in _OWN:
        return _refusal(f"'{name}' is no program; known are {' and '.join(_PROGRAMS)}")
    prefer_own_packages()
    sys.argv = [name, *words]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
    return 0


def _forget_this_folder() -> None:
    """Take the folder away that ``-m`` or a script's place puts first: what lies there need not be meant."""
    if not sys.flags.safe_path and sys.path and Path(sys.path[0]).resolve() in (Path.cwd(), _ROOT):
        del sys.path[0]


def _run(program: str) -> Any:  # noqa: ANN401 - what the program ends with
    prefer_own_packages()
    return import_module(_PROGRAMS[program]).main(prog_name=program)


def _refusal(said: str) -> int:
    """Say why nothing can be done; return the exit code."""
    sys.stderr.write(f"Error: {said}.\n")
    return _WRONG_SETTINGS


def _is_own(module: ModuleType) -> bool:
    return any(Path(place).resolve() == _ROOT / module.__name__ for place in getattr(module, "__path__", ()))


def _place(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or ", ".join(getattr(module, "__path__", ())) or "nowhere"


if __name__ == "__main__":
    sys.exit(main())
