"""What ML Metadata says of a line: which execution made which artifact of which others. Pure."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Literal

JUDGED_AGAINST = "baseline_model"
"""The Evaluator's input that a model is compared with, and not made of."""

ArtifactState = Literal["live", "marked", "deleted", "unfinished"]


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An artifact.

    Attributes:
        id: its number in ML Metadata.
        uri: where its files are.
        type: its type's name.
        state: `marked` for deletion, `deleted`; `unfinished` is the output of an execution that did not end well.
        ingest_key: the entry of the span store that its records came from, or None.
    """

    id: int
    uri: str
    type: str
    state: ArtifactState = "live"
    ingest_key: str | None = None


@dataclasses.dataclass(frozen=True)
class Execution:
    """An execution of a node; one that was answered from the cache has the same outputs as the one that made them.

    Attributes:
        id: its number in ML Metadata.
        created: when it began, seconds since the epoch.
        inputs: input key and artifact.
        outputs: artifacts.
    """

    id: int
    created: float
    inputs: tuple[tuple[str, int], ...] = ()
    outputs: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Artifacts and executions of a line.

    Attributes:
        artifacts: id to artifact.
        executions: id to execution.
        runs: run id to the executions of that run.
    """

    artifacts: Mapping[int, Artifact] = dataclasses.field(default_factory=dict)
    executions: Mapping[int, Execution] = dataclasses.field(default_factory=dict)
    runs: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    @cached_property
    def by_uri(self) -> Mapping[str, tuple[int, ...]]:
        """URI to the artifacts there."""
        found: dict[str, list[int]] = defaultdict(list)
        for artifact in self.artifacts.values():
            found[artifact.uri].append(artifact.id)
        return {uri: tuple(ids) for uri, ids in found.items()}

    @cached_property
    def makers(self) -> Mapping[int, tuple[int, ...]]:
        """Artifact to the executions that have it as an output."""
        found: dict[int, list[int]] = defaultdict(list)
        for execution in self.executions.values():
            for artifact in execution.outputs:
                found[artifact].append(execution.id)
        return {artifact: tuple(ids) for artifact, ids in found.items()}

    def reached(self, artifacts: Iterable[int]) -> set[int]:
        """Returns the artifacts that some were made from, themselves included.

        The outputs of an execution stay together, or the cache would never answer with it again. What a model was
        judged against is reached, and what that was made from is not: else each version would reach all before it.
        """
        todo = list(artifacts)
        followed: set[int] = set()
        alone: set[int] = set()
        while todo:
            artifact = todo.pop()
            # Another line's, where an execution took one, is none of ours.
            if artifact in followed or artifact not in self.artifacts:
                continue
            followed.add(artifact)
            for maker in self.makers.get(artifact, ()):
                execution = self.executions[maker]
                todo.extend(execution.outputs)
                for key, source in execution.inputs:
                    if key == JUDGED_AGAINST:
                        alone.add(source)
                    else:
                        todo.append(source)
        return followed | alone & self.artifacts.keys()
