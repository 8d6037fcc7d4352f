"""Whose signatures a verb asks for: `--require-signed`, `--trusted-key`, and what the line config says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pipeline.state import State
    from schema.loading import LoadedLine
    from serving.signing.trust import Trust

F = TypeVar("F", bound=Callable[..., Any])


def trusted_key_option(function: F) -> F:
    """Adds `--trusted-key`."""
    return click.option(
        "--trusted-key",
        "trusted_keys",
        type=click.Path(path_type=Path),
        metavar="FILE",
        multiple=True,
        help="A public key whose signatures count, besides serving.trusted_keys. May be repeated.",
    )(function)


def signed_options(function: F) -> F:
    """Adds `--require-signed` and `--trusted-key`."""
    return click.option(
        "--require-signed",
        is_flag=True,
        help="Refuse what no trusted key has signed, byte for byte. Default: serving.require_signed.",
    )(trusted_key_option(function))


def trust_of_line(loaded: LoadedLine, required: bool = False, given: Sequence[Path] = ()) -> Trust | None:
    """Returns whose signatures a version of a line must have, or None where it needs none.

    Args:
        loaded: the line config.
        required: whether the command line asks for them.
        given: the keys that it names.

    Raises:
        UsageError: keys are named, and signatures not asked for.
        ConfigError: there is no key, or one cannot be used.
    """
    config = loaded.line.serving
    if not _is_required(required or config.require_signed, given):
        return None
    return _trust(loaded.line.name, config.trusted_keys, loaded.base_dir, given)


def recorded_trust(
    state: State, required: bool = False, given: Sequence[Path] = (), *, always: bool = False
) -> Trust | None:
    """Returns the same for a line of which there may be nothing here but its state: as its newest run had it.

    Args:
        state: the line's state.
        required: whether the command line asks for signatures.
        given: the keys that it names.
        always: whether they are asked for in any case.

    Raises:
        UsageError: keys are named, and signatures not asked for.
        ConfigError: there is no key, or one cannot be used.
    """
    from pipeline.record import newest_of_line

    run = newest_of_line(state)
    config = run.config.get("serving", {}) if run else {}
    if not _is_required(always or required or bool(config.get("require_signed")), given):
        return None
    return _trust(state.line, config.get("trusted_keys", ()), Path(run.base_dir if run else "."), given)


def _is_required(required: bool, given: Sequence[Path]) -> bool:
    from schema.errors import UsageError

    if given and not required:
        raise UsageError("--trusted-key must come with --require-signed, or serving.require_signed: true. Got it alone")
    return required


def _trust(line: str, configured: Sequence[str], base_dir: Path, given: Sequence[Path]) -> Trust:
    from schema.errors import ConfigError
    from serving.signing.keys import read_public_keys
    from serving.signing.trust import Trust

    keys = {
        **read_public_keys((base_dir / name for name in configured), "serving.trusted_keys"),
        **read_public_keys(given, "--trusted-key"),
    }
    if not keys:
        raise ConfigError(
            "signed releases need at least one trusted key: serving.trusted_keys or --trusted-key. Got none instead",
            hint="openssl pkey -in release.key -pubout -out release.pub.pem writes the public key of a private one",
        )
    return Trust(line, keys)
