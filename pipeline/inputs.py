"""What a run finds before its graph is built: the window of spans, the curated schema and the code digests.

The graph itself does no I/O. What it needs to know of the world is resolved here, once, and handed over as values
that go into the exec properties and so into ML Metadata's cache keys.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from components.pusher.signing import SigningOrder
from components.tuner.earlier import EarlierSearch
from data.exclusion_formats import exclusion_file
from data.exclusions import ExclusionFile
from data.window import OpenWindow, Window, locate, resolve_window
from pipeline.code_digest import digest_of, library_versions, source_files
from pipeline.signing import signing_order
from pipeline.sources import Sources
from pipeline.state import State
from schema.base import canonical_json
from schema.errors import ConfigError
from schema.line import Line
from schema.loading import LoadedLine
from serving import releases

ENTRY_MODULES: dict[str, tuple[str, ...]] = {
    "SpanExampleGen": ("components.span_example_gen.executor",),
    "SpanStatisticsGen": ("components.span_statistics_gen.executor",),
    "CuratedSchemaGen": ("components.curated_schema_gen.executor",),
    "SpanExampleValidator": ("components.span_example_validator.executor",),
    "DataGate": ("components.data_gate.executor",),
    "Transform": ("components.transform.executor", "components.transform.preprocessing"),
    "Tuner": ("components.tuner.executor", "components.tuner.tune"),
    "Trainer": ("components.trainer.run",),
    "baseline": ("components.baseline.executor",),
    "Evaluator": ("components.evaluator.executor", "components.evaluator.eval_config"),
    "InfraValidator": ("components.infra_validator.executor", "components.infra_validator.probe"),
    "Pusher": ("components.pusher.executor",),
}


@dataclasses.dataclass(frozen=True)
class RunInputs:
    """What the graph needs to know of the world.

    Attributes:
        window: the spans to train on.
        column_types: column name to INT, FLOAT or BYTES, as the curated schema has them; empty without one.
        schema_file: the curated schema, absolute.
        schema_digest: SHA-256 of the curated schema's bytes, or an empty string when there is no such file.
        code_digests: node id to code digest.
        schema_text: the curated schema itself, for steps that do not see its file.
        warm_start: folder and model digest of the model now served, for a line that starts its training from it.
        selection: what the window was asked for: `all`, `latest`, or a span.
        open_window: given when the run itself is to find the window, as it has to under a schedule.
        sources: the files that the code digests are over.
        search: an earlier search for hyperparameters that is to be repeated or taken over.
        signing: how the release is to be signed, or None.
        exclusions: the file of rows to leave out, or None.
    """

    window: Window
    column_types: dict[str, str]
    schema_file: Path
    schema_digest: str
    code_digests: dict[str, str]
    schema_text: str | None = None
    warm_start: tuple[str, str] | None = None
    selection: str = "all"
    open_window: OpenWindow | None = None
    sources: Sources | None = None
    search: EarlierSearch | None = None
    signing: SigningOrder | None = None
    exclusions: ExclusionFile | None = None

    @property
    def input_bytes(self) -> int:
        """The size of the window's files."""
        return sum(file.bytes for span in self.window.spans for file in span.files)

    @property
    def column_types_json(self) -> str:
        """The column types as canonical JSON."""
        return canonical_json(self.column_types)


def resolve_inputs(
    loaded: LoadedLine,
    state: State,
    *,
    span: str = "all",
    window: Window | None = None,
    exclude_rows: Path | None = None,
) -> RunInputs:
    """Looks at the data, the curated schema and the sources.

    Args:
        loaded: the line config and where it was read.
        state: the line's state.
        span: `all`, `latest`, or a span's number or label: the newest span of the window.
        window: the spans, where they are known: then the data is not looked at.
        exclude_rows: the file of rows to leave out, instead of that of `examples.exclude_rows`.

    Raises:
        SpanError: no span, or one is missing.
        ConfigError: the curated schema cannot be read.
        ReleaseError: the release ledger is damaged.
    """
    schema_file = (loaded.base_dir / loaded.line.schema_.file).resolve()
    content = schema_file.read_bytes() if schema_file.is_file() else b""
    files, libraries = node_sources(loaded.line), library_versions()
    return RunInputs(
        window=window or resolve_window(loaded.line.examples, loaded.base_dir, span),
        column_types=_column_types(schema_file, content),
        schema_file=schema_file,
        schema_digest=hashlib.sha256(content).hexdigest() if content else "",
        code_digests={node: digest_of(sources, libraries) for node, sources in files.items()},
        warm_start=_served(loaded.line, state) if loaded.line.trainer.warm_start else None,
        selection=span,
        sources=Sources.of(files),
        signing=signing_order(loaded),
        exclusions=_exclusions(loaded, exclude_rows),
    )


def _exclusions(loaded: LoadedLine, given: Path | None) -> ExclusionFile | None:
    examples = loaded.line.examples
    if given is not None:
        return exclusion_file(given.absolute(), examples.missing_values)
    if examples.exclude_rows is None:
        return None
    path = locate(examples.exclude_rows, loaded.base_dir, "examples.exclude_rows")
    return exclusion_file(Path(path), examples.missing_values)


def _served(line: Line, state: State) -> tuple[str, str] | None:
    live = releases.live(state.ledger)
    if live is None or live.model_digest is None:
        return None
    return str(state.base_path(line.pusher.push_destination) / str(live.version)), live.model_digest


def node_sources(line: Line) -> dict[str, dict[str, Path]]:
    """Returns node id to module name to source file, a line's own functions included."""
    own = {
        "Transform": [line.transform.preprocessing_fn],
        "Tuner": [line.trainer.model.builder],
        "Trainer": [line.trainer.model.builder],
    }
    return {
        node: source_files(modules, [name for name in own.get(node, []) if name])
        for node, modules in ENTRY_MODULES.items()
    }


def _column_types(schema_file: Path, content: bytes) -> dict[str, str]:
    if not content:
        return {}
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    try:
        schema = text_format.Parse(content.decode(), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{schema_file}: the curated schema must be a TensorFlow Metadata text proto. Got {error} instead",
            hint="mend that line, or move the file away to have a schema inferred",
        ) from None
    return {feature.name: schema_pb2.FeatureType.Name(feature.type) for feature in schema.feature}
