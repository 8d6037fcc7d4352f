"""ServedModelStrategy: resolves the model that the release ledger says is live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import logging
from tfx.dsl.components.common import resolver
from tfx.types import standard_artifacts
from tfx.types.artifact import ArtifactState
from tfx.utils import path_utils

from components.baseline.restore import restore
from schema.errors import ReleaseError
from serving.ledger import Ledger
from serving.ledger_events import Entry, LedgerState


class ServedModelStrategy(resolver.ResolverStrategy):
    """Resolves `model` to the Model artifact that is live, or to none when nothing was released.

    TFX's LatestBlessedModelStrategy cannot do the job: the latest blessed model need not have been pushed, and after
    a rollback it is not the one that is served.

    When the candidate is the live model itself, the baseline is the one that was live when it was pushed: the same
    that it was compared with then, so that a run in which nothing changed is answered from the cache.

    When the live model's artifact is gone (its files, or all of ML Metadata), the served version takes its place:
    without a baseline a candidate would pass every `change_threshold`.

    Use: `Resolver(strategy_class=ServedModelStrategy, config={"ledger": path}, model=Channel(type=Model),
    candidate=trainer.outputs["model"]).with_id("baseline")`.

    Args:
        ledger: path of the release ledger.
    """

    def __init__(self, ledger: str) -> None:
        self._ledger = Path(ledger)

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Returns `model` as a list of the baseline or of nothing, and `candidate` as it came.

        Args:
            store: the ML Metadata store; not used.
            input_dict: `model`, all Model artifacts of the pipeline, and `candidate`, the one just trained.

        Raises:
            ReleaseError: the ledger is damaged, or the live model is neither among the artifacts nor in the base path.
        """
        entry = baseline(Ledger(self._ledger).state(), input_dict["candidate"])
        if entry is None:
            return {**input_dict, "model": []}
        found = _newest(entry.pushed.model_uri, input_dict["model"])
        if found is None or _digest(found) != entry.pushed.model_digest:
            uri = restore(entry.pushed, self._ledger.parent / "work" / "baseline")
            found = _newest(uri, input_dict["model"]) or _new_artifact(uri)
        logging.info("baseline: version %s at %s", entry.pushed.version, found.uri)
        return {**input_dict, "model": [found]}


def _newest(uri: str | None, artifacts: list[Any]) -> Any | None:
    return max((each for each in artifacts if each.uri == uri), key=lambda each: each.id, default=None)


def _digest(artifact: Any) -> str | None:
    # URIs are no identities: the same model can be trained again, and with new ML Metadata they start over.
    from serving.model_digest import model_digest

    try:
        return model_digest(path_utils.serving_model_path(artifact.uri))
    except ReleaseError:
        return None


def _new_artifact(uri: str) -> Any:
    # The Resolver publishes it, and the next run finds it among the pipeline's models.
    artifact = standard_artifacts.Model()
    artifact.uri = uri
    artifact.state = ArtifactState.PUBLISHED
    return artifact


def baseline(state: LedgerState, candidates: list[Any]) -> Entry | None:
    """Returns the entry of the version to compare with, or None when there is none.

    Args:
        state: what the ledger says.
        candidates: the candidate's Model artifact, as a list of one.
    """
    live = state.live_entry
    if live is None:
        return None
    if live.pushed.model_digest not in [_digest(artifact) for artifact in candidates]:
        return live
    return None if live.predecessor is None else state.entries[live.predecessor]
