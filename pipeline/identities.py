"""The identities of what a run made: a digest for each part of each artifact, to hold another run against it.

A part is a file, and of a SavedModel a variable, an asset, the signatures or the operations. What a run takes from the
clock, from the place where it runs or from the model that it is compared with is no part of what it made.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from data.fingerprint import file_sha256
from data.whole_file import replace_text
from schema.base import sha256_json

FILE = "identities.json"
SCHEME = 1
"""Counts up when digests of the same content become other ones."""


@dataclasses.dataclass(frozen=True)
class Made:
    """An artifact that a run made.

    Attributes:
        node: the node's id.
        key: its output key.
        index: its place among the artifacts of that key.
        label: the span's label, for one artifact of many; otherwise empty.
        uri: its folder.
        parts: part to digest, in the order of names.
    """

    node: str
    key: str
    index: int
    label: str
    uri: str
    parts: dict[str, str]

    @property
    def name(self) -> str:
        """What people call it: `SpanExampleGen.examples, span 3`."""
        return f"{self.node}.{self.key}" + (f", span {self.label}" if self.label else "")


def identities(nodes: Iterable[tuple[str, dict[str, list[dict[str, Any]]]]]) -> list[Made]:
    """Returns the identities of all artifacts that are there, in the order of nodes.

    Args:
        nodes: node id and its outputs, as `describe_artifact` gives them.

    Raises:
        ReleaseError: a SavedModel among them cannot be read.
    """
    found = []
    seen: set[str] = set()
    for node, outputs in nodes:
        for key, artifacts in sorted(outputs.items()):
            for index, artifact in enumerate(artifacts):
                folder = Path(artifact["uri"])
                # Resolver nodes, such as the baseline, pass on what others made.
                if artifact["uri"] in seen or not folder.is_dir() or node == "baseline":
                    continue
                seen.add(artifact["uri"])
                label = str(artifact["properties"].get("label", ""))
                found.append(Made(node, key, index, label, artifact["uri"], parts_of(folder)))
    return found


def parts_of(folder: Path) -> dict[str, str]:
    """Returns part to digest for what lies in an artifact's folder."""
    models = [file.parent for file in sorted(folder.rglob("saved_model.pb"))]
    parts = {}
    for model in models:
        from serving.model_digest import part_digests

        prefix = model.relative_to(folder).as_posix()
        parts.update({f"{prefix}/{part}": digest for part, digest in part_digests(model).items()})
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        inside = any(model in file.parents for model in models)
        if inside and "assets.extra" not in file.parts or file.name in _LEFT_OUT or ".tfevents." in file.name:
            continue
        name = file.relative_to(folder).as_posix()
        reader = _READERS.get(file.name)
        if reader is None:
            parts[name] = file_sha256(file)
        else:
            content = json.loads(file.read_text(encoding="utf-8"))
            parts.update({f"{name}{inner}": sha256_json(value) for inner, value in reader(content).items()})
    return dict(sorted(parts.items()))


def write(folder: Path, made: Iterable[Made]) -> None:
    """Writes a run's identities into its folder."""
    value = {"scheme": SCHEME, "made": [dataclasses.asdict(one) for one in made]}
    replace_text(folder / FILE, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read(folder: Path) -> list[Made] | None:
    """Returns a run's identities, or None when it has none or they were made in another way."""
    try:
        value = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return [Made(**one) for one in value["made"]] if value["scheme"] == SCHEME else None


def without_times(value: Any) -> Any:
    """Returns JSON-ready data without what depends on clocks and kills: the keys `seconds` and `resumed_from`."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in ("seconds", "resumed_from")}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def _training(content: Any) -> dict[str, Any]:
    return {"": without_times(content)}


def _evaluation(content: Any) -> dict[str, Any]:
    return {f": {row['slice']}": [row["examples"], row["metrics"]] for row in content["slices"]}


def _checks(content: Any) -> dict[str, Any]:
    return {": checks": [[check["name"], check["ok"]] for check in content["checks"]]}


def _pushed(content: Any) -> dict[str, Any]:
    return {": model_digest": content.get("model_digest")}


_READERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "training.json": _training,
    "evaluation.json": _evaluation,
    "validation.json": _checks,
    "pushed.json": _pushed,
}
"""File name to what of it is compared: name of a part, appended to the file's, and its value."""
# What the Evaluator wrote besides evaluation.json says the same of the candidate, and has the baseline in it. Of a
# search, tuner_results.json has every trial; search.json says when and by whom.
_LEFT_OUT = (
    "eval_config.json",
    "metrics-00000-of-00001.tfrecord",
    "validations.tfrecord",
    "search.json",
    "fingerprint.pb",
)
