"""What a run made, as pandas frames, TFDV statistics and TFMA results."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.record import RunRecord
from schema.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.state import State


class Outputs:
    """What the components of a run made.

    Reading needs the run's artifacts: `conveyor gc` removes those of old runs that nothing needs.

    Args:
        state: the line's state.
        record: the run's record; None where nothing has run yet.
    """

    def __init__(self, state: State, record: RunRecord | None) -> None:
        self._state = state
        self._record = record

    @property
    def record(self) -> RunRecord:
        """The run's record: config, window, provenance, components, metrics by slice, verdict.

        Raises:
            UsageError: nothing has run yet.
        """
        if self._record is None:
            raise UsageError("the experiment must have run. Got nothing yet", hint='experiment.run("Transform")')
        return self._record

    def artifact(self, component: str, key: str, span: str | int | None = None) -> Path:
        """Returns the folder of an artifact.

        Args:
            component: the component's id, such as `Transform`.
            key: its output key, such as `transform_graph`.
            span: for an artifact a span: its number or label; by default the newest.

        Raises:
            UsageError: the run has no such artifact, or it was removed since.
        """
        artifacts = self._artifacts(component, key)
        chosen = artifacts[-1]
        if span is not None:
            named = {
                str(name): artifact
                for artifact in artifacts
                for name in (artifact["properties"].get("span"), artifact["properties"].get("label"))
            }
            if str(span) not in named:
                known = ", ".join(str(artifact["properties"].get("label")) for artifact in artifacts)
                raise UsageError(f"span must be one of {known}. Got {span!r} instead")
            chosen = named[str(span)]
        folder = Path(chosen["uri"])
        if not folder.is_dir():
            raise UsageError(
                f"{folder} must be there. Got no such folder: the artifact was removed since run {self.record.run_id}",
                hint="run it again",
            )
        return folder

    def examples(
        self, split: str = "train", *, span: str | int | None = None, limit: int | None = None
    ) -> pd.DataFrame:
        """Returns rows as they were ingested, a column a feature; a missing value is None or NaN.

        Args:
            split: `train`, `validation` or `eval`.
            span: its number or label; by default all spans, as the DataGate has let them pass where it has run.
            limit: how many rows at most.
        """
        import pandas as pd
        import tensorflow as tf

        rows = []
        for record in itertools.islice(self._records(split, span), limit):
            features = tf.train.Example.FromString(record).features.feature
            rows.append({name: _value(feature) for name, feature in features.items()})
        frame = pd.DataFrame(rows)
        return frame[sorted(frame.columns)]

    def statistics(self, split: str = "train", *, span: str | int | None = None) -> Any:
        """Returns a span's TFDV statistics, a DatasetFeatureStatisticsList; by default the newest span's."""
        import tensorflow_data_validation as tfdv

        folder = self.artifact("SpanStatisticsGen", "statistics", span) / f"Split-{split}"
        return tfdv.load_stats_binary(str(folder / "FeatureStats.pb"))

    def schema(self) -> Any:
        """Returns the data schema, a TensorFlow Metadata Schema."""
        import tensorflow_data_validation as tfdv

        return tfdv.load_schema_text(str(self.artifact("CuratedSchemaGen", "schema") / "schema.pbtxt"))

    def anomalies(self, split: str = "train", *, span: str | int | None = None) -> Any:
        """Returns a span's anomalies, a TensorFlow Metadata Anomalies; by default the newest span's."""
        from tensorflow_metadata.proto.v0 import anomalies_pb2

        folder = self.artifact("SpanExampleValidator", "anomalies", span) / f"Split-{split}"
        return anomalies_pb2.Anomalies.FromString((folder / "SchemaDiff.pb").read_bytes())

    def gate(self) -> dict[str, Any]:
        """Returns what the DataGate decided about each anomaly."""
        found: dict[str, Any] = _json(self.artifact("DataGate", "gate") / "gate.json")
        return found

    def transformed(self, split: str = "train", *, limit: int | None = None) -> pd.DataFrame:
        """Returns rows as the model sees them: a column a transformed feature, the label last.

        Args:
            split: `train`, `validation` or `eval`.
            limit: how many rows at most.
        """
        import pandas as pd

        from components.trainer.dataset import load_split
        from components.transform.plan import load_plan

        graph = str(self.artifact("Transform", "transform_graph"))
        pattern = str(self.artifact("DataGate", "examples") / f"Split-{split}" / "*")
        found = load_split([pattern], graph, max_examples=limit)
        return pd.DataFrame({**found.features, load_plan(graph).label.name: found.label})

    def hyperparameters(self) -> dict[str, Any]:
        """Returns the hyperparameters that the Tuner chose, by dotted key of the `trainer` section."""
        folder = self.artifact("Tuner", "best_hyperparameters")
        values: dict[str, Any] = _json(folder / "best_hyperparameters.txt")["values"]
        return values

    def trials(self) -> pd.DataFrame:
        """Returns the trials of the search, the best first: `trial_id`, `score`, and each hyperparameter."""
        import pandas as pd

        return pd.DataFrame(_json(self.artifact("Tuner", "tuner_results") / "tuner_results.json"))

    def history(self) -> pd.DataFrame:
        """Returns the training, a row an epoch: loss and metrics, of validation with `val_` before."""
        import pandas as pd

        frame = pd.DataFrame(_json(self.artifact("Trainer", "model_run") / "training.json")["history"])
        return frame.set_index("epoch")

    @property
    def model(self) -> Path:
        """The folder of the SavedModel."""
        return self.artifact("Trainer", "model") / "Format-Serving"

    def model_digest(self) -> str:
        """Returns the model digest of the model."""
        from serving.model_digest import model_digest

        return model_digest(self.model)

    def predictions(
        self, split: str = "eval", *, span: str | int | None = None, limit: int | None = None
    ) -> pd.DataFrame:
        """Returns what the model answers for rows, a column an output of `serving_default`, in the order of `examples`.

        Args:
            split: `train`, `validation` or `eval`.
            span: its number or label; by default all spans.
            limit: how many rows at most.
        """
        import pandas as pd
        import tensorflow as tf

        signature = tf.saved_model.load(str(self.model)).signatures["serving_default"]
        (name,) = signature.structured_input_signature[1]
        rows = itertools.islice(self._records(split, span), limit)
        parts = []
        while batch := list(itertools.islice(rows, 4096)):
            outputs = signature(**{name: tf.constant(batch)})
            parts.append(pd.DataFrame({key: list(value.numpy()) for key, value in sorted(outputs.items())}))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def evaluation(self) -> Any:
        """Returns the evaluation, a TFMA EvalResult: slicing metrics, and TFMA's views in a notebook."""
        import tensorflow_model_analysis as tfma

        return tfma.load_eval_result(str(self.artifact("Evaluator", "evaluation")))

    def metrics(self) -> pd.DataFrame:
        """Returns the metrics, a row a slice: `examples`, and each metric."""
        import pandas as pd

        from pipeline.outcome import evaluated_slices

        rows = evaluated_slices(self.record.outputs)
        if not rows:
            self.artifact("Evaluator", "evaluation")
        frame = pd.DataFrame([{"slice": row["slice"], "examples": row["examples"], **row["metrics"]} for row in rows])
        return frame.set_index("slice")

    def _artifacts(self, component: str, key: str) -> list[dict[str, Any]]:
        outputs = self.record.outputs
        if not outputs.get(component, {}).get(key):
            came = ", ".join(node for node, made in outputs.items() if made) or "nothing"
            raise UsageError(
                f"{component} must have run, to give {key}. Got a run with {came} instead",
                hint=f'experiment.run("{component}")',
            )
        return outputs[component][key]

    def _records(self, split: str, span: str | int | None) -> Iterator[bytes]:
        from data.records import read_records

        if span is not None:
            folders = [self.artifact("SpanExampleGen", "examples", span)]
        elif self.record.outputs.get("DataGate"):
            folders = [self.artifact("DataGate", "examples")]
        else:
            spans = self._artifacts("SpanExampleGen", "examples")
            folders = [self.artifact("SpanExampleGen", "examples", one["properties"]["span"]) for one in spans]
        files = [file for folder in folders for file in sorted((folder / f"Split-{split}").glob("*.gz"))]
        if not files:
            known = ", ".join(sorted(path.name.removeprefix("Split-") for path in folders[0].glob("Split-*")))
            raise UsageError(f"split must be one of {known}, and have rows. Got {split!r} instead")
        for file in files:
            yield from read_records(file)


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _value(feature: Any) -> Any:
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    if not values:
        return None
    if kind == "bytes_list":
        values = [value.decode("utf-8", "backslashreplace") for value in values]
    return values[0] if len(values) == 1 else values
