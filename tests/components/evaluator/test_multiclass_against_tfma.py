"""Every metric of a multiclass line, held against stock TFMA's of a model that the line taxi-payment trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.evaluator.metric_names import PER_CLASS, metric_names
from components.evaluator.results import SliceResult, read_evaluation
from tests.components.evaluator.stock_tfma import CONFUSION, EXACT, ROUNDING, close, number, stock, stock_metric
from tests.e2e.line_runs import Workplace, taxi_rows, write_csv

YEAR_2014 = 1388534400
LINE: dict[str, Any] = {
    "examples": {"input": "trips.csv", "window": None},
    "tuner": {"when": "never"},
    "trainer": {"epochs": 3, "learning_rate": 0.01, "model": {"hidden_units": [16]}},
    "infra_validator": {"p99_latency_ms": 60_000, "num_examples": 8},
    "evaluator": {
        "slicing_specs": [
            {"feature_keys": ["trip_miles"]},
            {"feature_keys": ["trip_miles"], "feature_values": {"trip_start_day": "7"}},
        ],
        "thresholds": {"accuracy": {"value_threshold": {"lower_bound": 0.5}, "change_threshold": None}},
        "min_slice_size": 1,
    },
}


def miles_range(miles: float) -> str:
    """The ranges of the line taxi-payment."""
    return "short" if miles < 1 else "medium" if miles < 5 else "long"


@dataclass(frozen=True)
class Payments:
    """The line taxi-payment, run on a sample, and what its model says of the eval split, row by row.

    Attributes:
        slices: what our Evaluator found.
        classes: class names in the model's order.
        label: class index, (rows,); rows of no class of the model are left out.
        probabilities: (rows, classes).
        rows: the sliced columns of each row, by range of trip_miles.
        results: stock TFMA's result by what it was given for predictions.
    """

    slices: tuple[SliceResult, ...]
    classes: list[str]
    label: np.ndarray
    probabilities: np.ndarray
    rows: list[dict[str, Any]]
    results: dict[str, Any]

    def stock(self, model: str, ours: SliceResult) -> dict[str, dict[str, Any]]:
        """What TFMA found in a slice of ours: class (`classId:0`, or an empty text for all) to metric to value."""
        key = tuple(sorted(("miles_range" if c == "trip_miles" else c, value) for c, value in ours.key))
        return dict(self.results[model].slicing_metrics)[key][""]

    def confusion(self, ours: SliceResult) -> np.ndarray:
        """TFMA's confusion matrix of a slice, (class, most probable class)."""
        matrix = np.zeros((len(self.classes), len(self.classes)))
        plot = dict(self.results["probabilities"].plots)
        key = tuple(sorted(("miles_range" if c == "trip_miles" else c, value) for c, value in ours.key))
        (at_zero,) = plot[key][""][""]["multiClassConfusionMatrixAtThresholds"]["matrices"]
        for entry in at_zero["entries"]:
            cell = entry.get("actualClassId", 0), entry.get("predictedClassId", 0)
            matrix[cell] = entry["numWeightedExamples"]
        return matrix

    def of(self, ours: SliceResult) -> np.ndarray:
        """Which rows are in a slice, bool (rows,)."""
        return np.asarray([all(row[column] == value for column, value in ours.key) for row in self.rows])


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Payments:
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("payments")
    write_csv(folder / "trips.csv", [r for r in taxi_rows() if int(r["trip_start_timestamp"]) < YEAR_2014])
    record = Workplace(folder).shipped("taxi-payment", **LINE).run()
    outputs = {key: entry for node in record["nodes"] for key, entry in node["outputs"].items()}
    uri = {key: Path(outputs[key][-1]["uri"]) for key in ("model", "examples", "evaluation")}
    model = folder / "judged"
    save_with_most_probable(uri["model"] / "Format-Serving", model, "payment_type_xf")
    loaded = tf.saved_model.load(str(model))

    files = sorted(str(path) for path in (uri["examples"] / "Split-eval").glob("*"))
    serialized = tf.constant(list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()))
    label = loaded.signatures["evaluation"](examples=serialized)["payment_type_xf"].numpy()
    known, rows = label >= 0, []
    # TFMA slices a number by each of its values, and would take a label that there is not for a class
    with tf.io.TFRecordWriter(str(folder / "stock.gz"), "GZIP") as writer:
        for each in serialized.numpy()[known]:
            example = tf.train.Example.FromString(each)
            feature = example.features.feature
            rows.append(
                {
                    "trip_miles": miles_range(feature["trip_miles"].float_list.value[0]),
                    "trip_start_day": feature["trip_start_day"].int64_list.value[0],
                }
            )
            feature["miles_range"].bytes_list.value.append(rows[-1]["trip_miles"].encode())
            writer.write(example.SerializeToString())
    outputs = loaded.signatures["serving_default"](examples=serialized[known])
    classes = [name.decode() for name in outputs["classes"][0].numpy()]
    config = stock_multiclass(len(classes), occurring=sorted(set(label[known].tolist())))
    results = stock(folder / "stock", config, dict.fromkeys(KEYS, model), folder / "stock.gz")
    return Payments(
        read_evaluation(uri["evaluation"]).slices,
        classes,
        label[known],
        outputs["probabilities"].numpy(),
        rows,
        dict(zip(KEYS, results.get_results(), strict=True)),
    )


