"""Executor of CuratedSchemaGen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

from components.curated_schema_gen import curated, evidence, inference
from components.span_statistics_gen import artifacts

SCHEMA_FILE = "schema.pbtxt"


class Executor(base_executor.BaseExecutor):
    """Writes the curated schema, or infers one and writes it out for review as well."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `CuratedSchemaGen`."""
        from google.protobuf import text_format

        config = json.loads(exec_properties["config"])
        label, columns = config["label"]["name"], config.get("examples", {}).get("columns", {})
        file = exec_properties.get("schema_file") or ""
        (output,) = output_dict["schema"]
        text = exec_properties.get("schema_text")
        if text is None and file and os.path.exists(file):
            text = Path(file).read_text(encoding="utf-8")
        if text is not None:
            schema = curated.parse_schema(text, file)
            curated.check_line(schema, text, file, label, columns)
            source = "curated"
        else:
            uris = [span.uri for span in artifacts.by_span(input_dict["statistics"])]
            schema = inference.infer_schema(evidence.collect_directories(uris), label, columns)
            source = "inferred"
        schema = curated.apply_config(schema, label, config.get("validation", {}).get("drift_comparator", {}), file)
        body = text_format.MessageToString(schema, as_utf8=True)
        _write(Path(output.uri) / SCHEMA_FILE, body)
        if source == "inferred":
            review = Path(exec_properties["state_dir"]) / "schema" / "inferred.pbtxt"
            _write(review, _review_header(file) + body)
        output.set_string_custom_property("source", source)


def _review_header(file: str) -> str:
    target = file or "schema.pbtxt next to the line.yaml"
    return f"""\
# This schema was inferred from the data; nobody has reviewed it. To curate it:
#   1. copy it to {target}
#   2. go through every feature: is the type right, must it be there (presence), which values or range are right
#      (string_domain, int_domain, float_domain), how far may it drift from span to span (drift_comparator), and is
#      it known when the model is asked (if not: not_in_environment: "SERVING")?
#   3. commit it. `conveyor schema diff` then shows what the data says otherwise; `conveyor schema update` takes it
#      over.
# Comments such as this one are kept.
"""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
