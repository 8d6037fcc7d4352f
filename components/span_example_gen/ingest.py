"""The plan of an ingest: which spans are in the store, which must be read, in which types, under which keys."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.span_example_gen.encoding import EncodeJob, encode_span
from components.span_example_gen.matching import Excluded, MatchJob, match_span
from components.span_example_gen.staging import StagedSpan, StageJob, stage, staged_spans
from components.span_example_gen.store import QUARANTINE, SpanStore
from data.column_types import ColumnProfile, decide_types, span_types
from data.columns import require_columns
from data.exclusions import ExclusionFile, check_columns
from data.label import check_label
from data.quarantine import check_share, quarantine_name, read_quarantine
from data.whole_file import link
from data.window import SpanInput, Window, window_of
from schema.base import Handover, sha256_json
from schema.errors import SpanError
from schema.ingest import ColumnType, ExamplesConfig, Label

RunAll = Callable[[Callable[[Any], Any], Sequence[Any], int], None]
"""Calls a function for each job, somewhere; the last argument is how many bytes of input they read."""


class IngestRequest(Handover):
    """What SpanExampleGen is asked for."""

    window: Window
    """The spans."""
    examples: ExamplesConfig
    """The `examples` section."""
    label: Label
    """The `label` section."""
    column_types: dict[str, str]
    """Types of the curated schema; may be empty."""
    code_digest: str
    """Changes with the sources of this component."""
    state_dir: str
    """The line's state folder."""
    exclusions: ExclusionFile | None = None
    """Rows to leave out, or None."""

    @classmethod
    def from_exec_properties(cls, properties: Mapping[str, Any]) -> IngestRequest:
        """Returns the request that a component's exec properties stand for; an open window is found now."""
        config = json.loads(properties["config"])
        examples = ExamplesConfig(**config["examples"])
        return cls(
            window=window_of(properties["window"], examples),
            examples=examples,
            label=Label(**config["label"]),
            column_types=json.loads(properties.get("column_types") or "{}"),
            code_digest=properties["code_digest"],
            state_dir=properties["state_dir"],
            exclusions=ExclusionFile.model_validate_json(given) if (given := properties.get("exclusions")) else None,
        )


@dataclasses.dataclass(frozen=True)
class Ingested:
    """What became of a window.

    Attributes:
        sidecars: the sidecar of each span, oldest first.
        unmatched: the number of conditions for rows to leave out that no row of the window meets.
    """

    sidecars: list[dict[str, Any]]
    unmatched: int = 0


def ingest(request: IngestRequest, run_all: RunAll, *, anew: bool = False) -> Ingested:
    """Makes sure that every span of the window is in the store.

    Args:
        request: what to ingest.
        run_all: how to run jobs: in a Beam pipeline, or right here.
        anew: whether the window's spans are read again although they are in the store.

    Raises:
        ConfigError: the config does not fit the data.
        SpanError: no span has a row.
        DataRejected: a span has too great a share of bad rows.
    """
    store = SpanStore(request.state_dir)
    store.remove_leftovers()
    if anew:
        store.forget_matches()
        for span in request.window.spans:
            store.forget_profile(_profile_key(request, span))
    with store.staging() as folder:
        staged = _Staged(request, store, folder, run_all)
        profiles = _profiles(request, store, staged)
        types = decide_types(
            profiles.values(), request.examples.columns, request.column_types, request.examples.max_bad_rows
        )
        if not types:
            raise SpanError(
                f"at least one span must have columns. Got {len(profiles)} empty files instead",
                hint="add data to " + request.window.spans[-1].files[-1].path,
            )
        label_type = check_label(request.label, types)
        require_columns(request.examples.split_by, types, "examples.split_by")
        fitted = {number: span_types(types, profile) for number, profile in profiles.items()}
        excluded = Excluded.none()
        if request.exclusions is not None:
            check_columns(request.exclusions, tuple(types))
            excluded = _excluded(request, request.exclusions, store, staged, fitted)
        keys: dict[int, str] = {}
        todo: list[SpanInput] = []
        for span in request.window.spans:
            keys[span.span] = _ingest_key(request, span, fitted[span.span], excluded.digests.get(span.span))
            if anew:
                store.forget(keys[span.span])
            if store.sidecar(keys[span.span]) is None:
                todo.append(span)
        staged.need(todo)
        jobs = [
            _encode_job(request, staged, span, keys[span.span], fitted[span.span], label_type, excluded.digests)
            for span in todo
        ]
        run_all(encode_span, jobs, _input_bytes(todo))
    return Ingested(_checked(request, store, keys), excluded.unmatched)


