"""A line whose runs cost nothing: real ML Metadata, records, ledger and folders, and a word in place of each result.

Its cache is TFX's in small: the newest execution with the same key whose outputs are all live and there.
"""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.record import NodeRecord, RunRecord, save
from pipeline.state import State
from schema.base import sha256_json
from schema.line import Line
from schema.loading import LoadedLine
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent

NODES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "SpanExampleGen": ((), ("examples",)),
    "Transform": (("examples",), ("transform_graph",)),
    "Tuner": (("transform_graph",), ("best_hyperparameters", "tuner_results")),
    "Trainer": (("examples", "transform_graph", "best_hyperparameters"), ("model", "model_run")),
    "Evaluator": (("examples", "model"), ("blessing", "evaluation")),
    "Pusher": (("model", "blessing"), ("pushed_model",)),
}
"""Node to the outputs that it takes and gives."""

CONFIG_OF = {"SpanExampleGen": "spans", "Trainer": "seed", "Evaluator": "metric"}
"""The key of the config that a node's result depends on."""


def in_memory() -> Any:
    """Returns how to reach a new store in memory."""
    connection = pb.ConnectionConfig()
    connection.fake_database.SetInParent()
    return connection


def text_of(when: float) -> str:
    """Returns a time as records have it."""
    return datetime.fromtimestamp(when, timezone.utc).isoformat(timespec="milliseconds")


@dataclasses.dataclass
class Made:
    """An artifact, as the test knows it.

    Attributes:
        id: its number in ML Metadata.
        uri: its folder.
        key: the key of the output.
        sources: what it was made of.
        siblings: the outputs of the same execution, itself included.
    """

    id: int
    uri: Path
    key: str
    sources: tuple[int, ...] = ()
    siblings: tuple[int, ...] = ()


