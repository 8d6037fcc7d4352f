"""`conveyor compile`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conveyor.options import json_option, line_argument, open_line

if TYPE_CHECKING:
    from schema.orchestration import Target


@click.command(name="compile", short_help="Write a line as a pipeline spec for Kubeflow or Vertex AI.")
@line_argument
@click.option(
    "--target", required=True, type=click.Choice(["kubeflow", "vertex"]), help="Which service the spec is for."
)
@click.option("--span", default="all", metavar="N|latest|all", help="The newest span of the window. Default: all.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write. Default: LINE.json (vertex: a PipelineJob) or LINE.yaml (kubeflow: a PipelineSpec).",
)
@json_option
def command(line: str, environment: str | None, target: Target, span: str, output: Path | None, as_json: bool) -> int:
    """Write LINE as a pipeline spec, as its `orchestration` section says.

    The window is the one that is there now, and the steps read its files at the same paths. With
    `orchestration.schedule` each run finds its window.
    """
    loaded, state = open_line(line, environment, resolve_secrets=False)
    from conveyor.output import console, print_json
    from data.whole_file import replace_text
    from pipeline.compiled.job import Place, compile_job
    from pipeline.compiled.limits import check_limits
    from pipeline.compiled.spec_file import spec_text
    from pipeline.inputs import resolve_inputs
    from pipeline.logs import quiet_to_file

    place = Place.of(loaded, target, os.environ)
    inputs = resolve_inputs(loaded, state, span=span)
    with quiet_to_file(Path(os.devnull)):
        job = compile_job(loaded, inputs, place)
    check_limits(job, target)
    path = output or Path(f"{loaded.line.name}.{'json' if target == 'vertex' else 'yaml'}")
    replace_text(path, spec_text(job, target))
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    if as_json:
        found = {"file": str(path), "target": target, "steps": sorted(tasks), "image": place.image}
        print_json({**found, "pipeline_root": place.pipeline_root, "state": str(place.state)})
    else:
        told = f"{path}: {len(tasks)} steps of {place.image}, pipeline root {place.pipeline_root}"
        console().print(told, soft_wrap=True)
    return 0
