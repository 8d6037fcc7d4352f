"""ReleasePusher's executor: reads the blessings, pushes, and says on the artifact what it did."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.pusher.push import Candidate, PushResult, push
from components.pusher.signed_facts import facts
from components.pusher.signing import Signer, SigningOrder, signer
from schema.release import PusherConfig
from serving.ledger import Ledger

_JUDGES = {"model_blessing": "not blessed", "infra_blessing": "not infra-blessed"}


class Executor(base_executor.BaseExecutor):
    """Pushes the model unless a blessing is missing or says no.

    The run id comes from the executor's context, not from an exec property: it would be part of the cache key and
    no push could ever be answered from the cache.
    """

    def Do(
        self, input_dict: dict[str, list[Any]], output_dict: dict[str, list[Any]], exec_properties: dict[str, Any]
    ) -> None:
        """Pushes `model` to `push_destination`; see `ReleasePusher`.

        Sets on the PushedModel: `pushed` (1 when the candidate is live now), `new` (1 when it was not before),
        `outcome`, `reason`, and, when some version holds the model, `version`, `model_digest`,
        `pushed_destination` and `pushed_version`. The artifact's folder holds `pushed.json` with the same, and no
        copy of the model.

        Raises:
            ConfigError: the key to sign with cannot be used.
            ReleaseError: see `components.pusher.push.push`.
        """
        from serving.model_digest import model_digest

        model = artifact_utils.get_single_instance(input_dict["model"])
        pushed_model = artifact_utils.get_single_instance(output_dict["pushed_model"])
        refusal = refused(input_dict, model.id)
        if refusal is not None:
            outcome, reason = refusal
            _describe(pushed_model, {"pushed": 0, "new": 0, "outcome": outcome, "reason": reason})
            return
        sections = json.loads(exec_properties["config"])
        config = PusherConfig.model_validate(sections["pusher"])
        folder = Path(path_utils.serving_model_path(model.uri))
        digest = model_digest(folder)
        result = push(
            Candidate(folder, digest, model.uri, self._run_id()),
            exec_properties["push_destination"],
            Ledger(exec_properties["ledger"]),
            digest=model_digest,
            keep_versions=config.keep_versions,
            endpoint=config.vertex_endpoint.model_dump(mode="json") if config.vertex_endpoint else None,
            signer=_signer(sections["name"], exec_properties.get("signing"), input_dict),
        )
        _describe(pushed_model, _properties(result, digest))

    def _run_id(self) -> str:
        run_id = self._context.pipeline_run_id if self._context else None
        return run_id or "unknown"


def _signer(line: str, signing: str | None, input_dict: dict[str, list[Any]]) -> Signer | None:
    if not signing:
        return None
    return signer(line, SigningOrder.model_validate_json(signing), os.environ, facts(input_dict))


def refused(input_dict: dict[str, list[Any]], model_id: int) -> tuple[str, str] | None:
    """Returns why the model may not be pushed, as outcome and reason, or None when it may.

    A blessing that is wired but not there refuses too: its judge did not run. So does one for another model.
    """
    for key, outcome in _JUDGES.items():
        if key not in input_dict:
            continue
        if not input_dict[key]:
            return outcome, f"there is no {key}: the component that gives it did not run"
        blessing = artifact_utils.get_single_instance(input_dict[key])
        if blessing.get_int_custom_property("blessed") != 1:
            return outcome, f"the {key} at {blessing.uri} says no"
        judged = blessing.get_int_custom_property("current_model_id")
        if judged and model_id and judged != model_id:
            return outcome, f"the {key} at {blessing.uri} is for model {judged}, not for model {model_id}"
    return None


def _properties(result: PushResult, digest: str) -> dict[str, str | int]:
    return {
        "pushed": int(result.live),
        "new": int(result.new),
        "outcome": result.outcome,
        "reason": result.reason,
        "version": result.version,
        "model_digest": digest,
        "pushed_destination": str(result.path),
        "pushed_version": str(result.version),
    }


def _describe(artifact: Any, properties: dict[str, str | int]) -> None:
    logging.info("Pusher: %s (%s)", properties["outcome"], properties["reason"])
    for key, value in properties.items():
        if isinstance(value, int):
            artifact.set_int_custom_property(key, value)
        else:
            artifact.set_string_custom_property(key, value)
    folder = Path(artifact.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pushed.json").write_text(json.dumps(properties, indent=2, sort_keys=True) + "\n", encoding="utf-8")