class FakeLine:
    """A line and its state.

    Args:
        root: where the state goes.
        now: seconds since the epoch.
        retention: the section of that name.
        name: its name.
        connection: how to reach ML Metadata, if not in the state's file.
    """

    def __init__(
        self,
        root: Path,
        now: float,
        retention: dict[str, Any] | None = None,
        *,
        name: str = "toy",
        connection: Any | None = None,
    ) -> None:
        self.state = State(root / name, name)
        self.state.runs.mkdir(parents=True)
        (self.state.root / "lock").touch()
        config = {
            "name": name,
            "task": "regression",
            "label": {"name": "y"},
            "examples": {"input": "t.csv"},
            "retention": retention or {},
        }
        self.loaded = LoadedLine(Line.model_validate(config), root / "line.yaml", root, files=(root / "line.yaml",))
        self.ledger = Ledger(self.state.ledger)
        self.now = now
        self.made: dict[int, Made] = {}
        self.runs: dict[str, list[int]] = {}
        self.ended: dict[str, float] = {}
        self.judged: dict[str, list[int]] = {}
        self.models: dict[int, tuple[str, int]] = {}
        if connection is None:
            connection = pb.ConnectionConfig()
            connection.sqlite.filename_uri = str(self.state.metadata_db)
            connection.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = MetadataStore(connection)
        self._types: dict[str, int] = {}
        self._contexts: dict[int, Any] = {}
        self._pipeline = self._context("pipeline", name)

    def run(self, *, spans: int = 1, seed: int = 1, metric: int = 1, until: str | None = None) -> tuple[str, int]:
        """Runs the line; returns the run id and how many nodes were answered from the cache.

        Args:
            spans: stands for the data.
            seed: stands for the trainer's config.
            metric: stands for the evaluator's config.
            until: the run is killed in this node.
        """
        run_id = f"{self.state.line}-{len(self.runs):04d}"
        self.now += 1
        record = RunRecord(run_id, self.state.line, text_of(self.now))
        save(self.state, record)
        self.runs[run_id], self.ended[run_id] = [], self.now
        (self.state.runs / run_id / "events.jsonl").write_text("")
        context = self._context("pipeline_run", run_id)
        config = {"spans": spans, "seed": seed, "metric": metric}
        at_hand: dict[str, Made] = {}
        cached = 0
        for node, (takes, gives) in NODES.items():
            inputs = [(key, at_hand[key].id) for key in takes]
            if node == "Evaluator" and (baseline := self._baseline(at_hand["model"])) is not None:
                inputs.append(("baseline_model", baseline))
                self._again("baseline", [], [baseline], [context], pb.Event.INTERNAL_OUTPUT)
                self.judged[run_id] = [baseline]
                described = [self._described(self.made[baseline])]
                record.nodes.append(NodeRecord("baseline", "done", outputs={"model": described}))
            key = sha256_json([self.state.line, node, config.get(CONFIG_OF.get(node, "")), inputs])
            if until == node:
                self._kill(node, gives, context)
                return run_id, cached
            outputs = self._cached(key)
            if outputs is None:
                outputs = self._make(node, gives, inputs, spans, context, key)
            else:
                cached += 1
                contexts = [context, self._context("execution_cache", key)]
                self._again(node, inputs, [each.id for each in outputs], contexts, pb.Event.OUTPUT)
            at_hand.update({each.key: each for each in outputs})
            self.runs[run_id] += [each.id for each in outputs]
            described_outputs = {each.key: [self._described(each)] for each in outputs}
            record.nodes.append(NodeRecord(node, "done", outputs=described_outputs))
            save(self.state, record)
        record.finished = text_of(self.now)
        save(self.state, record)
        return run_id, cached

    def push(self, run_id: str) -> int:
        """Releases the model of a run."""
        version = max(self.models, default=0) + 1
        model = next(self.made[each] for each in self.runs[run_id] if self.made[each].key == "model")
        self.models[version] = (run_id, model.id)
        self.append("pushed", version, run_id=run_id, model_digest="d" * 64, model_uri=str(model.uri))
        return version

    def append(self, event: Any, version: int, **more: Any) -> None:
        """Appends to the ledger, at the time that it is."""
        self.now += 1
        self.ledger.append(LedgerEvent(event=event, version=version, who="tests", when=text_of(self.now), **more))

    def artifact_states(self) -> dict[int, str]:
        """Returns what ML Metadata says of each artifact."""
        return {each.id: pb.Artifact.State.Name(each.state) for each in self.store.get_artifacts()}

    def _baseline(self, candidate: Made) -> int | None:
        live = self.ledger.state().live
        return None if live is None or self.models[live][1] == candidate.id else self.models[live][1]

    def _cached(self, key: str) -> list[Made] | None:
        context = self.store.get_context_by_type_and_name("execution_cache", key)
        for execution in reversed(self.store.get_executions_by_context(context.id) if context else []):
            events = self.store.get_events_by_execution_ids([execution.id])
            found = [each.artifact_id for each in events if each.type == pb.Event.OUTPUT]
            states = [each.state for each in self.store.get_artifacts_by_id(found)]
            if all(each == pb.Artifact.LIVE for each in states):
                assert all(self.made[each].uri.is_dir() for each in found), "the cache answers with what is gone"
                return [self.made[each] for each in found]
        return None

    def _make(
        self, node: str, gives: tuple[str, ...], inputs: list[tuple[str, int]], spans: int, context: int, key: str
    ) -> list[Made]:
        number = self._number(node)
        entry = self.state.root / "spans" / f"{spans:064x}"
        made, protos = [], []
        for output in gives:
            folder = self.state.pipeline_root / node / output / str(number)
            folder = folder / "span-00001" if node == "SpanExampleGen" else folder
            folder.mkdir(parents=True)
            proto = pb.Artifact(type_id=self._type("artifact", output), uri=str(folder), state=pb.Artifact.LIVE)
            if node == "SpanExampleGen":
                proto.custom_properties["ingest_key"].string_value = entry.name
                entry.mkdir(parents=True, exist_ok=True)
                (entry / "span.json").write_text(str(spans))
                os.link(entry / "span.json", folder / "span.json")
                os.utime(entry / "span.json", (self.now, self.now))
                os.utime(entry, (self.now, self.now))
            protos.append(proto)
            made.append(Made(0, folder, output))
        pairs = [(proto, _event(each.key, pb.Event.OUTPUT)) for proto, each in zip(protos, made, strict=True)]
        ids = self._put(number, node, [*pairs, *self._inputs(inputs)], [context, self._context("execution_cache", key)])
        sources = tuple(source for input_key, source in inputs if input_key != "baseline_model")
        for each, artifact in zip(made, ids[: len(made)], strict=True):
            each.id, each.sources, each.siblings = artifact, sources, tuple(ids[: len(made)])
            (each.uri / "word").write_text(str(artifact))
            self.made[artifact] = each
        (self.state.pipeline_root / node / ".system" / "executor_execution" / str(number)).mkdir(parents=True)
        return made

    def _kill(self, node: str, gives: tuple[str, ...], context: int) -> None:
        number = self._number(node)
        pairs = []
        for output in gives:
            folder = self.state.pipeline_root / node / output / str(number)
            folder.mkdir(parents=True)
            (folder / "half").write_text("half")
            proto = pb.Artifact(type_id=self._type("artifact", output), uri=str(folder), state=pb.Artifact.PENDING)
            pairs.append((proto, _event(output, pb.Event.PENDING_OUTPUT)))
        self._put(number, node, pairs, [context])
        scratch = self.state.pipeline_root / node / ".system" / "executor_execution" / str(number) / ".temp"
        scratch.mkdir(parents=True)
        (scratch / "half").write_text("half")
        (self.state.root / "spans" / ".staging.1-00000000.tmp").mkdir(parents=True, exist_ok=True)

    def _again(
        self, node: str, inputs: list[tuple[str, int]], outputs: list[int], contexts: list[int], event: Any
    ) -> None:
        """Records an execution that makes nothing new."""
        pairs = [(self._there(made), _event(self.made[made].key, event)) for made in outputs]
        self._put(self._number(node), node, [*pairs, *self._inputs(inputs)], contexts)

    def _number(self, node: str) -> int:
        (number,) = self.store.put_executions([pb.Execution(type_id=self._type("execution", node))])
        return int(number)

    def _put(self, number: int, node: str, pairs: list[tuple[Any, Any]], contexts: list[int]) -> list[int]:
        execution = pb.Execution(id=number, type_id=self._type("execution", node))
        found = [self._contexts[each] for each in (self._pipeline, *contexts)]
        _, artifacts, _ = self.store.put_execution(execution, pairs, found)
        return list(artifacts)

    def _inputs(self, inputs: list[tuple[str, int]]) -> list[tuple[Any, Any]]:
        return [(self._there(source), _event(key, pb.Event.INPUT)) for key, source in inputs]

    def _there(self, number: int) -> Any:
        (proto,) = self.store.get_artifacts_by_id([number])
        return proto

    def _context(self, kind: str, name: str) -> int:
        found = self.store.get_context_by_type_and_name(kind, name) if ("context" + kind) in self._types else None
        if found is None:
            found = pb.Context(type_id=self._type("context", kind), name=name)
            (found.id,) = self.store.put_contexts([found])
        self._contexts[found.id] = found
        return int(found.id)

    def _type(self, what: str, name: str) -> int:
        if what + name not in self._types:
            put = getattr(self.store, f"put_{what}_type")
            kind = getattr(pb, f"{what.capitalize()}Type")(name=name)
            self._types[what + name] = put(kind)
        return self._types[what + name]

    def _described(self, made: Made) -> dict[str, Any]:
        return {"uri": str(made.uri), "id": made.id, "type": made.key, "properties": {}}


def _event(key: str, kind: Any) -> Any:
    event = pb.Event(type=kind)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event
