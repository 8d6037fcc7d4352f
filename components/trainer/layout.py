"""What each weight of a model stands for: the feature, the category and the class that its place belongs to.

A new window of data changes places. Vocabularies are in the order of frequency, so a term moves when others become more
frequent; a new term makes an embedding longer, and moves all that lie behind it in the table; buckets have other
boundaries; classes come and go. So weights of another model are matched by what they stand for, and never by place.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np

from components.trainer.model import num_outputs
from components.transform.plan import FeaturePlan
from components.transform.recipe import RECIPE_FILE, BucketStep, Recipe, VocabularyStep
from schema.base import Handover, canonical_json
from schema.training import ModelConfig

RECIPE_FOLDER = "recipe"
"""Where Transform puts the recipe and the vocabularies into the transform graph."""


class Categories(Handover):
    """What the indices of a categorical feature stand for; 0 is a missing value where there are terms or boundaries."""

    cardinality: int
    """How many indices there are."""
    terms: tuple[str, ...] | None = None
    """A vocabulary: index 1 + i is term i (its bytes as Latin-1), and out-of-vocabulary buckets come after them."""
    boundaries: tuple[float, ...] | None = None
    """Buckets: the index is 1 + the number of boundaries <= x."""
    kind: str = ""
    """Anything else, such as hash buckets: indices mean the same where this is the same."""


class Layout(Handover):
    """What the weights of a model stand for."""

    features: tuple[tuple[str, int], ...]
    """The inputs of the deep part in order: feature and width."""
    categories: dict[str, Categories]
    """Categorical feature to what its indices stand for."""
    outputs: tuple[str, ...]
    """What each logit stands for."""
    tables: dict[str, tuple[tuple[str, int, int], ...]]
    """Path of a flat table of embeddings to its features, each with cardinality and size."""
    axes: dict[str, tuple[str, ...]]
    """Path of another variable to what its axes are: `features`, `outputs`, or nothing of that kind."""


def layout_of(model: Any, plan: FeaturePlan, config: ModelConfig, task: str, transform_graph_uri: str) -> Layout:
    """Returns the layout of a model.

    Args:
        model: a Keras model as `build_model` returns it. Of one that a line's own builder made nothing is known.
        plan: the feature plan.
        config: the model section.
        task: the line's task.
        transform_graph_uri: the transform graph, for its vocabularies.
    """
    tables, features = {}, [(o.name, 1) for o in plan.dense]
    if config.builder is None:
        names = {layer.name for layer in model.layers}
        for name in sorted({"embedding", "wide"} & names):
            blocks = model.get_layer(name).blocks
            tables[f"{name}/table"] = tuple((plan.categorical[c].name, n, size) for c, n, size in blocks)
        features += [(name, size) for name, _, size in tables.get("embedding/table", ())]
    classes = plan.label.classes or ("value",)
    return Layout(
        features=tuple(features),
        categories=_categories(plan, transform_graph_uri),
        # the one logit of a binary classification is that of the last class
        outputs=tuple(classes[-num_outputs(plan, task) :]),
        tables=tables,
        axes={} if config.builder else _axes({variable.path for variable in model.weights}, config),
    )


def _axes(paths: set[str], config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Follows the features through the blocks of the built-in model up to the first dense layer that mixes them."""
    axes: dict[str, tuple[str, ...]] = {}
    now = "features"
    for i in range(len(config.hidden_units)):
        if config.block == "plain":
            axes[f"hidden_{i}/kernel"], now = (now, ""), ""
            continue
        if f"project_{i}/kernel" in paths:
            axes[f"project_{i}/kernel"], now = (now, ""), ""
        axes |= {f"norm_{i}/gamma": (now,), f"norm_{i}/beta": (now,), f"hidden_{i}/kernel": (now, "")}
        axes |= {f"out_{i}/kernel": ("", now), f"out_{i}/bias": (now,)}
    axes |= {"logits/kernel": (now, "outputs"), "logits/bias": ("outputs",)}
    return {path: names for path, names in axes.items() if path in paths}


def _categories(plan: FeaturePlan, graph: str) -> dict[str, Categories]:
    import tensorflow as tf

    steps: dict[str, Any] = {}
    folder = os.path.join(graph, RECIPE_FOLDER)
    if tf.io.gfile.exists(os.path.join(folder, RECIPE_FILE)):
        recipe = Recipe.model_validate_json(_read(os.path.join(folder, RECIPE_FILE)))
        steps = {step.name: step for step in recipe.steps}
    found = {}
    for output in plan.categorical:
        step, size = steps.get(output.name), output.cardinality or 1
        if isinstance(step, VocabularyStep):
            words = _read(os.path.join(folder, step.file)).split(b"\n")[:-1]
            found[output.name] = Categories(cardinality=size, terms=tuple(w.decode("latin-1") for w in words))
        elif isinstance(step, BucketStep):
            found[output.name] = Categories(cardinality=size, boundaries=step.boundaries)
        else:
            found[output.name] = Categories(cardinality=size, kind=_kind(step, graph))
    return found


def _kind(step: Any, graph: str) -> str:
    import tensorflow as tf

    if step is not None:
        # the boundaries of a number in a cross move with the data, and its n-th bucket stays the n-th
        return canonical_json(step.model_dump(mode="json", exclude={"boundaries", "unit"}))
    # A line's own preprocessing_fn: its vocabularies are somewhere among the assets.
    digest = hashlib.sha256()
    for path in sorted(tf.io.gfile.glob(os.path.join(graph, "transform_fn", "assets", "*"))):
        digest.update(os.path.basename(path).encode() + b"\0" + hashlib.sha256(_read(path)).digest())
    return digest.hexdigest()


def _read(path: str) -> bytes:
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "rb") as f:
        content: bytes = f.read()
    return content


def category_sources(new: Categories, old: Categories) -> np.ndarray:
    """Returns for each index of a feature the index of another model that means the same, or -1. int64 (cardinality,).

    A term that the other model does not know has the out-of-vocabulary bucket there that it would fall into, and a
    bucket has the one there that its middle would fall into.
    """
    if new.terms is not None and old.terms is not None:
        return _term_sources(new.terms, new.cardinality, old.terms, old.cardinality)
    if new.boundaries is not None and old.boundaries is not None:
        edges = np.asarray(new.boundaries, np.float64)
        middles = np.concatenate([[-np.inf], (edges[:-1] + edges[1:]) / 2, [np.inf] if len(edges) else []])
        return np.concatenate([[0], 1 + np.searchsorted(np.asarray(old.boundaries, np.float64), middles, "right")])
    if new.kind and new == old:
        return np.arange(new.cardinality)
    return np.full(new.cardinality, -1, np.int64)


def _term_sources(new: tuple[str, ...], cardinality: int, old: tuple[str, ...], old_cardinality: int) -> np.ndarray:
    import tensorflow as tf

    from components.transform.preprocessing import HASH_RANGE

    place = {term: 1 + i for i, term in enumerate(old)}
    first, rest = 1 + len(old), old_cardinality - 1 - len(old)
    texts = tf.constant([term.encode("latin-1") for term in new], tf.string)
    hashes = tf.strings.to_hash_bucket_fast(texts, HASH_RANGE).numpy()
    known = [place.get(term, first + int(h) % rest) for term, h in zip(new, hashes, strict=True)]
    buckets = [first + i % rest for i in range(cardinality - 1 - len(new))]
    return np.asarray([0, *known, *buckets], np.int64)
