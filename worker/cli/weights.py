"""``atelier-worker weights``: the ImageNet weights, on a machine that cannot download them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from shared.errors import InvalidSettings, WeightsError, WeightsInvalid, WeightsUnavailable
from shared.settings import load_settings
from shared.terminal import GivenPath, LazyGroup, SettingsRefused, to_json_text
from worker.engine.weights.fetch import file_digest, hash_fault, import_file
from worker.engine.weights.source import ImagenetSource, WeightsChoice, check_weights, require_hash

NO_WEIGHTS = 3
_FILE = GivenPath()
_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document to stdout.")


@click.group(
    cls=LazyGroup,
    table={
        "import": ("worker.cli.weights:import_weights", "Put a downloaded file where workers look for it."),
        "check": ("worker.cli.weights:check_file", "Tell whether a file is the published one."),
    },
    short_help="Check the ImageNet weights, or put them where they belong.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
def weights() -> None:
    """Look after the file of the ImageNet weights.

    ATELIER_VGG19_WEIGHTS_URL names it, ATELIER_VGG19_WEIGHTS_HASH is its digest, and it lies in
    ATELIER_CACHE_DIR. Exit codes: 0 all is well, 2 wrong usage or settings, 3 not the right file.
    """


@click.command("import")
@click.argument("file", type=_FILE)
@_JSON
def import_weights(file: Path, *, as_json: bool) -> None:
    """Put FILE, which was downloaded on another machine, where workers look for the ImageNet weights.

    Only the published file is taken: its digest is compared, and its layers are read.
    """
    source = _source()
    try:
        require_hash(source)
        _examine(file, source)
        is_new = import_file(file, source.hash, source.path)
    except WeightsError as error:
        _fail(error, as_json=as_json)
    document = {"path": str(source.path), "hash": source.hash.lower(), "imported": is_new}
    said = "The ImageNet weights are now at" if is_new else "The ImageNet weights were already at"
    _answer(document, f"{said} {source.path}", as_json=as_json)


@click.command("check")
@click.argument("file", type=_FILE, required=False)
@_JSON
def check_file(file: Path | None, *, as_json: bool) -> None:
    """Tell whether FILE is the published file, without changing anything; by default the one in its place."""
    source = _source()
    path = file or source.path
    try:
        require_hash(source)
        _examine(path, source)
    except WeightsError as error:
        _fail(error, as_json=as_json)
    document = {"path": str(path), "hash": source.hash.lower(), "size_bytes": path.stat().st_size}
    _answer(document, f"{path} is the published file, and holds a VGG19.", as_json=as_json)


def _examine(path: Path, source: ImagenetSource) -> None:
    """Prove that a file is the published one, and holds a network.

    Raises:
        WeightsUnavailable: when it cannot be read.
        WeightsInvalid: when it is another one; if that holds a VGG19, with how to use it.
    """
    try:
        found, size = file_digest(path, source.hash), path.stat().st_size
    except OSError as error:
        raise WeightsUnavailable(f"{path} cannot be read: {error.strerror}") from error
    choice = WeightsChoice("file", path)
    if found == source.hash.lower():
        check_weights(choice)
        return
    fault = hash_fault(str(path), size, found, source.hash)
    try:
        check_weights(choice)
    except WeightsError:
        raise WeightsInvalid(fault) from None
    raise WeightsInvalid(
        f"{fault}. It does hold a VGG19, though: to work with it as it is, set "
        f"ATELIER_VGG19_WEIGHTS={path.absolute()}"
    )


def _source() -> ImagenetSource:
    try:
        return ImagenetSource.of(load_settings(os.environ))
    except InvalidSettings as error:
        raise SettingsRefused(error.detail) from None


def _answer(document: dict[str, object], text: str, *, as_json: bool) -> None:
    click.echo(to_json_text(document) if as_json else text)


def _fail(error: WeightsError, *, as_json: bool) -> None:
    click.echo(f"Error: {error.detail} [{error.code}]", err=True)
    if error.suggestion:
        click.echo(error.suggestion, err=True)
    if as_json:
        click.echo(to_json_text({"error": error.to_json()}))
    sys.exit(NO_WEIGHTS)
