"""What stands in the form of a new job: as somebody typed it, or as an earlier job had it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.datastructures import MultiDict

from shared.errors import Fault
from shared.options import StyleOptions
from shared.presets import PRESETS
from web.models import Job
from web.pages.option_fields import PRESET, OptionField, option_texts
from web.submission import PARTS

_DEFAULT_PRESET = str(StyleOptions.model_fields[PRESET].default)
#: Fields of `SubmitFields` that are typed as texts.
_TIMEOUTS = ("queue_timeout_seconds", "run_timeout_seconds")


@dataclass(frozen=True)
class NewForm:
    """The fields as texts. Options that are not in `options` are as the preset has them."""

    preset: str = _DEFAULT_PRESET
    options: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    timeouts: Mapping[str, str] = field(default_factory=dict)
    reuse: bool = True
    #: Part → id of the asset that is used unless a file is chosen.
    asset_ids: Mapping[str, str] = field(default_factory=dict)


def form_names(fields: Iterable[OptionField]) -> set[str]:
    """Return the names of all inputs of the form."""
    parts = {name for part in PARTS for name in (part, f"{part}_asset")}
    own = {"preset", "name", "label_key", "label_value", "reuse", *_TIMEOUTS}
    return parts | own | {entry.input_name for entry in fields}


def read_form(sent: MultiDict[str, str], fields: Iterable[OptionField]) -> NewForm:
    """Return what was typed."""
    rows = zip(sent.getlist("label_key"), sent.getlist("label_value"), strict=False)
    return NewForm(
        preset=sent.get("preset", _DEFAULT_PRESET),
        options={entry.name: text for entry in fields if (text := sent.get(entry.input_name, "").strip())},
        name=sent.get("name", ""),
        labels=tuple((key.strip(), value) for key, value in rows if key.strip() or value.strip()),
        timeouts={name: text for name in _TIMEOUTS if (text := sent.get(name, "").strip())},
        reuse="reuse" in sent,
        asset_ids={part: text for part in PARTS if (text := sent.get(f"{part}_asset", ""))},
    )


def form_of_job(job: Job) -> NewForm:
    """Return the form that would hand a job in again."""
    asked = str(job.options.get(PRESET))
    preset = asked if asked in PRESETS else _DEFAULT_PRESET
    same = preset_values(preset)
    wait = None if job.queue_deadline is None else (job.queue_deadline - job.created_at).total_seconds()
    seconds = {"queue_timeout_seconds": wait, "run_timeout_seconds": job.run_timeout_seconds}
    given = {name: value for name, value in job.options.items() if name in same and value != same[name]}
    return NewForm(
        preset=preset,
        options=option_texts(given),
        name=job.name,
        labels=tuple((label.key, label.value) for label in job.labels),
        timeouts={name: f"{value:g}" for name, value in seconds.items() if value is not None},
        asset_ids={"content": job.content_asset_id, "style": job.style_asset_id},
    )


def preset_values(preset: str) -> dict[str, Any]:
    """Return every option as a preset has it, but the preset itself."""
    return StyleOptions.model_validate({PRESET: preset}).model_dump(exclude={PRESET})


def field_values(form: NewForm) -> dict[str, object]:
    """Return what is typed beside pictures and options, as `SubmitFields` takes it."""
    return {
        "name": form.name or None,
        "labels": dict(form.labels),
        "reuse": form.reuse,
        **{name: _number(text) for name, text in form.timeouts.items()},
    }


def label_faults(form: NewForm) -> list[Fault]:
    """Return what a mapping of labels can no longer show: keys that are given twice."""
    return [
        Fault(f"/labels/{key}", "invalid_value", f"labels.{key} is given {count} times; give it once")
        for key, count in Counter(key for key, _ in form.labels).items()
        if count > 1
    ]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
