"""A warm start takes weights over by what they stand for: the new model answers as the served one did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.trainer import warm_start as warm_starts
from components.trainer.layout import Categories, Layout, category_sources, layout_of
from components.trainer.model import build_model, pick_inputs
from components.trainer.warm_start import save_weights, warm_start
from components.transform.plan import FeatureOutput, FeaturePlan, LabelPlan
from components.transform.preprocessing import HASH_RANGE
from components.transform.recipe import BucketStep, HashStep, Recipe, VocabularyStep
from schema.errors import ReleaseError
from schema.training import TrainerConfig

DIGEST = "d" * 64


@dataclass(frozen=True)
class Window:
    """What a window of data makes of the features: its vocabulary, its buckets, its classes, and which there are."""

    terms: tuple[str, ...]
    boundaries: tuple[float, ...]
    classes: tuple[str, ...] | None
    order: tuple[str, ...] = ("size", "amount", "place", "amount_bucket", "word", "sent")
    oov: int = 1
    hash_buckets: int = 5

    def write(self, graph: Path) -> FeaturePlan:
        """Writes what Transform writes of it and the trainer reads; returns the plan."""
        label = LabelPlan(
            name="y",
            key="y_xf",
            kind="class_index" if self.classes else "number",
            classes=self.classes,
            class_counts=(10,) * len(self.classes) if self.classes else None,
        )
        steps = (
            VocabularyStep(name="place", column="place", file="place", size=len(self.terms), num_oov_buckets=self.oov),
            BucketStep(name="amount_bucket", column="amount", boundaries=self.boundaries),
            HashStep(name="word", column="word", buckets=self.hash_buckets),
            HashStep(name="sent", column="sent", buckets=3),
        )
        (graph / "recipe").mkdir(parents=True)
        recipe = Recipe(columns={"place": "BYTES", "amount": "FLOAT", "word": "BYTES"}, steps=steps, label=label)
        (graph / "recipe" / "recipe.json").write_text(recipe.canonical())
        (graph / "recipe" / "place").write_text("".join(f"{term}\n" for term in self.terms), encoding="latin-1")
        size = {"place": 1 + len(self.terms) + self.oov, "amount_bucket": 2 + len(self.boundaries)}
        size |= {"word": 1 + self.hash_buckets, "sent": 4}
        outputs = tuple(
            FeatureOutput(
                name=name,
                kind="categorical" if name in size else "dense",
                cardinality=size.get(name),
                column=name,
                role="wide" if name == "sent" else "deep",
            )
            for name in self.order
        )
        return FeaturePlan(columns={}, label=label, outputs=outputs)

    def inputs(self, rows: Sequence[tuple[str | None, float, int]]) -> dict[str, np.ndarray]:
        """Rows of (place, amount, word) as the window's transformed features."""
        import tensorflow as tf

        def place(term: str | None) -> int:
            if term is None:
                return 0
            if term in self.terms:
                return 1 + self.terms.index(term)
            bucket = int(tf.strings.to_hash_bucket_fast([term.encode("latin-1")], HASH_RANGE)[0]) % self.oov
            return 1 + len(self.terms) + bucket

        amount = np.asarray([a for _, a, _ in rows], np.float32)
        features = {
            "place": np.asarray([place(p) for p, _, _ in rows]),
            "amount": amount,
            "amount_bucket": 1 + np.searchsorted(self.boundaries, amount, "right"),
            "size": amount * 2,
            "word": np.asarray([w for _, _, w in rows]) % 6,
            "sent": np.asarray([w for _, _, w in rows]) % 4,
        }
        return {n: v.astype(np.float32 if v.dtype == np.float32 else np.int32) for n, v in features.items()}


BEFORE = {
    "binary_classification": Window(("Loop", "Airport", "Caf\xe9"), (1.0, 2.0, 3.0), ("no", "yes")),
    "multiclass_classification": Window(("Loop", "Airport", "Caf\xe9"), (1.0, 2.0, 3.0), ("a", "b", "c"), oov=2),
    "regression": Window(("Loop", "Airport", "Caf\xe9"), (1.0, 2.0, 3.0), None),
}
AFTER = {
    # terms have changed places, two are new and one is gone; features have changed places
    task: Window(
        ("New", "Caf\xe9", "Loop", "Newer"),
        window.boundaries,
        ("c", "d", "a", "b") if task == "multiclass_classification" else window.classes,
        order=("amount_bucket", "word", "place", "sent", "amount", "size"),
        oov=window.oov,
    )
    for task, window in BEFORE.items()
}
ROWS = [
    (place, amount, i) for i, place in enumerate(["Loop", "Caf\xe9", "New", "Newer", None]) for amount in (0.5, 1.5)
]
BLOCKS: dict[str, dict[str, Any]] = {
    "plain": {"hidden_units": [8, 4]},
    "residual": {"hidden_units": [8, 8], "block": "residual"},
    "linear": {"hidden_units": []},
    "not wide": {"hidden_units": [6], "wide": False},
    "small": {"hidden_units": [6], "embedding_dim": 2},
}


