"""What `conveyor explain-cache` says of a run: for each component whether it was cached, and if not, why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.executions import History, read_histories
from pipeline.explanation import Explanation, PastExecution, explain_execution
from pipeline.graph import metadata_connection_config
from pipeline.metadata_server import check_metadata_server
from pipeline.record import NodeRecord, RunRecord, run_folder
from pipeline.sources import Sources
from pipeline.state import State
from schema.errors import MetadataError, UsageError
from schema.loading import REFERENCE
from schema.orchestration import NODES
from schema.release import MetadataConfig

_NOT_REACHED = "not reached"


@dataclasses.dataclass(frozen=True)
class CacheReport:
    """What became of the components of a run, and why.

    Attributes:
        run: the run's id.
        line: its line.
        summary: the whole in a few words.
        components: an explanation a component, in the order of the DAG.
    """

    run: str
    line: str
    summary: str
    components: tuple[Explanation, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON-ready data."""
        return dataclasses.asdict(self)


def cache_report(state: State, run: RunRecord, env: Mapping[str, str]) -> CacheReport:
    """Explains a run, component by component.

    Args:
        state: the state of the run's line.
        run: the run.
        env: where secrets of the line config are.

    Raises:
        UsageError: a secret that ML Metadata needs is not there.
        MetadataError: ML Metadata cannot be reached, or does not know of the run.
    """
    nodes = {node.node: node for node in run.nodes}
    if run.repeats is not None:
        reason = f"nothing has changed since run {run.repeats}"
        return _report(run, reason, [_cached(nodes[node], reason) for node in NODES if node in nodes])
    if run.options.get("as_compiled") or (run_folder(state, run.run_id) / "pipeline_job.json").is_file():
        reason = "carried out as compiled, which does every step anew"
        return _report(run, reason, [_done(nodes.get(node), node, reason) for node in NODES])
    histories = _histories(state, run, env)
    if not histories and any(node.state in ("done", "cached") for node in run.nodes):
        raise MetadataError(
            f"ML Metadata must know of run {run.run_id}. Got nothing instead",
            hint="it was moved or replaced since; another run of the line is explained with what there is now",
        )
    sources: dict[str, Sources | None] = {}

    def with_sources(execution: PastExecution) -> PastExecution:
        run_id = execution.run_id
        if run_id not in sources:
            sources[run_id] = Sources.read(run_folder(state, run_id))
        return dataclasses.replace(execution, sources=sources[run_id])

    found = [_explain(node, nodes.get(node), run, histories.get(node), with_sources) for node in NODES]
    reached = [each for each in found if each.state != _NOT_REACHED]
    cached = sum(each.cached for each in reached)
    return _report(run, f"{cached} of {len(reached)} components did no work", found)


def _report(run: RunRecord, summary: str, components: list[Explanation]) -> CacheReport:
    return CacheReport(run.run_id, run.line, summary, tuple(components))


def _explain(
    node: str,
    record: NodeRecord | None,
    run: RunRecord,
    history: History | None,
    with_sources: Callable[[PastExecution], PastExecution],
) -> Explanation:
    if record is None:
        last = run.options.get("until")
        why = f"left out by --until {last}" if last else "the run ended before it"
        return Explanation(node, _NOT_REACHED, False, why)
    if record.state == "cached":
        return _cached(record, "its inputs, config and code are those of an earlier execution")
    if record.state == "taken":
        source = run.taken_from.get(node)
        return Explanation(node, "taken", True, f"taken as it is from run {source}, by --from", source)
    if node == "baseline":
        return Explanation(node, record.state, False, "it is asked in every run which model is served")
    if history is None:
        return Explanation(node, record.state, False, "ML Metadata does not know of it")
    return explain_execution(
        node,
        record.state,
        with_sources(history.current),
        [with_sources(one) for one in history.earlier],
        forced=node in run.forced,
    )


def _cached(record: NodeRecord, reason: str) -> Explanation:
    return Explanation(record.node, "cached", True, reason)


def _done(record: NodeRecord | None, node: str, reason: str) -> Explanation:
    return Explanation(node, record.state if record else _NOT_REACHED, False, reason)


def _histories(state: State, run: RunRecord, env: Mapping[str, str]) -> dict[str, History]:
    config = MetadataConfig.model_validate(run.config.get("metadata", {}))
    if config.backend == "sqlite" and not state.metadata_db.is_file():
        return {}
    secrets = {}
    if config.password is not None:
        for name in REFERENCE.findall(config.password):
            if name not in env:
                raise UsageError(
                    f"metadata.password of line {run.line} must be in the environment, as {name}. Got nothing instead",
                    hint=f"export {name}",
                )
        secrets["metadata.password"] = REFERENCE.sub(lambda match: env[match[1]], config.password)
    connection = metadata_connection_config(config, state, secrets)
    check_metadata_server(connection, f"line {run.line}")
    return read_histories(connection, run.line, run.run_id)
