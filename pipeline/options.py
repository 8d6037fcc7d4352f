"""How a run is to be done, and which ways do not go together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pipeline.ancestry import ancestors, check_component, taken_before
from schema.errors import UsageError


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How a run is to be done.

    Attributes:
        span: `all`, `latest`, or the newest span of the window by number or label.
        until: the last node wanted, or None for all.
        wait_seconds: how long to wait for another run of the line; 0 refuses at once.
        as_compiled: carry out the pipeline spec that `conveyor compile` would write, a process a step, instead of the
            local DAG; every step is done anew.
        resume: the killed or failed run to go on with: a run id, its beginning, or `latest`.
        from_component: do this component anew, and take what comes before it from an earlier run as it is.
        force: components that do their work anew although it is cached.
        experiment: what somebody calls the experiment that the run belongs to.
        repeat_search: a file with an earlier search for hyperparameters, to be repeated or taken over.
        exclude_rows: a file of rows to leave out, instead of that of `examples.exclude_rows`.
    """

    span: str = "all"
    until: str | None = None
    wait_seconds: float = 0.0
    as_compiled: bool = False
    resume: str | None = None
    from_component: str | None = None
    force: tuple[str, ...] = ()
    experiment: str | None = None
    repeat_search: Path | None = None
    exclude_rows: Path | None = None

    def check(self) -> None:
        """Checks that the options can be followed.

        Raises:
            UsageError: a component is not one, or two options contradict each other.
        """
        for option, name in (
            ("--until", self.until),
            ("--from", self.from_component),
            *(("--force", name) for name in self.force),
        ):
            if name is not None:
                check_component(option, name)
        self._check_compiled()
        if self.resume is not None:
            for option, given in (("--span", self.span != "all"), ("--from", self.from_component is not None)):
                if given:
                    raise UsageError(
                        f"{option} must not be given with --resume: a resumed run has the spans and the components of "
                        "the run that it goes on with",
                        hint="leave one of the two out",
                    )
        self.check_combination()

    def check_combination(self) -> None:
        """Checks that the components that the options name go together.

        Raises:
            UsageError: they do not.
        """
        if self.from_component is not None:
            self._check_from(self.from_component)
        self._check_forced()

    @property
    def forced(self) -> tuple[str, ...]:
        """The components that do their work anew."""
        return tuple(dict.fromkeys([*self.force, *([self.from_component] if self.from_component else [])]))

    @property
    def taken(self) -> tuple[str, ...]:
        """The components whose artifacts are taken from an earlier run."""
        return taken_before(self.from_component) if self.from_component else ()

    def to_dict(self) -> dict[str, Any]:
        """Returns what of it is kept with a run, as JSON-ready data."""
        return {
            "span": self.span,
            "until": self.until,
            "from": self.from_component,
            "as_compiled": self.as_compiled,
            "repeat_search": str(self.repeat_search.absolute()) if self.repeat_search else None,
        }

    def _check_compiled(self) -> None:
        if not self.as_compiled:
            return
        if self.until is not None:
            raise UsageError("--until must not be given with --as-compiled: a compiled pipeline runs as a whole")
        for option, given in (("--resume", self.resume), ("--from", self.from_component), ("--force", self.force)):
            if given:
                raise UsageError(
                    f"{option} must not be given with --as-compiled: a compiled pipeline does every step anew",
                    hint=f"leave {option} or --as-compiled out",
                )

    def _check_from(self, component: str) -> None:
        if self.span != "all" and "SpanExampleGen" in self.taken:
            raise UsageError(
                f"--span must not be given with --from {component}: the spans are those of the run whose artifacts are "
                f"taken. Got {self.span!r} instead",
                hint="leave --span out, or start with --from SpanExampleGen",
            )
        if self.exclude_rows is not None and "SpanExampleGen" in self.taken:
            raise UsageError(
                f"--exclude-rows must not be given with --from {component}: the examples are taken as they are",
                hint="leave one of the two out, or start with --from SpanExampleGen",
            )
        if self.until is not None and component not in {self.until, *ancestors(self.until)}:
            raise UsageError(
                f"--until must be {component} or a component that needs it, with --from {component}. "
                f"Got {self.until!r} instead",
                hint="name a later component, or leave --until out",
            )

    def _check_forced(self) -> None:
        for name in self.force:
            if name in self.taken:
                raise UsageError(
                    f"--force must not name a component before that of --from, which is {self.from_component}. "
                    f"Got {name!r} instead",
                    hint=f"start with --from {name}",
                )
            if self.until is not None and name not in {self.until, *ancestors(self.until)}:
                raise UsageError(
                    f"--force must name {self.until} or a component that it needs, with --until {self.until}. "
                    f"Got {name!r} instead",
                    hint="leave --until or --force out",
                )