KEYS = {
    "probabilities": "payment_type_xf",
    "of_one_hot": "one_hot",
    "most_probable": "payment_type_xf",
}
"""Name of a model in TFMA's config, to the label that it is given; see `save_with_most_probable`."""


def stock_multiclass(classes: int, occurring: list[int]) -> dict[str, Any]:
    """TFMA's config: metrics over all classes, and by class with their macro averages over those that occur."""
    model = {
        "modelType": "tf_generic",
        "signatureName": "serving_default",
        "preprocessingFunctionNames": ["evaluation"],
    }
    predictions = {"of_one_hot": "probabilities"}
    by_class = {
        "binarize": {"classIds": {"values": list(range(classes))}},
        "aggregate": {"macroAverage": True, "classWeights": {str(c): 1.0 for c in occurring}},
    }
    return {
        "modelSpecs": [
            {**model, "name": name, "labelKey": label, "predictionKey": predictions.get(name, name)}
            for name, label in KEYS.items()
        ],
        "slicingSpecs": [
            {},
            {"featureKeys": ["miles_range"]},
            {"featureKeys": ["miles_range"], "featureValues": {"trip_start_day": "7"}},
        ],
        "options": {"includeDefaultMetrics": False},
        "metricsSpecs": [
            {
                "modelNames": ["probabilities"],
                "metrics": [
                    stock_metric("example_count", "ExampleCount"),
                    stock_metric("accuracy", "SparseCategoricalAccuracy"),
                    stock_metric("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"),
                    stock_metric("confusion", "MultiClassConfusionMatrixPlot", thresholds=[0.0]),
                ],
            },
            {
                "modelNames": ["of_one_hot"],
                "metrics": [stock_metric("sparse_categorical_crossentropy", "CategoricalCrossEntropy")],
            },
            {"modelNames": ["probabilities"], "metrics": [stock_metric("auc", "AUC")], **by_class},
            {
                "modelNames": ["most_probable"],
                "metrics": [stock_metric(name, CONFUSION[name]) for name in ("precision", "recall", "f1")],
                **by_class,
            },
        ],
    }


def save_with_most_probable(trained: Path, target: Path, label: str) -> None:
    """A trained classifier with two more outputs: 1 for the most probable class, and the label as such a vector.

    TFMA's metrics of a class know a decision threshold and no most probable class; of such a vector they are the same.
    """
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trained = tf.saved_model.load(str(trained))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples: Any) -> Any:
            out = self.trained.signatures["serving_default"](examples=examples)
            p = out["probabilities"]
            top = tf.one_hot(tf.argmax(p, 1), p.shape[1])
            return {"probabilities": p, "most_probable": top, "classes": out["classes"]}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def evaluation(self, examples: Any) -> Any:
            index = self.trained.signatures["evaluation"](examples=examples)[label]
            width = self.trained.signatures["serving_default"](examples=examples)["probabilities"].shape[1]
            return {label: index, "one_hot": tf.one_hot(index, width)}

    model = Model()
    signatures = {"serving_default": model.serve, "evaluation": model.evaluation}
    tf.saved_model.save(model, str(target), signatures=signatures)


MACRO = "macro_average: true\n_"


