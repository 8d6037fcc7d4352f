"""Executor of the Tuner."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tfx.components.trainer import fn_args_utils
from tfx.components.tuner import executor as tfx_tuner
from tfx.types import artifact_utils
from tfx.utils import json_utils

from components.done_anew import done_anew
from components.tuner.memory import recall, remember, search_key
from components.tuner.tune import found_by, tuner_fn, untuned
from schema.base import canonical_json

SEARCH_FILE = "search.json"


class Executor(tfx_tuner.Executor):  # type: ignore[misc]
    """TFX's Tuner executor, with a memory.

    TFX's own searches whenever an input changed, keeps its trials in a folder that goes with the execution, and so
    starts over after a kill. A Tuner that is forced (`conveyor run --force Tuner`) forgets its memory first.
    """

    def Do(  # noqa: N802
        self, input_dict: dict[str, list[Any]], output_dict: dict[str, list[Any]], exec_properties: dict[str, Any]
    ) -> None:
        """Searches, or recalls the best hyperparameters of an earlier search with the same config and schema.

        Args:
            input_dict: `examples`, `transform_graph`, `schema`.
            output_dict: `best_hyperparameters`, `tuner_results`.
            exec_properties: `custom_config` with `config` (sections), `code_digest` and `state_dir`, and maybe
                `sample`, the share of the rows that a search is on, and `search`: an earlier search that is to be
                repeated (`made`) or taken over (`hyperparameters`).
        """
        custom = json_utils.loads(exec_properties["custom_config"])
        sections = custom["config"]
        if sections["tuner"]["when"] == "never":
            self._write(untuned(sections), output_dict)
            return
        earlier = custom.get("search") or {}
        if "hyperparameters" in earlier:
            self._write({**earlier, "text": f"taken over from run {earlier['run_id']}"}, output_dict)
            return
        fn_args = fn_args_utils.get_common_fn_args(input_dict, exec_properties)
        data = fn_args.transform_graph_path if sections["tuner"]["when"] == "always" else ""
        if "sample" in custom:
            data += canonical_json({"sample": custom["sample"]})
        if "made" in earlier:
            fn_args.custom_config["repeat"] = [trial["epochs"] for trial in earlier["made"]]
            data += canonical_json(earlier)
        key = search_key(sections, Path(fn_args.schema_path).read_bytes(), custom["code_digest"], data)
        folder = Path(custom["state_dir"]) / "work" / "tuner" / key[:32]
        if done_anew(self._context):
            shutil.rmtree(folder, ignore_errors=True)
        found = recall(folder)
        if found is None:
            found = {**self._search(fn_args, folder), "run_id": self._run_id()}
            remember(folder, found)
            shutil.rmtree(folder / "trials", ignore_errors=True)
        else:
            found["text"] += ", reused"
        self._write(found, output_dict)

    def _search(self, fn_args: Any, folder: Path) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        fn_args.working_dir = str(folder)
        result = tuner_fn(fn_args)
        result.tuner.search(**result.fit_kwargs)
        return found_by(result.tuner)

    def _run_id(self) -> str:
        return (self._context.pipeline_run_id if self._context else None) or "unknown"

    def _write(self, found: dict[str, Any], output_dict: dict[str, list[Any]]) -> None:
        best = Path(artifact_utils.get_single_uri(output_dict["best_hyperparameters"]))
        results = Path(artifact_utils.get_single_uri(output_dict["tuner_results"]))
        rows = [{"trial_id": t["trial_id"], "score": t["score"], **t["values"]} for t in found["trials"]]
        for folder, name, value in (
            (best, "best_hyperparameters.txt", found["hyperparameters"]),
            (results, "tuner_results.json", rows),
            (results, SEARCH_FILE, {k: v for k, v in found.items() if k not in ("hyperparameters", "trials")}),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(value, sort_keys=True), encoding="utf-8")