class _Staged:
    """The staging folder: spans that were read, and reading of those that were not."""

    def __init__(self, request: IngestRequest, store: SpanStore, folder: Path, run_all: RunAll) -> None:
        self._request = request
        self._folder = folder
        self._run_all = run_all
        self._spans: dict[int, tuple[Path, StagedSpan]] = {}
        self._rounds = 0

    def need(self, spans: Iterable[SpanInput]) -> None:
        """Reads those of the spans that were not read yet."""
        missing = [span for span in spans if span.span not in self._spans]
        if not missing:
            return
        self._rounds += 1
        examples = self._request.examples
        whole = examples.span_by is not None
        jobs = [
            StageJob(
                folder=str(self._folder / f"round-{self._rounds}-{group[0].span}"),
                files=group[0].files,
                format=self._request.window.format,
                missing_values=examples.missing_values,
                span_by=examples.span_by,
                spans=tuple(span.span for span in group),
            )
            for group in ([missing] if whole else [[span] for span in missing])
        ]
        self._run_all(stage, jobs, _input_bytes(missing))
        for job in jobs:
            for number, item in staged_spans(Path(job.folder)).items():
                self._spans[number] = Path(job.folder), item

    def match(self, jobs: Sequence[MatchJob], spans: Sequence[SpanInput]) -> None:
        """Looks for rows to leave out in spans that were read."""
        self._run_all(match_span, jobs, _input_bytes(spans))

    def __getitem__(self, span: int) -> tuple[Path, StagedSpan]:
        return self._spans[span]


def _input_bytes(spans: Sequence[SpanInput]) -> int:
    return sum({file.path: file.bytes for span in spans for file in span.files}.values())


def _profiles(request: IngestRequest, store: SpanStore, staged: _Staged) -> dict[int, dict[str, ColumnProfile]]:
    """Returns the column profiles of every span, from the store or by reading."""
    keys = {span.span: _profile_key(request, span) for span in request.window.spans}
    found = {number: store.profile(key) for number, key in keys.items()}
    unknown = [span for span in request.window.spans if found[span.span] is None]
    staged.need(unknown)
    for span in unknown:
        profiles = staged[span.span][1].profiles
        store.keep_profile(keys[span.span], profiles)
        found[span.span] = profiles
    return {number: profiles for number, profiles in found.items() if profiles is not None}


def _reading(request: IngestRequest, span: SpanInput) -> dict[str, Any]:
    """Returns what decides how a span's rows are read."""
    examples = request.examples
    return {
        "fingerprint": span.fingerprint,
        "format": request.window.format,
        "missing_values": sorted(set(examples.missing_values)),
        "span_by": examples.span_by.model_dump() if examples.span_by else None,
        "code": request.code_digest,
    }


def _profile_key(request: IngestRequest, span: SpanInput) -> str:
    return sha256_json(_reading(request, span))


