"""Static files: addresses that change with their content, and the modules that a page's script brings along.

The version in an address is one of all files: a module that imports another by a relative address gets that
of the same version. Browsers may keep such a file for ever. At the address of another version, which a page
that was open during an upgrade may still ask for, and at one without a version there is the file of now, and
the browser asks each time whether it is still the same.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app

_ENDPOINT = "static"
_VERSIONED = "/static/v-<version>/<path:filename>"
_VERSION_CHARS = 16
#: A year, the longest that browsers keep a file.
_KEPT_SECONDS = 365 * 86_400
#: As our modules write it: one statement a line, and no other module than our own.
_IMPORT = re.compile(r'^(?:import|export)\b[^"\n]*"(\./[^"\n]+)";?$', re.MULTILINE)


def serve_static_files(app: Flask) -> None:
    """Give the static files of an app their addresses, and its templates `modules_of`."""
    files = StaticFiles(Path(app.root_path) / "static")
    app.add_url_rule(_VERSIONED, _ENDPOINT)
    app.view_functions[_ENDPOINT] = files.send
    app.url_defaults(files.add_version)
    app.jinja_env.globals["modules_of"] = files.modules.__getitem__


class StaticFiles:
    """The files of a folder as they were when the process began."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = {path: _seen(path) for path in folder.rglob("*") if path.is_file()}
        self._version = version_of(folder)
        sources = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.glob("js/*.js")}
        #: By the path of a module: see `bring_along`.
        self.modules: Mapping[str, list[str]] = {name: bring_along(name, sources) for name in sources}

    def add_version(self, endpoint: str, values: dict[str, Any]) -> None:
        """Put the version into the address of a static file, as Flask makes it."""
        if endpoint == _ENDPOINT:
            values.setdefault("version", self._version)

    def send(self, filename: str, version: str = "") -> Response:
        """Answer with a file; for ever only if it is the one that the version was made of."""
        answer = current_app.send_static_file(filename)
        path = self._folder / filename
        # An upgrade may have put another one there before this process is started again.
        if version == self._version and self._known.get(path) == _seen(path):
            answer.headers["Cache-Control"] = f"max-age={_KEPT_SECONDS}, immutable"
        return answer


def _seen(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


def version_of(folder: Path) -> str:
    """Return what tells the files of a folder, with their names, from others."""
    found = sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        found.update(f"{path.relative_to(folder).as_posix()}\0{len(data)}\0".encode())
        found.update(data)
    return found.hexdigest()[:_VERSION_CHARS]


def bring_along(name: str, sources: Mapping[str, str]) -> list[str]:
    """Return a module and all that it imports at once, itself or by others, each once; nearest first.

    Args:
        name: The module, a key of `sources`.
        sources: The text of each module, by its path in the folder.

    Raises:
        KeyError: when one imports a module that is not there.
    """
    found = [name]
    for one in found:  # it grows meanwhile
        found += dict.fromkeys(other for other in imports_of(one, sources[one]) if other not in found)
    return found


def imports_of(name: str, source: str) -> Iterable[str]:
    """Return the paths of the modules that a module imports, except those that it imports later."""
    return [posixpath.normpath(f"{posixpath.dirname(name)}/{path}") for path in _IMPORT.findall(source)]
