"""A collection whose ML Metadata is on a server that another line shares."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pipeline.garbage.collect import collect_garbage
from pipeline.graph import metadata_connection_config
from pipeline.metadata_server import check_metadata_server
from schema.release import MetadataConfig
from tests.e2e.mariadb import PASSWORD, USER, mariadb
from tests.pipeline.garbage.fake_line import FakeLine

NOTHING = {"runs_days": 0, "keep_runs": 1, "served_days": 0, "label_days": 0}
NOW = 1_900_000_000.0


@pytest.mark.slow
def test_only_the_artifacts_of_the_line_go(tmp_path: Path) -> None:
    secrets = {"metadata.password": PASSWORD}
    with mariadb() as port:
        config = MetadataConfig(
            backend="mysql", host="127.0.0.1", port=port, database="mlmd", user=USER, password="${PASSWORD}"
        )
        lines = []
        for name in ("toy", "other"):
            connection = metadata_connection_config(config, None, secrets)  # type: ignore[arg-type]
            check_metadata_server(connection, "line.yaml")
            line = FakeLine(tmp_path, NOW, NOTHING, name=name, connection=connection)
            line.run(seed=1)
            line.run(seed=2)
            lines.append(line)
        toy, other = lines
        with_server = toy.loaded.line.model_copy(update={"metadata": config})
        loaded = dataclasses.replace(toy.loaded, line=with_server, secrets=secrets)
        plan = collect_garbage(loaded, toy.state, dry_run=False, now=toy.now, announce=lambda _: None)
        assert len(plan.to_mark) == 5 and not toy.state.metadata_db.exists()
        states = toy.artifact_states()
        assert {number for number, state in states.items() if state == "DELETED"} == set(plan.to_mark) < set(toy.made)
        assert all(states[number] == "LIVE" and made.uri.is_dir() for number, made in other.made.items())
        assert toy.run(seed=2)[1] == other.run(seed=1)[1] == 6
        assert toy.run(seed=1)[1] == 3
