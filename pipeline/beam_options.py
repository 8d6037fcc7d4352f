"""Beam's options for the components of a line, chosen by the size of its input."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.code_digest import PROJECT_ROOT
from schema.errors import ConfigError
from schema.release import BeamConfig

SETUP_FILE = PROJECT_ROOT / "setup.py"
"""By which a worker installs the project; there in a checkout only."""

SHIPPING = ("--setup_file", "--sdk_container_image", "--worker_harness_container_image")
"""Options by which workers on other machines come to have Conveyor."""


def beam_pipeline_args(config: BeamConfig, input_bytes: int, setup_file: Path) -> list[str]:
    """Returns the options for Beam.

    New worker processes cost seconds each, because each imports TensorFlow: they pay only for a large input. A small
    one gets no options at all, which means the same (in memory, one worker): given any option but none of `SHIPPING`,
    TFX packs its own installation into a source archive, once a component, at seconds each.

    Args:
        config: the line's `beam` section.
        input_bytes: size of the window's files, in bytes.
        setup_file: `setup.py`, absolute; a runner on this machine only wants it named, for the above.

    Raises:
        ConfigError: workers on other machines would not have Conveyor.
    """
    mode = config.direct_running_mode
    large = input_bytes > config.large_input_bytes
    if mode == "auto":
        mode = "multi_processing" if large else "in_memory"
    workers = config.direct_num_workers or ((os.cpu_count() or 1) if large else 1)
    if mode == "in_memory" and workers == 1 and not config.pipeline_args:
        return []
    args = [f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
    if not _given(config, *SHIPPING):
        if _given(config, "--runner") and not setup_file.is_file():
            raise ConfigError(
                f"beam.pipeline_args must name one of {', '.join(SHIPPING)} for workers to have Conveyor: it was not "
                f"installed from a checkout, whose setup.py would do. Got {list(config.pipeline_args)} instead",
                hint="name a container image with Conveyor in it, or the setup.py of a checkout",
            )
        args.append(f"--setup_file={setup_file}")
    return [*args, *config.pipeline_args]


def _given(config: BeamConfig, *options: str) -> bool:
    return any(arg.split("=")[0] in options for arg in config.pipeline_args)
