"""Recognizes a run in which nothing has changed, before anything of TensorFlow is imported.

ML Metadata would answer every node from its cache; but to ask it, TFX and TensorFlow have to be imported, which takes
most of the time of such a run. The graph is a function of the run's inputs, so equal inputs and a model that is live
already mean that there is nothing to do.
"""

from __future__ import annotations

import copy
from pathlib import Path

from pipeline.inputs import RunInputs
from pipeline.record import RunRecord, base_path, load_all
from pipeline.state import State
from schema.base import sha256_json
from schema.line import Line
from serving import releases

UNSEEN_SECTIONS = ("serving", "orchestration", "retention")
"""Sections of the line config that no node sees."""


def inputs_digest(line: Line, inputs: RunInputs) -> str:
    """Returns the SHA-256 over all that the graph of a run is made of.

    The model that a warm start begins with is left out: it is the one that the run is to replace, and so another one
    as soon as the run has pushed. So is how the model is served, where else the line can run and what is kept, which no
    node sees.
    """
    return sha256_json(
        {
            "config": line.model_dump(mode="json", by_alias=True, exclude=set(UNSEEN_SECTIONS)),
            "window": inputs.window.model_dump(mode="json"),
            "column_types": inputs.column_types,
            "schema_file": str(inputs.schema_file),
            "schema_digest": inputs.schema_digest,
            "code_digests": inputs.code_digests,
            "exclusions": inputs.exclusions.sha256 if inputs.exclusions else None,
            "search": inputs.search.model_dump(mode="json") if inputs.search else None,
            "signing_key": inputs.signing.key_id if inputs.signing else None,
        }
    )


def repeat_of(state: State, digest: str) -> RunRecord | None:
    """Returns the newest run with the same inputs whose model is live and whose artifacts are all there, or None.

    Args:
        state: the line's state.
        digest: the inputs digest of the run that is to start.

    Raises:
        ReleaseError: the release ledger is damaged.
    """
    live = releases.live(state.ledger)
    if live is None:
        return None
    for run in reversed(load_all(state)):
        verdict = run.verdict or {}
        # What such a run took was made from other inputs than its digest is of.
        whole_of_its_own = not run.taken_from
        if whole_of_its_own and run.inputs_digest == digest and verdict.get("outcome") == "pushed":
            served = base_path(state, run) / str(live.version) / "saved_model.pb"
            whole = verdict.get("version") == live.version and served.is_file() and _artifacts_exist(run)
            return run if whole else None
    return None


def take_over(run: RunRecord, earlier: RunRecord) -> None:
    """Fills in a run's record from the earlier run that it repeats: every node cached, nothing new."""
    assert earlier.verdict is not None
    run.repeats = earlier.repeats or earlier.run_id
    run.nodes = copy.deepcopy(earlier.nodes)
    for node in run.nodes:
        node.state, node.seconds = "cached", 0.0
    run.slices = copy.deepcopy(earlier.slices)
    run.verdict = {**copy.deepcopy(earlier.verdict), "nothing_new": True}


def _artifacts_exist(run: RunRecord) -> bool:
    uris = [artifact["uri"] for node in run.nodes for values in node.outputs.values() for artifact in values]
    return bool(uris) and all(Path(uri).exists() for uri in uris)
