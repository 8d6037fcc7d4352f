"""What TFT's analyzers ask of a line's own `preprocessing_fn`, and whether a span can answer by itself."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow_transform as tft
from tensorflow_transform.beam import analysis_graph_builder, analyzer_cache
from tfx_bsl.public import tfxio

from components.dotted_path import imported_function
from components.transform import own_function
from components.transform.spans import SpanFiles
from data.fingerprint import file_sha256
from schema.base import sha256_json

FORMAT = 1
"""Part of every key: raise it when what is kept for a span changes its meaning."""

TELEMETRY = ["Conveyor", "Transform"]
_LIBRARIES = ("tensorflow", "tensorflow-transform", "tfx-bsl")


class NotBySpan(Exception):
    """The function has an analyzer to which a span cannot contribute by itself."""


@dataclass(frozen=True)
class OwnAnalyzers:
    """The analyzers of a line's own function.

    Attributes:
        function: `own_function.preprocessing_fn` with its config.
        schema: the data schema.
        source: TFXIO of the raw columns that the analyzers read.
        columns: their names.
        entries: TFT's keys of what a span contributes, one an analyzer, sorted. Each is a hash over the part of the
            graph that leads to the analyzer. None when an analyzer needs the whole window at once.
        code: SHA-256 over the source files in which the function stands, the versions of the libraries that make and
            read what is kept, and how records are decoded into the columns (a default value is not in the graph).
    """

    function: Callable[..., Any]
    schema: Any
    source: Any
    columns: tuple[str, ...]
    entries: tuple[bytes, ...] | None
    code: str

    @property
    def specs(self) -> dict[str, Any]:
        """The type of each raw column as the function gets it."""
        specs: dict[str, Any] = self.source.TensorAdapter().OriginalTypeSpecs()
        return specs

    def key_of(self, span: SpanFiles) -> str:
        """Returns the key under which a span's contributions are kept."""
        entries = [entry.hex() for entry in self.entries or ()]
        return sha256_json({"format": FORMAT, "span": span.key, "code": self.code, "entries": entries})


def own_analyzers(schema: Any, custom_config: dict[str, Any]) -> OwnAnalyzers | None:
    """Traces the function.

    Args:
        schema: the data schema.
        custom_config: see `own_function.preprocessing_fn`.

    Returns:
        Its analyzers, or None when it has none.

    Raises:
        ConfigError: the function cannot be imported.
    """
    function = functools.partial(own_function.preprocessing_fn, custom_config=custom_config)
    source = tfxio.TFExampleBeamRecord(physical_format="tfrecords_gzip", telemetry_descriptors=TELEMETRY, schema=schema)
    specs = source.TensorAdapter().OriginalTypeSpecs()
    decoded = source.TensorRepresentations()
    columns = tuple(sorted(tft.get_analyze_input_columns(function, specs)))
    if not columns:
        return None
    key = analyzer_cache.DatasetKey("span")
    entries = analysis_graph_builder.get_analysis_cache_entry_keys(function, specs, {key}, False)
    # Whether every one is there is all that TFT looks at: with each entry known, no data may be needed any more. This
    # traces the function anew, so it also finds keys that are another in each tracing.
    known = {key: analyzer_cache.DatasetCache(dict.fromkeys(entries, b""), None)}
    missing = analysis_graph_builder.get_analysis_dataset_keys(function, specs, {key}, known, False)
    return OwnAnalyzers(
        function=function,
        schema=schema,
        source=source.Project(list(columns)),
        columns=columns,
        entries=None if missing else tuple(sorted(entries)),
        code=_code(custom_config["preprocessing_fn"], {c: f"{specs[c]} {decoded[c]}" for c in columns}),
    )


def _code(path: str, columns: dict[str, str]) -> str:
    function = imported_function(path, own_function.CONFIG_KEY)
    names = {path.rpartition(".")[0], getattr(function, "__module__", None) or ""}
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in sorted(names)}
    return sha256_json(
        {
            "sources": {n: file_sha256(f) for n, f in files.items() if f and Path(f).is_file()},
            "columns": columns,
            "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        }
    )
