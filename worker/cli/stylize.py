"""``atelier-worker stylize``: the engine alone, from two files to a third."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from shared.errors import AtelierError, InvalidSettings, PictureRefused, Refusal, StorageUnavailable
from shared.options import Method, StyleOptions, option_help, parse_assignments, parse_options
from shared.picture import inspect_picture, taken_size
from shared.provenance import Provenance
from shared.settings import Settings, load_settings
from shared.terminal import GivenPath, GivenText, StepBar, format_took, show_notice, to_json_text

if TYPE_CHECKING:
    from worker.attempt import Engine
    from worker.engine.fast.engine import FastEngine
    from worker.engine.state import MadeBy, Step

_SUFFIXES = (".png", ".jpg", ".jpeg")
_JPEG_QUALITY = 95
_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


@click.command(short_help="Carry out one job here and now, without a queue.", epilog="\b\n" + option_help())
@click.argument("content", type=_FILE)
@click.argument("style", type=_FILE)
@click.option(
    "-o",
    "--out",
    "output",
    required=True,
    type=GivenPath(dir_okay=False),
    help="Where the picture is written; its name ends in .png, .jpg or .jpeg.",
)
@click.option(
    "-O",
    "--option",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A style option; may be repeated. All are listed below, with default and range.",
)
@click.option(
    "--weights",
    type=GivenText(),
    metavar="imagenet|auto|untrained|PATH",
    help="VGG19 weights: the published ones; those or else untrained ones; untrained ones; or a Keras file. "
    "Default: ATELIER_VGG19_WEIGHTS, or else imagenet.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document about the result to stdout.")
def stylize(
    content: Path,
    style: Path,
    output: Path,
    assignments: tuple[str, ...],
    weights: str | None,
    *,
    as_json: bool,
) -> None:
    """Give the picture CONTENT the style of the picture STYLE.

    Exit codes: 0 done, 1 failed, 2 wrong usage or refused input, 130 interrupted. The picture appears whole
    or not at all.
    """
    try:
        document = _stylize(content, style, output, assignments, weights)
    except AtelierError as error:
        advice = f" {error.suggestion}" if error.suggestion else ""
        click.echo(f"Error: {error.detail} [{error.code}]{advice}", err=True)
        if as_json:
            click.echo(to_json_text({"error": error.to_json()}))
        sys.exit(2 if isinstance(error, Refusal | InvalidSettings) else 1)
    except KeyboardInterrupt:
        click.echo("Interrupted; nothing was written.", err=True)
        sys.exit(130)
    click.echo(to_json_text(document) if as_json else str(output))


def _stylize(
    content: Path, style: Path, output: Path, assignments: tuple[str, ...], weights: str | None
) -> dict[str, object]:
    """Judge everything that can be judged before anything slow is loaded; then compute and write."""
    console = Console(stderr=True, highlight=False)
    settings = load_settings(os.environ)
    given = parse_assignments(assignments)
    if "checkpoint_every" in given:
        raise click.UsageError("checkpoint_every is for jobs of the service: nothing goes on from here")
    options = parse_options(given)
    _check_output(output)
    inputs = {
        name: _read(path, name, options, settings) for name, path in (("content", content), ("style", style))
    }
    engine = _load_engine(options, weights, settings)
    if engine.notice:
        show_notice(console, engine.notice)
    started = time.perf_counter()
    last = _run(engine, inputs["content"], inputs["style"], options, console)
    metadata = _metadata(engine, inputs, options)
    _write(output, last, metadata)
    seconds = time.perf_counter() - started
    count = "1 step" if options.steps == 1 else f"{options.steps} steps"
    console.print(f"{count} in {format_took(seconds)}")
    return _document(output, last, engine.made_by(options), seconds)


def _check_output(output: Path) -> None:
    if output.suffix.lower() not in _SUFFIXES:
        raise click.BadParameter(
            f"'{output}' must end in {', '.join(_SUFFIXES)}", param_hint="'-o' / '--out'"
        )
    if not output.parent.is_dir():
        raise click.BadParameter(f"the folder '{output.parent}' does not exist", param_hint="'-o' / '--out'")
    try:
        with _temporary(output) as path:
            path.touch()
    except OSError as error:
        raise click.BadParameter(
            f"'{output}' cannot be written: {error.strerror}", param_hint="'-o' / '--out'"
        ) from None
    if output.exists() and not output.is_file():
        raise click.BadParameter(f"'{output}' is no file", param_hint="'-o' / '--out'")


def _read(path: Path, name: str, options: StyleOptions, settings: Settings) -> bytes:
    """Return a picture's bytes once they are known to be fit.

    Raises:
        PictureRefused: when they are not.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PictureRefused(f"{name} cannot be read: {error}") from error
    facts = inspect_picture(data, name=name, limits=settings.picture_limits())
    taken_size(facts.width, facts.height, part=name, options=options)
    return data