def pairs(score: np.ndarray, positive: np.ndarray) -> tuple[float, float, float]:
    """The area under the ROC curve pair by pair; and by how much ours, and TFMA's, may be off.

    A pair within a bucket counts as a tie. Our buckets are 1/4096 of a logit wide, TFMA's 1e-4 of a probability.
    """
    p = score.astype(np.float64)
    logit = np.log(p) - np.log1p(-p)
    up, down = p[positive][:, np.newaxis], p[~positive][np.newaxis]
    ours = np.abs(logit[positive][:, np.newaxis] - logit[~positive][np.newaxis]) <= 1 / 4096
    theirs = np.abs(up - down) <= 1e-4
    return float((0.5 * (np.sign(up - down) + 1)).mean()), float(ours.mean()) / 2, float(theirs.mean()) / 2


@pytest.mark.slow
def test_what_is_over_all_classes(payments: Payments) -> None:
    assert len(payments.slices) == 7
    for ours in payments.slices:
        theirs = payments.stock("probabilities", ours)[""]
        confusion = payments.confusion(ours)
        assert ours.examples == int(ours.metrics["example_count"] or 0) == number(theirs["example_count"])
        assert close(ours.metrics["accuracy"], number(theirs["accuracy"]), ROUNDING)
        assert close(ours.metrics["accuracy"], np.trace(confusion) / confusion.sum(), EXACT)
        name = "sparse_categorical_crossentropy"
        for model in ("probabilities", "of_one_hot"):
            assert close(ours.metrics[name], number(payments.stock(model, ours)[""][name]), ROUNDING), (ours, model)


@pytest.mark.slow
def test_what_is_by_class_and_macro(payments: Payments) -> None:
    compared = {"example_count", "accuracy", "sparse_categorical_crossentropy"}
    averaged = set()
    for ours in payments.slices:
        confusion, label = payments.confusion(ours), payments.label[payments.of(ours)]
        assert len(label) == ours.examples
        count = np.bincount(label, minlength=len(payments.classes))
        areas, tops = payments.stock("probabilities", ours), payments.stock("most_probable", ours)
        of_class: dict[str, list[float]] = {name: [] for name in PER_CLASS if name != "example_count"}
        slack = 0.0
        for c, name in enumerate(payments.classes):
            values = {metric: number(value) for metric, value in tops[f"classId:{c}"].items()}
            hits, said = confusion[c, c], confusion[:, c].sum()
            assert ours.metrics[f"example_count/{name}"] == confusion[c].sum() == count[c]
            if count[c] and values["precision"] is None:
                assert not said
                values["precision"] = 0.0  # by our definition: else a class never said would be left out of the mean
            counted = (hits, said), (hits, count[c]), (2 * hits, count[c] + said)
            for metric, (a, b) in zip(("precision", "recall", "f1"), counted, strict=True):
                assert close(ours.metrics[f"{metric}/{name}"], values[metric], EXACT), (ours.slice, metric, name)
                assert close(ours.metrics[f"{metric}/{name}"], a / b if b else 0.0 if count[c] else None, EXACT)
            values["auc"] = number(areas[f"classId:{c}"]["auc"])
            area = ours.metrics[f"auc/{name}"]
            if area is None:
                assert values["auc"] == 0.0 and count[c] in (0, ours.examples)  # TFMA's area where there is none
            else:
                exact, off, stock_off = pairs(payments.probabilities[payments.of(ours), c], label == c)
                assert abs(area - exact) <= off + EXACT, (ours.slice, name)
                assert abs(area - (values["auc"] or 0.0)) <= off + stock_off + EXACT, (ours.slice, name)
                slack += off + stock_off
            for metric in of_class:
                value = values[metric]
                if count[c] and value is not None and ours.metrics[f"{metric}/{name}"] is not None:
                    of_class[metric].append(value)
            compared |= {f"{metric}/{name}" for metric in PER_CLASS}
        for metric, values_ in of_class.items():
            tolerance = slack / len(values_) if metric == "auc" else EXACT
            assert abs((ours.metrics[f"macro_{metric}"] or 0.0) - np.mean(values_)) <= tolerance + EXACT, ours.slice
            compared.add(f"macro_{metric}")
            average = number((areas if metric == "auc" else tops)[""][MACRO + metric])
            # TFMA's average is over the same classes in every slice, and has no value when one of them has none
            if average is not None and all(count[c] for c in set(payments.label.tolist())):
                assert abs((ours.metrics[f"macro_{metric}"] or 0.0) - average) <= tolerance + EXACT
                averaged.add(metric)
        assert compared == set(ours.metrics) == set(metric_names("multiclass_classification", classes=payments.classes))
    assert averaged == {"auc", "recall", "f1"}