def answers(model: Any, features: dict[str, np.ndarray]) -> np.ndarray:
    """The model's logits, (rows, k)."""
    return np.asarray(model(pick_inputs(model, features), training=False))


def trained(window: Window, task: str, folder: Path, model: dict[str, Any], *, seed: int) -> tuple[Any, Layout]:
    """A model with weights of its own everywhere, and its layout."""
    plan = window.write(folder / "graph")
    config = TrainerConfig.model_validate({"model": model})
    network = build_model(plan, config, task, seed=seed)
    draw = np.random.default_rng(seed)
    for variable in network.weights:
        variable.assign(draw.normal(0, 0.5, variable.shape))
    return network, layout_of(network, plan, config.model, task, str(folder / "graph"))


@pytest.fixture(autouse=True)
def _no_saved_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_starts, "model_digest", lambda _: DIGEST)


def start(task: str, tmp_path: Path, model: dict[str, Any], after: Window) -> tuple[Any, Any, dict[str, Any]]:
    """Returns the served model, the new one that started from it, and what the training says of it."""
    served, layout = trained(BEFORE[task], task, tmp_path / "before", model, seed=1)
    save_weights(served, layout, str(tmp_path / "7"))
    new, new_layout = trained(after, task, tmp_path / "after", model, seed=2)
    return served, new, warm_start(new, new_layout, str(tmp_path / "7"), DIGEST)


@pytest.mark.parametrize(
    ("task", "model"),
    [
        *(("multiclass_classification", name) for name in BLOCKS),
        ("binary_classification", "plain"),
        ("regression", "plain"),
    ],
)
def test_the_new_model_answers_as_the_served_one_does(task: str, model: str, tmp_path: Path) -> None:
    before, after = BEFORE[task], AFTER[task]
    served, new, started = start(task, tmp_path, BLOCKS[model], after)
    said = answers(served, before.inputs(ROWS))
    says = answers(new, after.inputs(ROWS))
    if before.classes and after.classes and len(before.classes) > 2:
        says = says[:, [after.classes.index(c) for c in before.classes]]
    np.testing.assert_allclose(says, said, atol=1e-5)
    assert np.ptp(said, axis=0).min() > 0.1, "rows must differ, or nothing is shown"
    assert started["version"] == 7 and started["model_digest"] == DIGEST
    assert not started["initial"]
    everything = {variable.path for variable in new.weights}
    assert {*started["taken"], *started["partly"]} == everything
    # in a classification into four classes instead of three, all that is by class; and embeddings have grown
    of_outputs = {"logits/kernel", "logits/bias", "wide/table"} & everything
    assert of_outputs <= set(started["partly"]) if task == "multiclass_classification" else not started["partly"]


def test_a_residual_stream_of_features_is_followed_to_its_end(tmp_path: Path) -> None:
    # 2 numbers and embeddings of 2 each: the deep part has as many inputs as units, and so no projection
    model = {"hidden_units": [8, 8], "block": "residual", "embedding_dim": 2}
    task = "binary_classification"
    served, new, started = start(task, tmp_path, model, AFTER[task])
    assert not any("project" in path for path in started["taken"])
    said, says = answers(served, BEFORE[task].inputs(ROWS)), answers(new, AFTER[task].inputs(ROWS))
    np.testing.assert_allclose(says, said, atol=1e-5)


def test_an_input_that_is_new_says_nothing_at_first(tmp_path: Path) -> None:
    task = "binary_classification"
    before = Window(("Loop",), (1.0,), ("no", "yes"), order=("amount", "place"))
    after = Window(("Loop",), (1.0,), ("no", "yes"), order=("size", "place", "word", "amount"))
    served, layout = trained(before, task, tmp_path / "before", BLOCKS["plain"], seed=1)
    save_weights(served, layout, str(tmp_path / "7"))
    plan = after.write(tmp_path / "graph")
    config = TrainerConfig.model_validate({"model": BLOCKS["plain"]})
    new = build_model(plan, config, task, seed=2)  # with initial weights: the wide part of a new feature is 0
    started = warm_start(new, layout_of(new, plan, config.model, task, str(tmp_path / "graph")), str(tmp_path / "7"))
    rows = [row for row in ROWS if row[0] in ("Loop", None)]
    said, says = answers(served, before.inputs(rows)), answers(new, after.inputs(rows))
    np.testing.assert_allclose(says, said, atol=1e-5)
    assert 0 < started["partly"]["hidden_0/kernel"] < 1 and started["taken"][0] == "hidden_0/bias"


def test_layers_of_another_size_keep_their_initial_weights(tmp_path: Path) -> None:
    task = "binary_classification"
    save_weights(
        *trained(BEFORE[task], task, tmp_path / "before", {"hidden_units": [8, 4]}, seed=1), str(tmp_path / "7")
    )
    new, new_layout = trained(AFTER[task], task, tmp_path / "after", {"hidden_units": [8, 5]}, seed=2)
    initial = {variable.path: variable.numpy() for variable in new.weights}
    started = warm_start(new, new_layout, str(tmp_path / "7"))
    assert started["initial"] == ["hidden_1/bias", "hidden_1/kernel", "logits/kernel"]
    for variable in new.weights:
        assert (variable.numpy() == initial[variable.path]).all() == (variable.path in started["initial"])