def _load_engine(options: StyleOptions, weights: str | None, settings: Settings) -> Engine:
    """Return the engine of the options' method, with the other one where it starts from that."""
    # Here: --help and refusals need none of this.
    from worker.engine.fast.source import find_fast_model
    from worker.serving import load_fast

    if Method.GATYS not in options.methods:
        if weights is not None:
            raise click.UsageError(
                "--weights are those of the method gatys; docs/fast.md tells of this one's"
            )
        return load_fast(find_fast_model(settings))
    fast = load_fast(find_fast_model(settings)) if Method.FAST in options.methods else None
    return _load_gatys(weights or settings.vgg19_weights, settings, fast)


def _load_gatys(setting: str, settings: Settings, fast: FastEngine | None) -> Engine:
    from worker.engine.runtime import load_overlooked_libraries, native_messages_held
    from worker.engine.weights.source import ImagenetSource, resolve_weights
    from worker.engine.weights.weights import load_weights

    source = ImagenetSource.of(settings)
    chosen = load_weights(resolve_weights(setting, source), settings.cache_dir)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    load_overlooked_libraries()
    with native_messages_held():
        from worker.engine.engine import StyleEngine

        return StyleEngine(chosen, fast=fast)


def _run(engine: Engine, content: bytes, style: bytes, options: StyleOptions, console: Console) -> Step:
    step = None
    spent_seconds = 0.0
    with StepBar(console, title="stylize") as bar:
        for step in engine.stylize(content, style, options):
            spent_seconds += step.seconds
            left = spent_seconds / step.step * (step.steps - step.step)
            loss = None if step.losses is None else step.losses.total
            bar.update(step.step, step.steps, loss=loss, seconds_left=left)
    if step is None:
        raise AssertionError("the engine yields at least one step")
    return step


def _metadata(engine: Engine, inputs: dict[str, bytes], options: StyleOptions) -> dict[str, str]:
    made_by = engine.made_by(options)
    return Provenance(
        engine_version=made_by.engine_version,
        content_sha256=hashlib.sha256(inputs["content"]).hexdigest(),
        style_sha256=hashlib.sha256(inputs["style"]).hexdigest(),
        options=options,
        step=options.steps,
        weights=made_by.weights,
        weights_sha256=made_by.weights_sha256,
        notice=made_by.mark,
    ).to_metadata()


def _write(output: Path, step: Step, metadata: dict[str, str]) -> None:
    from worker.engine.images import encode_jpeg, encode_png

    if output.suffix.lower() == ".png":
        data = encode_png(step.image(), metadata)
    else:
        data = encode_jpeg(step.image(), quality=_JPEG_QUALITY, metadata=metadata)
    try:
        with _temporary(output) as path:
            path.write_bytes(data)
            path.replace(output)
    except OSError as error:
        raise StorageUnavailable(f"{output} cannot be written: {error}") from error


@contextlib.contextmanager
def _temporary(output: Path) -> Iterator[Path]:
    path = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _document(output: Path, step: Step, made_by: MadeBy, seconds: float) -> dict[str, object]:
    height, width, _ = step.image().shape
    return {
        "output": str(output),
        "width": width,
        "height": height,
        "steps": step.steps,
        "seconds": round(seconds, 3),
        "losses": None if step.losses is None else asdict(step.losses),
        "weights": made_by.facts(),
    }
