"""Which versions a base path has and which of them are to be served."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from serving.model_server.model_config import All, ModelConfig, Specific

_log = logging.getLogger(__name__)

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")
_INT64 = range(-(2**63), 2**63)


def version_number(name: str) -> int | None:
    """Returns the version that a folder's name stands for, or None: whatever parses as an int64, `00000123` as 123."""
    match = _NUMBER.fullmatch(name)
    number = int(match[1]) if match and len(match[1]) < 4000 else None
    return number if number is not None and number in _INT64 else None


def versions_by_number(names: Iterable[str]) -> dict[int, str]:
    """Returns version to name. Of two names for one version, such as `7` and `007`, the last in order counts."""
    versions: dict[int, str] = {}
    for name in sorted(names):
        number = version_number(name)
        if number is not None:
            versions[number] = name
    return versions


class BasePaths:
    """Looks for versions at each call, and logs what is amiss when that changes, not at each look."""

    def __init__(self) -> None:
        self._complaints: dict[str, list[str]] = {}

    def __call__(self, config: ModelConfig) -> dict[int, Path] | None:
        """Looks for the versions that a model's policy asks for; see `aspired_versions`."""
        complaints: list[str] = []
        versions = aspired_versions(config, complaints.append)
        before = self._complaints.get(config.name, [])
        self._complaints[config.name] = complaints
        for complaint in complaints:
            if complaint not in before:
                _log.warning(complaint)
        return versions


def aspired_versions(config: ModelConfig, complain: Callable[[str], object] = _log.warning) -> dict[int, Path] | None:
    """Looks for the versions that a model's policy asks for.

    Names come from listing the base path, so a version is always a child of it (which may be a symbolic link to
    somewhere else: the operator's choice, as with TensorFlow Serving).

    Args:
        config: the model.
        complain: is told what is amiss.

    Returns:
        Version to folder; empty when the policy finds none, which means that all are to be unloaded. None when the
        base path is not there or cannot be read, perhaps for a moment only, which means that nothing changes.
    """
    try:
        names = os.listdir(config.base_path)
    except OSError as error:
        complain(f"Could not find base path {config.base_path} for servable {config.name}: {error.strerror}")
        return None
    versions = versions_by_number(names)
    policy = config.policy
    if isinstance(policy, Specific):
        missing = [version for version in policy.versions if version not in versions]
        if missing:
            complain(f"Versions {missing} of servable {config.name} are not in {config.base_path}")
        chosen = [version for version in policy.versions if version in versions]
    elif isinstance(policy, All):
        chosen = list(versions)
    else:
        chosen = sorted(versions)[-max(policy.num_versions, 1) :]
    if not chosen:
        complain(
            f"No versions of servable {config.name} found under base path {config.base_path}; "
            "a version's folder is named by its number, e.g. 1"
        )
    base = Path(config.base_path)
    return {version: base / versions[version] for version in sorted(chosen)}
