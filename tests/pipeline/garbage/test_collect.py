"""What is kept, what goes and in which order, on one history each."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.garbage import collect, metadata, sweep
from pipeline.garbage.plan import Plan
from schema.errors import ConveyorError, UsageError
from tests.pipeline.garbage.dying import dying
from tests.pipeline.garbage.fake_line import FakeLine, in_memory

DAY = 86_400.0
START = 1_900_000_000.0
NOTHING = {"runs_days": 0, "keep_runs": 1, "served_days": 0, "label_days": 0}


def line_of(folder: Path, **retention: Any) -> FakeLine:
    return FakeLine(folder, START, {**NOTHING, **retention}, connection=in_memory())


def swept(line: FakeLine, **options: Any) -> Plan:
    with mock.patch.object(collect, "open_store", lambda *_: line.store):
        arguments = {"dry_run": False, "now": line.now, "announce": lambda _: None, **options}
        return collect.collect_garbage(line.loaded, line.state, **arguments)


def model_of(line: FakeLine, run_id: str) -> Path:
    return next(line.made[each].uri for each in line.runs[run_id] if line.made[each].key == "model")


def released(line: FakeLine, *seeds: int) -> list[Path]:
    """Runs and releases a model a seed, each of other data, and returns the models."""
    models = []
    for seed in seeds:
        run_id, _ = line.run(seed=seed, spans=seed)
        line.push(run_id)
        models.append(model_of(line, run_id))
    return models


def killed() -> None:
    raise RuntimeError("killed")


def whys(plan: Plan) -> dict[str, str]:
    return {item.path: item.why for item in plan.kept}


def test_what_no_version_and_no_run_needs_goes(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    rejected, _ = line.run(seed=1)
    newest, _ = line.run(seed=2)
    plan = swept(line)
    assert not model_of(line, rejected).exists()
    assert model_of(line, newest).is_dir()
    assert str(model_of(line, rejected)) in {item.path for item in plan.removed}
    assert plan.freed == sum(item.bytes for item in plan.removed) > 0
    # Both were trained on the same examples.
    assert line.run(seed=2)[1] == 6


def test_a_version_that_a_rollback_can_go_back_to_keeps_its_lineage(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    models = released(line, 1, 2, 3)
    kept = whys(swept(line))
    assert all(model.is_dir() for model in models)
    first, _, third = (each.uri for each in line.made.values() if each.key == "transform_graph")
    assert kept[str(first)] == "version 1 can be put back by a rollback"
    assert kept[str(third)] == "version 3 is live"


@pytest.mark.parametrize(
    ("retention", "days", "why"),
    [
        ({"served_days": 10}, 9, "version 1 answered requests within 10 days"),
        ({"served_days": 10}, 11, None),
        ({"served_days": 2, "label_days": 10}, 9, "version 1 may get labels within 10 days"),
        ({"label_days": 10}, 11, None),
    ],
)
def test_a_pruned_version_is_needed_as_long_as_it_answered_lately(
    tmp_path: Path, retention: dict[str, int], days: int, why: str | None
) -> None:
    line = line_of(tmp_path, **retention)
    released(line, 1, 2)
    line.append("pruned", 1)
    line.now += days * DAY
    # Not the model: version 2 was judged against it.
    graph = next(each.uri for each in line.made.values() if each.key == "transform_graph")
    assert whys(swept(line)).get(str(graph)) == why
    assert graph.exists() == (why is not None)


def test_a_baseline_is_kept_and_what_it_was_made_of_is_not(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    first, second = released(line, 1, 2)
    line.append("pruned", 1)
    line.now += DAY
    swept(line)
    examples = {each.sources[0] for each in line.made.values() if each.uri == first}
    assert first.is_dir(), "version 2 was judged against it"
    assert not any(line.made[each].uri.exists() for each in examples)
    assert second.is_dir()


def test_runs_are_kept_by_age_and_by_number(tmp_path: Path) -> None:
    line = line_of(tmp_path, runs_days=5, keep_runs=2)
    names = []
    for seed in (1, 2, 3, 4):
        names.append(line.run(seed=seed, spans=seed)[0])
        line.now += 4 * DAY
    swept(line)
    assert [model_of(line, name).exists() for name in names] == [False, False, True, True]
    line.now += 50 * DAY
    assert [item.path for item in swept(line).removed] == []


def test_a_version_released_elsewhere_needs_nothing_here(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    line.run()
    line.append("pushed", 1, run_id="elsewhere", model_digest="d", model_uri="gs://bucket/model")
    assert swept(line).missing == ()


def test_the_states_come_before_the_folders(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    line.run(seed=1)
    line.run(seed=2)
    steps: list[str] = []

    def noting(name: str, function: Any) -> Any:
        def noted(*args: Any, **options: Any) -> Any:
            steps.append(args[2] if name == "state" else name)
            return function(*args, **options)

        return noted

    with (
        mock.patch.object(sweep, "set_state", noting("state", metadata.set_state)),
        mock.patch.object(os, "rename", noting("rename", os.rename)),
        mock.patch.object(shutil, "rmtree", noting("rmtree", shutil.rmtree)),
    ):
        swept(line)
    in_order = list(dict.fromkeys(steps))
    assert in_order == ["LIVE", "MARKED_FOR_DELETION", "rename", "DELETED", "rmtree"]


def test_what_was_marked_and_is_needed_again_is_live_again(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    first, _ = line.run(seed=1)
    line.run(seed=2)
    with pytest.raises(RuntimeError, match="killed"), dying(2, "before", killed):
        swept(line)
    marked = [number for number, state in line.artifact_states().items() if state == "MARKED_FOR_DELETION"]
    assert marked and model_of(line, first).is_dir()
    retention = line.loaded.line.retention.model_copy(update={"keep_runs": 2})
    config = line.loaded.line.model_copy(update={"retention": retention})
    line.loaded = dataclasses.replace(line.loaded, line=config)
    plan = swept(line)
    assert plan.to_restore == tuple(marked) and not plan.to_mark
    assert set(line.artifact_states().values()) == {"LIVE"}
    assert line.run(seed=1)[1] == 6


def test_a_state_that_was_moved_keeps_what_it_needs(tmp_path: Path) -> None:
    line = line_of(tmp_path / "old")
    line.push(line.run(seed=1)[0])
    line.push(line.run(seed=2)[0])
    line.run(seed=3)
    swept(line)
    before = sorted(path.relative_to(line.state.root) for path in line.state.root.rglob("word"))
    (tmp_path / "new").mkdir()
    os.rename(line.state.root, tmp_path / "new" / "toy")
    line.state = dataclasses.replace(line.state, root=tmp_path / "new" / "toy")
    swept(line)
    assert sorted(path.relative_to(line.state.root) for path in line.state.root.rglob("word")) == before


def test_a_state_behind_a_link_is_the_same_state(tmp_path: Path) -> None:
    line = line_of(tmp_path / "real")
    line.push(line.run(seed=1)[0])
    line.run(seed=2)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    line.state = dataclasses.replace(line.state, root=tmp_path / "link" / "toy")
    plan = swept(line)
    assert plan.removed == ()
    assert not plan.left and not plan.missing


def test_nothing_is_removed_by_way_of_a_link(tmp_path: Path) -> None:
    line = line_of(tmp_path / "line")
    line.run(seed=1)
    line.run(seed=2)
    os.rename(line.state.pipeline_root / "Trainer", tmp_path / "elsewhere")
    (line.state.pipeline_root / "Trainer").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="Trainer must be a folder of the line's state. Got a symbolic link"):
        swept(line)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_artifact_that_is_a_link_is_left_and_named(tmp_path: Path) -> None:
    line = line_of(tmp_path / "line")
    old, _ = line.run(seed=1)
    line.run(seed=2)
    model = model_of(line, old)
    os.rename(model, tmp_path / "elsewhere")
    model.symlink_to(tmp_path / "elsewhere")
    plan = swept(line)
    assert (str(model), "is a symbolic link") in plan.left
    assert (tmp_path / "elsewhere" / "word").is_file()


def test_an_artifact_outside_of_the_state_is_left_and_named(tmp_path: Path) -> None:
    line = line_of(tmp_path / "line")
    old, _ = line.run(seed=1)
    line.run(seed=2)
    outside = tmp_path / "outside"
    outside.mkdir()
    number = next(each for each in line.runs[old] if line.made[each].key == "model")
    (proto,) = line.store.get_artifacts_by_id([number])
    proto.uri = str(outside)
    line.store.put_artifacts([proto])
    record = line.state.runs / old / "run.json"
    record.write_text(record.read_text().replace(str(line.made[number].uri), str(outside)))
    plan = swept(line)
    assert plan.left == ((str(outside), "lies outside of the line's state"),)
    assert outside.is_dir() and line.artifact_states()[number] == "LIVE"


def test_a_version_that_the_ledger_has_lost_and_that_can_be_served_keeps_its_lineage(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    models = released(line, 1, 2, 3)
    for version, (run_id, _) in line.models.items():
        file = line.state.runs / run_id / "run.json"
        record = {**json.loads(file.read_text()), "verdict": {"outcome": "pushed", "version": version}}
        file.write_text(json.dumps(record))
    line.state.ledger.unlink()
    (line.state.base_path(None) / "2").mkdir(parents=True)
    kept = whys(swept(line))
    assert kept[str(models[1])] == "version 2 is in the model base path, and not in the ledger"
    # Version 2 was judged against the first, and made of its own examples.
    assert [model.is_dir() for model in models] == [True, True, True]
    graphs = [each.uri for each in line.made.values() if each.key == "transform_graph"]
    assert [graph.is_dir() for graph in graphs] == [False, True, True]


def test_an_input_of_another_line_is_none_of_ours(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    run_id, _ = line.run()
    model = next(line.made[each] for each in line.runs[run_id] if line.made[each].key == "model")
    (proto,) = line.store.get_artifacts_by_id([model.id])
    (foreign,) = line.store.put_artifacts([pb.Artifact(type_id=proto.type_id, uri="/another/line", state=proto.state)])
    execution = next(
        each.execution_id for each in line.store.get_events_by_artifact_ids([model.id]) if each.type == pb.Event.OUTPUT
    )
    line.store.put_events([pb.Event(type=pb.Event.INPUT, artifact_id=foreign, execution_id=execution)])
    assert swept(line).removed == ()
    assert model.uri.is_dir() and line.artifact_states()[foreign] == "LIVE"


def test_the_model_base_path_is_never_touched(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    line.run(seed=1)
    base = line.state.pipeline_root / "serving" / "models" / "1"
    base.mkdir(parents=True)
    (base / "saved_model.pb").write_text("model")
    pusher = line.loaded.line.pusher.model_copy(update={"push_destination": str(base.parent)})
    line.loaded = dataclasses.replace(line.loaded, line=line.loaded.line.model_copy(update={"pusher": pusher}))
    assert whys(swept(line))[str(base)] == "is part of the model base path"
    assert (base / "saved_model.pb").is_file()


def test_files_that_nobody_here_made_stay(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    line.run(seed=1)
    mine = [line.state.root / name for name in ("notes.txt", "pipeline_root/notes.txt", "spans/notes", "work/my/file")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    swept(line)
    assert all(path.is_file() for path in mine)


@pytest.mark.parametrize("store", ["analysis", "spans/profiles", "work/tuner", "analysis/own", "spans/exclusions"])
def test_memories_go_that_nothing_kept_has_used(tmp_path: Path, store: str) -> None:
    line = line_of(tmp_path)
    line.run(seed=1)
    began = min(each.create_time_since_epoch for each in line.store.get_executions()) / 1000
    old, new = (line.state.root / store / f"{letter * 64}.json" for letter in "ab")
    for path, when in ((old, min(began, START) - 10), (new, START + 10)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        os.utime(path, (when, when))
    swept(line)
    assert not old.exists() and new.is_file()


def test_a_record_that_cannot_be_read_stops_it(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    old, _ = line.run(seed=1)
    line.run(seed=2)
    (line.state.runs / old / "run.json").write_text('{"run_id": "x"}')
    with pytest.raises(ConveyorError, match=r"run\.json must be the record of a run") as caught:
        swept(line)
    assert caught.value.exit_code == 1
    (line.state.runs / old / "run.json").unlink()
    with pytest.raises(ConveyorError, match=r"run\.json must be the record of a run"):
        swept(line)
    assert model_of(line, old).is_dir()


def test_a_compiled_run_is_kept_or_removed_as_a_whole(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    old, _ = line.run(seed=1)
    new, _ = line.run(seed=2)
    for name in (old, new):
        folder = line.state.compiled_root / "toy" / name / "Trainer"
        folder.mkdir(parents=True)
        (folder / "executor_output.json").write_text("{}")
    swept(line)
    assert [path.name for path in (line.state.compiled_root / "toy").iterdir()] == [new]


def test_a_file_of_two_names_frees_nothing_until_both_go(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    line.run(seed=1, spans=1)
    line.run(seed=2, spans=2)
    entry = line.state.root / "spans" / f"{1:064x}"
    size = (entry / "span.json").stat().st_size
    os.utime(entry, (line.now + 5, line.now + 5))
    plan = swept(line, dry_run=True)
    sizes = {item.path: item.bytes for item in plan.removed}
    folder = str(line.made[1].uri.parent)
    assert sizes[folder] == (line.made[1].uri / "word").stat().st_size
    os.utime(entry, (START - 10, START - 10))
    os.utime(entry / "span.json", (START - 10, START - 10))
    both = {item.path: item.bytes for item in swept(line, dry_run=True).removed}
    assert both[folder] + both[str(entry)] == sizes[folder] + size


def test_what_a_killed_collection_has_moved_is_counted_and_goes(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    line.run()
    trash = line.state.root / "trash"
    (trash / "0").mkdir(parents=True)
    (trash / "0" / "model").write_text("model")
    plan = swept(line)
    assert [(item.path, item.kind, item.bytes) for item in plan.removed] == [(str(trash), "leftovers", 5)]
    assert not trash.exists()


def test_a_trash_that_is_a_link_loses_nothing(tmp_path: Path) -> None:
    line = line_of(tmp_path / "line")
    line.run(seed=1)
    line.run(seed=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (line.state.root / "trash").symlink_to(tmp_path / "mine")
    swept(line)
    assert (tmp_path / "mine" / "file").is_file()
    assert not os.path.lexists(line.state.root / "trash")
