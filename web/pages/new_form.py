"""The form of 'New job': its fields as texts, what they say, and the form that would hand a job in again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from werkzeug.datastructures import MultiDict

from shared.errors import Fault
from shared.options import PRESETS, Method, StyleOptions, known_options
from shared.status import DEFAULT_PRIORITY, JobKind
from shared.texts import field_schemas, read_texts
from web.access.sessions import CSRF_FIELD
from web.db.models import Job
from web.jobs.fields import SubmitFields, timeouts_of
from web.jobs.submission import PARTS
from web.pages.option_fields import PRESET, OptionField, option_fields, option_texts, option_values

#: The button that was pressed.
ACTION = "action"
#: What the job begins with; chosen beside the draft, not in the list of options.
INIT = "init"
#: The options that only 'fast' knows: they stand beside the draft.
DRAFT_OPTIONS = known_options(Method.FAST) - known_options(Method.GATYS)
_FIELDS = field_schemas(SubmitFields)
#: Fields that the form has in another shape, or not at all.
_NOT_TYPED = frozenset({"labels", "kind", "replaces", "webhook"})
_TIMEOUTS = tuple(name for name, schema in _FIELDS.items() if schema["type"] == "number")
_DEFAULT_PRESET = str(StyleOptions.model_fields[PRESET].default)


@dataclass(frozen=True)
class NewForm:
    """The fields as texts. Options that are not in `options` are as the preset has them."""

    preset: str = _DEFAULT_PRESET
    options: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    timeouts: Mapping[str, str] = field(default_factory=dict)
    priority: str = ""
    reuse: bool = True
    #: Part → id of the asset, or name of the example, that is used unless a file is chosen.
    asset_ids: Mapping[str, str] = field(default_factory=dict)


def form_options() -> list[OptionField]:
    """Return the options of the form: the optimisation's, and those of what it may start from."""
    return option_fields(init="fast")


def form_names(fields: Iterable[OptionField]) -> set[str]:
    """Return the names of all inputs of the form."""
    parts = {name for part in PARTS for name in (part, f"{part}_asset")}
    own = {ACTION, CSRF_FIELD, PRESET, "label_key", "label_value", *_FIELDS} - _NOT_TYPED
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
        priority=sent.get("priority", "").strip(),
        reuse="reuse" in sent,
        # What is picked from the strip comes after what the half had.
        asset_ids={part: ids[-1] for part in PARTS if (ids := _given(sent, f"{part}_asset"))},
    )


def _given(sent: MultiDict[str, str], name: str) -> list[str]:
    return [text for text in sent.getlist(name) if text]


def asked_options(form: NewForm, fields: Sequence[OptionField], kind: JobKind) -> dict[str, object]:
    """Return the options that a form asks for, of those that a draft knows, or a job.

    What stands beside the draft is meant for the job only where that starts from the draft.
    """
    given = option_values(fields, form.options)
    if kind is JobKind.DRAFT:
        known = known_options(Method.FAST)
        preset = preset_values(form.preset) if form.preset in PRESETS else {}
        return {name: value for name, value in {**preset, **given}.items() if name in known}
    left_out = frozenset() if given.get(INIT) == "fast" else DRAFT_OPTIONS
    return {PRESET: form.preset} | {name: value for name, value in given.items() if name not in left_out}


def preset_values(preset: str) -> dict[str, Any]:
    """Return every option that goes with a preset as it has it, but the preset itself."""
    values = StyleOptions.model_validate({PRESET: preset}).shown()
    return {name: value for name, value in values.items() if name not in (PRESET, "method")}


def field_values(form: NewForm) -> dict[str, object]:
    """Return what is typed beside pictures and options, as `SubmitFields` takes it."""
    return {
        "name": form.name or None,
        "labels": dict(form.labels),
        "reuse": form.reuse,
        **read_texts(
            SubmitFields, {**form.timeouts, **({"priority": form.priority} if form.priority else {})}
        ),
    }


def label_faults(form: NewForm) -> list[Fault]:
    """Return what a mapping of labels can no longer show: keys that are given twice."""
    return [
        Fault(f"/labels/{key}", "invalid_value", f"the label '{key}' is given {count} times; give it once")
        for key, count in Counter(key for key, _ in form.labels).items()
        if count > 1
    ]


def form_of_job(job: Job) -> NewForm:
    """Return the form that would hand a job in again; a fast one, as one that optimises its picture."""
    asked = str(job.options.get(PRESET))
    preset = asked if asked in PRESETS else _DEFAULT_PRESET
    usual = StyleOptions().model_dump() | preset_values(preset)
    names = {entry.name for entry in form_options()}
    given = {name: value for name, value in job.options.items() if name in names and value != usual[name]}
    if job.options.get("method") == Method.FAST:
        given["init"] = "fast"
    return NewForm(
        preset=preset,
        options=option_texts(given),
        name=job.name,
        labels=tuple((label.key, label.value) for label in job.labels),
        timeouts={name: f"{seconds:g}" for name, seconds in timeouts_of(job).items()},
        priority="" if job.priority == DEFAULT_PRIORITY else str(job.priority),
        asset_ids={"content": job.content_asset_id, "style": job.style_asset_id},
    )