@pytest.mark.parametrize("model", ["plain", "linear"])
def test_a_model_of_another_task_gives_its_inputs_only(model: str, tmp_path: Path) -> None:
    before = trained(BEFORE["regression"], "regression", tmp_path / "before", BLOCKS[model], seed=1)
    save_weights(*before, str(tmp_path / "7"))
    task = "binary_classification"
    new, new_layout = trained(AFTER[task], task, tmp_path / "after", BLOCKS[model], seed=2)
    initial = {variable.path: variable.numpy() for variable in new.weights}
    of_outputs = ["logits/bias", "logits/kernel", "wide/table"]
    assert warm_start(new, new_layout, str(tmp_path / "7"))["initial"] == of_outputs
    for variable in new.weights:
        assert (variable.numpy() == initial[variable.path]).all() == (variable.path in of_outputs)


def test_the_logit_of_a_binary_classification_is_that_of_the_positive_class(tmp_path: Path) -> None:
    task, found = "binary_classification", []
    save_weights(*trained(BEFORE[task], task, tmp_path / "before", BLOCKS["plain"], seed=1), str(tmp_path / "7"))
    for classes in (("never", "yes"), ("yes", "no")):
        window = replace(AFTER[task], classes=classes)
        new, new_layout = trained(window, task, tmp_path / classes[0], BLOCKS["plain"], seed=2)
        found.append(warm_start(new, new_layout, str(tmp_path / "7"))["initial"])
    assert found == [[], ["logits/bias", "logits/kernel", "wide/table"]]


@pytest.mark.parametrize(
    ("new", "old", "sources"),
    [
        # a term that the served model does not know: its bucket there
        (Categories(cardinality=4, terms=("b", "c")), Categories(cardinality=4, terms=("a", "b")), [0, 2, 3, 3]),
        (Categories(cardinality=4, terms=("b",)), Categories(cardinality=5, terms=("a", "b")), [0, 2, 3, 4]),
        (Categories(cardinality=2, terms=()), Categories(cardinality=3, terms=("a",)), [0, 2]),
        (Categories(cardinality=2, boundaries=()), Categories(cardinality=4, boundaries=(1, 2)), [0, 1]),
        (Categories(cardinality=4, boundaries=(1, 5)), Categories(cardinality=5, boundaries=(0, 2, 4)), [0, 1, 3, 4]),
        (Categories(cardinality=3, kind="hash 2"), Categories(cardinality=3, kind="hash 2"), [0, 1, 2]),
        (Categories(cardinality=3, kind="hash 2"), Categories(cardinality=4, kind="hash 3"), [-1, -1, -1]),
        (Categories(cardinality=2, kind="hash 2"), Categories(cardinality=2, terms=()), [-1, -1]),
    ],
)
def test_which_category_means_the_same(new: Categories, old: Categories, sources: list[int]) -> None:
    assert category_sources(new, old).tolist() == sources


def test_own_features_mean_the_same_where_the_graphs_vocabularies_are(tmp_path: Path) -> None:
    plan = FeaturePlan(
        columns={},
        label=LabelPlan(name="y", key="y_xf", kind="number"),
        outputs=(FeatureOutput(name="mine", kind="categorical", cardinality=3, column="mine"),),
    )
    config = TrainerConfig.model_validate({"model": BLOCKS["plain"]})
    model = build_model(plan, config, "regression", seed=1)
    found = []
    for name, words in (("a", "x\ny\n"), ("b", "x\ny\n"), ("c", "y\nx\n")):
        assets = tmp_path / name / "transform_fn" / "assets"
        assets.mkdir(parents=True)
        (assets / "mine").write_text(words)
        layout = layout_of(model, plan, config.model, "regression", str(tmp_path / name))
        found.append(layout.categories["mine"])
    assert category_sources(found[0], found[1]).tolist() == [0, 1, 2]
    assert category_sources(found[0], found[2]).tolist() == [-1, -1, -1]


def test_no_served_model_and_none_that_can_be_read_is_a_cold_start_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = "binary_classification"
    model, layout = trained(BEFORE[task], task, tmp_path / "before", BLOCKS["plain"], seed=1)
    before = [variable.numpy() for variable in model.weights]
    assert warm_start(model, layout, None) == {"cold": "no model is being served"}
    assert "not a model to start from" in warm_start(model, layout, str(tmp_path / "8"))["cold"]
    save_weights(model, layout, str(tmp_path / "7"))
    assert "must be the model that was released" in warm_start(model, layout, str(tmp_path / "7"), "e" * 64)["cold"]
    (tmp_path / "7" / warm_starts.WEIGHTS).write_bytes(b"PK cut short")
    assert "not a model to start from" in warm_start(model, layout, str(tmp_path / "7"))["cold"]

    def unreadable(_: str) -> str:
        raise ReleaseError("no SavedModel")

    monkeypatch.setattr(warm_starts, "model_digest", unreadable)
    assert "no SavedModel" in warm_start(model, layout, str(tmp_path / "7"))["cold"]
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == [
        "cold start, though trainer.warm_start is on"
    ] * 5
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
