"""Whether a killed or failed run can be gone on with: what it found must be what is there now."""

from __future__ import annotations

import json
from pathlib import Path

from data.window import InputFile, SpanInput, Window, resolve_window
from pipeline import record as records
from pipeline.comparison import differences
from pipeline.inputs import RunInputs
from pipeline.record import RunRecord, run_folder
from pipeline.sources import Sources
from pipeline.state import State
from pipeline.unchanged import UNSEEN_SECTIONS
from schema.errors import ConveyorError, UsageError
from schema.loading import LoadedLine


def run_to_resume(state: State, name: str) -> RunRecord:
    """Returns the run of a line that is to be gone on with.

    Args:
        state: the line's state.
        name: a run id, its beginning, or `latest`.

    Raises:
        UsageError: there is no such run, or nothing of it is left to be done.
    """
    run = records.find([state], name)[0]
    outcome = (run.verdict or {}).get("outcome")
    if outcome not in (None, "failed"):
        raise UsageError(
            f"--resume must name a run that was killed or failed. Got {run.run_id} instead, whose verdict is {outcome}",
            hint="there is nothing to resume; run the line without --resume",
        )
    if run.options.get("as_compiled"):
        raise UsageError(
            f"--resume must name a run of the local runner. Got {run.run_id} instead, which ran --as-compiled",
            hint="a compiled pipeline does every step anew; run the line --as-compiled once more",
        )
    if not run.options:
        raise UsageError(
            f"--resume must name a run whose sources are on record. Got {run.run_id} instead, which an earlier version "
            "of Conveyor made",
            hint="run the line without --resume: what has not changed comes from the cache",
        )
    return run


def recorded_window(run: RunRecord) -> Window:
    """Returns the window that a run had."""
    return Window.from_json(json.dumps(run.window))


def check_unchanged(
    loaded: LoadedLine, state: State, run: RunRecord, inputs: RunInputs, *, looks_at_data: bool
) -> None:
    """Checks that a run that is resumed would find what the run that it goes on with has found.

    Args:
        loaded: the line config as it is now.
        state: the line's state.
        run: the run to go on with.
        inputs: what there is now.
        looks_at_data: whether the run may have to read its spans.

    Raises:
        UsageError: something differs; all that differs is named.
    """
    found = _config(loaded, run)
    if run.schema_digest != inputs.schema_digest:
        change = "is gone" if not inputs.schema_digest else "has changed" if run.schema_digest else "is new"
        found.append(f"the curated schema {inputs.schema_file} {change}")
    if looks_at_data:
        excluded = inputs.exclusions.sha256 if inputs.exclusions else None
        if (run.exclusions or {}).get("digest") != excluded:
            found.append("the rows to be left out, of --exclude-rows or examples.exclude_rows, are others")
        found += _data(loaded, recorded_window(run))
    before, now = Sources.read(run_folder(state, run.run_id)), inputs.sources
    if before is None or now is None:
        found.append(f"the sources of {run.run_id} are not on record")
    else:
        found += [change.text for change in now.changes_since(before)]
    if found:
        raise UsageError(
            f"run {run.run_id} must find what it found before, to be resumed. "
            f"Got {len(found)} difference{'s' if len(found) > 1 else ''} instead:\n  " + "\n  ".join(found),
            hint="put it back as it was; or run the line without --resume, "
            "which takes what has not changed from the cache",
        )


def _config(loaded: LoadedLine, run: RunRecord) -> list[str]:
    now = loaded.line.model_dump(mode="json", by_alias=True)
    seen = [{k: v for k, v in config.items() if k not in UNSEEN_SECTIONS} for config in (run.config, now)]
    return [
        f"config {key}: {json.dumps(before, ensure_ascii=False)} -> {json.dumps(after, ensure_ascii=False)}"
        for key, (before, after) in differences(*seen).items()
    ]


def _data(loaded: LoadedLine, window: Window) -> list[str]:
    try:
        now = resolve_window(loaded.line.examples, loaded.base_dir, window.spans[-1].label)
    except ConveyorError as error:
        return [str(error).splitlines()[0]]
    there = {span.span: span for span in now.spans}
    found = [] if now.format == window.format else [f"the data's format: {window.format} -> {now.format}"]
    for span in window.spans:
        found += _span(span, there[span.span]) if span.span in there else [f"span {span.label} is gone"]
    return found


def _span(before: SpanInput, now: SpanInput) -> list[str]:
    same = before.fingerprint == now.fingerprint and before.version == now.version
    if same and all(Path(file.path).exists() for file in before.files):
        return []
    files: list[dict[str, InputFile]] = [{file.path: file for file in span.files} for span in (before, now)]
    found = []
    for path in sorted({*files[0], *files[1]}):
        old, new = files[0].get(path), files[1].get(path)
        if old is None or new is None:
            found.append(f"span {before.label}: file {path} is {'new' if old is None else 'gone'}")
        elif old.sha256 != new.sha256:
            found.append(f"span {before.label}: file {path} has another content")
    return found or [f"span {before.label} has another fingerprint"]
