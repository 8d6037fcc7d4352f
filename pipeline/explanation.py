"""Why a component was executed and not answered from the cache: what differs from its nearest earlier execution.

Pure: what ML Metadata and the record of runs say comes in as data (`pipeline.executions` reads it).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.comparison import differences
from pipeline.sources import Sources

_ABSENT = "absent"
_CODE_KEY = "code_digest"
_NESTED = ("config", "custom_config")
"""Exec properties whose keys go by their own names: sections of the line config."""


@dataclasses.dataclass(frozen=True)
class InputArtifact:
    """An artifact that an execution took.

    Attributes:
        id: its id in ML Metadata.
        producer: the node that made it, or an empty text.
        run_id: the run that made it.
        properties: its properties, such as `span`, `label` and `fingerprint`.
    """

    id: int
    producer: str = ""
    run_id: str = ""
    properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def span(self) -> str | None:
        """The label of the span that it is of, or None where it is not of one span."""
        return str(self.properties["label"]) if "label" in self.properties else None


@dataclasses.dataclass(frozen=True)
class PastExecution:
    """An execution of a component.

    Attributes:
        id: its id in ML Metadata; later executions have greater ones.
        run_id: the run that it belongs to.
        inputs: input key to the artifacts, in order.
        properties: its exec properties.
        sources: the sources of its run, or None where they are not on record.
        outputs_exist: whether the artifacts that it made are all still there.
    """

    id: int
    run_id: str
    inputs: Mapping[str, Sequence[InputArtifact]]
    properties: Mapping[str, Any]
    sources: Sources | None = None
    outputs_exist: bool = True


@dataclasses.dataclass(frozen=True)
class Difference:
    """Something that an execution found otherwise than an earlier one.

    Attributes:
        kind: `input`, `data`, `config`, `schema` or `code`.
        what: the input key, the span, the dotted config key, the file or library.
        text: the same in words.
        before: the value before, where there is one to show.
        after: the value now.
    """

    kind: str
    what: str
    text: str
    before: Any = None
    after: Any = None


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Why a component did what it did.

    Attributes:
        node: the component.
        state: what it did, as the record of the run has it.
        cached: whether no work was done for it.
        reason: in words.
        against: the run of the nearest earlier execution, which `differences` are against.
        differences: what differs from it.
    """

    node: str
    state: str
    cached: bool
    reason: str
    against: str | None = None
    differences: tuple[Difference, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the explanation as JSON-ready data."""
        return dataclasses.asdict(self)


def explain_execution(
    node: str, state: str, current: PastExecution, earlier: Sequence[PastExecution], *, forced: bool = False
) -> Explanation:
    """Explains an execution that was not answered from the cache.

    Args:
        node: the component.
        state: what it did, as the record of the run has it.
        current: the execution.
        earlier: executions of the same component that came before it and ended well, in any order.
        forced: whether it was to do its work anew.
    """
    found = [(compare(node, one, current), one) for one in earlier]
    if not found:
        return Explanation(node, state, False, "forced, and its first execution" if forced else "its first execution")
    changes, nearest = min(found, key=lambda pair: (len(pair[0]), -pair[1].id))
    if forced:
        reason = "forced"
    elif changes:
        reason = "; ".join(dict.fromkeys(_WORDS[change.kind] for change in changes))
    elif not nearest.outputs_exist:
        reason = "its earlier artifacts are gone"
    else:
        reason = "nothing that is on record differs from its earlier execution"
    return Explanation(node, state, False, reason, nearest.run_id, tuple(changes))


_WORDS = {
    "data": "the data has changed",
    "input": "an input is another",
    "schema": "the curated schema has changed",
    "config": "the config has changed",
    "code": "the code has changed",
}


def compare(node: str, before: PastExecution, now: PastExecution) -> list[Difference]:
    """Returns all that one execution of a component found otherwise than another."""
    found: list[Difference] = []
    for key in sorted({*before.inputs, *now.inputs}):
        found += _inputs(key, before.inputs.get(key, ()), now.inputs.get(key, ()))
    old, new = _flat(before.properties), _flat(now.properties)
    if (before.properties.get("window"), now.properties.get("window")) != (None, None):
        found += _window(before.properties.get("window"), now.properties.get("window"))
    if old.pop(_CODE_KEY, None) != new.pop(_CODE_KEY, None):
        found += _code(node, before.sources, now.sources)
    for key, (one, two) in differences(old, new).items():
        found.append(_property(key, one, two))
    return found


def _inputs(key: str, before: Sequence[InputArtifact], now: Sequence[InputArtifact]) -> list[Difference]:
    if [one.id for one in before] == [one.id for one in now]:
        return []
    if all(one.span is not None for one in (*before, *now)):
        return _spans(key, before, now)
    if not now or not before:
        return [Difference("input", key, f"{key}: {'there is none now' if not now else 'there was none'}")]
    made = now[0]
    text = (
        f"{key}: {made.producer or 'it'} was executed anew, in run {made.run_id}" if made.run_id else f"{key} differs"
    )
    return [Difference("input", key, text, [one.id for one in before], [one.id for one in now])]


def _spans(key: str, before: Sequence[InputArtifact], now: Sequence[InputArtifact]) -> list[Difference]:
    old, new = ({str(one.span): one for one in artifacts} for artifacts in (before, now))
    found = []
    for span in sorted({*old, *new}):
        one, two = old.get(span), new.get(span)
        if two is None:
            found.append(Difference("input", key, f"{key}: span {span} is gone"))
        elif one is None:
            found.append(Difference("input", key, f"{key}: span {span} is new"))
        elif one.id != two.id:
            prints = one.properties.get("fingerprint"), two.properties.get("fingerprint")
            text = "has another fingerprint" if prints[0] != prints[1] else f"was made anew by {two.producer}"
            found.append(Difference("input", key, f"{key}: span {span} {text}", *prints))
    return found or [Difference("input", key, f"{key}: its spans are in another order")]


def _window(before: Any, now: Any) -> list[Difference]:
    old, new = (_window_spans(text) for text in (before, now))
    found = []
    for span in sorted({*old, *new}):
        one, two = old.get(span), new.get(span)
        if two is None:
            found.append(Difference("data", span, f"span {span} is gone from the window", one and one["fingerprint"]))
        elif one is None:
            found.append(Difference("data", span, f"span {span} is new in the window", None, two["fingerprint"]))
        elif one != two:
            prints = one.get("fingerprint"), two.get("fingerprint")
            text = "has another fingerprint" if prints[0] != prints[1] else "is read from other files"
            found.append(Difference("data", span, f"span {span} {text}", *prints))
    return found


def _window_spans(text: Any) -> dict[str, Any]:
    window = _parsed(text)
    spans = window.get("spans", []) if isinstance(window, dict) else []
    return {str(span["label"]): span for span in spans}


def _code(node: str, before: Sources | None, now: Sources | None) -> list[Difference]:
    if before is None or now is None:
        return [Difference("code", _CODE_KEY, "its sources have changed; which ones is not on record")]
    changes = now.changes_since(before, node)
    found = [Difference("code", change.what, change.text, change.before, change.after) for change in changes]
    return found or [Difference("code", _CODE_KEY, "its sources have changed; which ones is not on record")]


def _property(key: str, before: Any, now: Any) -> Difference:
    if key == "schema_digest":
        return Difference("schema", key, "the curated schema has another content", before, now)
    text = f"{key}: {_shown(before)} -> {_shown(now)}"
    kind = "schema" if key.startswith(("column_types", "schema_")) else "config"
    return Difference(kind, key, text, before, now)


def _flat(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns exec properties with JSON parsed; sections of the line config under their own keys."""
    flat: dict[str, Any] = {}
    for key, value in properties.items():
        if key == "window":
            continue
        parsed = _parsed(value)
        if key == "custom_config" and isinstance(parsed, dict):
            flat.update({k: v for k, v in parsed.items() if k != "config"})
            parsed = parsed.get("config")
        if key in _NESTED and isinstance(parsed, dict):
            flat.update(parsed)
        else:
            flat[key] = parsed
    return flat


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _shown(value: Any) -> str:
    return _ABSENT if value is None else json.dumps(value, ensure_ascii=False, default=str)
