"""What of a compiled DAG is marked to be done, forced, left out or taken."""

from __future__ import annotations

from typing import Any

from pipeline.ancestry import UPSTREAM, ancestors, taken_before
from pipeline.runner import Partial, _mark
from schema.orchestration import NODES


def marked(partial: Partial) -> dict[str, Any]:
    """Returns node id to execution options, of the line's DAG."""
    from tfx.proto.orchestration import pipeline_pb2

    ir = pipeline_pb2.Pipeline(execution_mode=pipeline_pb2.Pipeline.SYNC)
    for name in NODES:
        node = ir.nodes.add().pipeline_node
        node.node_info.id = name
        node.upstream_nodes.extend(UPSTREAM[name])
        node.downstream_nodes.extend(one for one in NODES if name in UPSTREAM[one])
        node.execution_options.caching_options.enable_cache = True
    _mark(ir, partial)
    strategy = ir.runtime_spec.snapshot_settings.base_pipeline_run_strategy
    assert strategy.base_run_id == (partial.source or "")
    return {node.pipeline_node.node_info.id: node.pipeline_node.execution_options for node in ir.nodes}


def left_out(options: dict[str, Any]) -> set[str]:
    return {name for name, option in options.items() if option.HasField("skip")}


def test_by_default_nothing_is_marked() -> None:
    for option in marked(Partial()).values():
        assert not option.HasField("skip") and not option.HasField("run")
        assert option.caching_options.enable_cache


def test_the_cache_of_forced_components_is_off() -> None:
    options = marked(Partial(forced=("Tuner", "Trainer")))
    off = {name for name, option in options.items() if not option.caching_options.enable_cache}
    assert off == {"Tuner", "Trainer"} and not left_out(options)


def test_until_leaves_out_what_is_not_needed() -> None:
    assert left_out(marked(Partial(until="Tuner"))) == set(NODES) - ancestors("Tuner") - {"Tuner"}


def test_from_takes_what_comes_before_from_the_run_that_is_named() -> None:
    from tfx.proto.orchestration.pipeline_pb2 import NodeExecutionOptions

    for component in ("SpanStatisticsGen", "Trainer", "Evaluator", "Pusher"):
        taken = taken_before(component)
        options = marked(Partial(taken=taken, source="r1"))
        assert left_out(options) == set(taken)
        required = {
            name for name in taken if options[name].skip.reuse_artifacts_mode == NodeExecutionOptions.Skip.REQUIRED
        }
        assert required == set(taken), "what cannot be taken is an error, not a silent gap"
        takers = [name for name, option in options.items() if option.run.perform_snapshot]
        assert len(takers) == 1


def test_from_and_until() -> None:
    options = marked(Partial(until="Trainer", taken=taken_before("Transform"), source="r1"))
    done = {name for name, option in options.items() if option.HasField("run")}
    assert done == {"Transform", "Tuner", "Trainer"}