def _excluded(
    request: IngestRequest,
    file: ExclusionFile,
    store: SpanStore,
    staged: _Staged,
    fitted: Mapping[int, Mapping[str, ColumnType]],
) -> Excluded:
    """Finds the spans that have rows to leave out; those that nobody has looked through yet are read."""
    keys = {
        span.span: sha256_json(
            {
                **_reading(request, span),
                "exclusions": file.sha256,
                "types": {name: fitted[span.span].get(name) for name in file.columns},
            }
        )
        for span in request.window.spans
    }
    unknown = [span for span in request.window.spans if store.matches(keys[span.span]) is None]
    staged.need(unknown)
    jobs = []
    for span in unknown:
        folder, item = staged[span.span]
        jobs.append(
            MatchJob(
                folder=str(folder),
                parts=tuple(item.parts),
                types=dict(fitted[span.span]),
                exclusions=file,
                target=str(store.matches_file(keys[span.span])),
            )
        )
    staged.match(jobs, unknown)
    return Excluded.of(file.read(), {number: store.matches(key) or [] for number, key in keys.items()})


def _ingest_key(request: IngestRequest, span: SpanInput, types: Mapping[str, ColumnType], excluded: str | None) -> str:
    """Returns the key under which a span's records are stored: whatever they depend on is in it.

    Of rows to leave out that is what is left out of this span, so that the other spans stay as they are.
    """
    return sha256_json(
        {
            **_reading(request, span),
            **({"excluded": excluded} if excluded else {}),
            **({"sample": request.examples.sample} if request.examples.sample is not None else {}),
            "span": [span.span, span.version, span.label],
            "types": dict(types),
            "label": [request.label.name, request.label.expression],
            "splits": request.examples.splits,
            "split_by": list(request.examples.split_by),
        }
    )


def _encode_job(
    request: IngestRequest,
    staged: _Staged,
    span: SpanInput,
    key: str,
    types: dict[str, ColumnType],
    label_type: ColumnType,
    excluded: Mapping[int, str],
) -> EncodeJob:
    folder, item = staged[span.span]
    return EncodeJob(
        state_dir=request.state_dir,
        folder=str(folder),
        parts=tuple(item.parts),
        files=tuple(file.path for file in span.files),
        span=span.span,
        version=span.version,
        name=span.label,
        fingerprint=span.fingerprint,
        ingest_key=key,
        types=types,
        label=request.label,
        label_type=label_type,
        splits=request.examples.splits,
        split_by=request.examples.split_by,
        sample=request.examples.sample,
        exclusions=request.exclusions if span.span in excluded else None,
    )


def _checked(request: IngestRequest, store: SpanStore, keys: Mapping[int, str]) -> list[dict[str, Any]]:
    """Puts quarantine files where people look for them, and rejects data with too many bad rows."""
    sidecars = []
    for span in request.window.spans:
        entry = store.entry(keys[span.span])
        sidecar = store.sidecar(keys[span.span])
        assert sidecar is not None, f"the store must have span {span.label} by now"
        sidecars.append(sidecar)
        if not sidecar["bad_rows"]:
            continue
        target = store.state_dir / "quarantine" / quarantine_name(span.label, span.fingerprint)
        link(entry / QUARANTINE, target)
        total = sidecar["bad_rows"] + sidecar["unlabelled_rows"] + sum(sidecar["rows"].values())
        # Bad rows are those of the whole span: what cannot be read is in no sample.
        total += sidecar.get("unsampled_rows", 0)
        examples = read_quarantine(entry / QUARANTINE, limit=5)
        check_share(span.label, sidecar["bad_rows"], total, request.examples.max_bad_rows, examples, str(target))
    if not any(sum(sidecar["rows"].values()) for sidecar in sidecars):
        unlabelled, excluded, unsampled = (
            sum(sidecar.get(key, 0) for sidecar in sidecars)
            for key in ("unlabelled_rows", "excluded_rows", "unsampled_rows")
        )
        raise SpanError(
            f"the window must have at least one row with a label. Got {len(sidecars)} spans without one instead"
            f" ({unlabelled} rows have no label, {excluded} are excluded, {unsampled} are outside of the sample)",
            hint="check label.name, label.expression, examples.exclude_rows and examples.sample, or add data",
        )
    return sidecars
