"""A user's own function, named in a line config by its dotted path."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from schema.errors import ConfigError


def imported_function(path: str, key: str) -> Callable[..., Any]:
    """Imports what a dotted path names.

    Args:
        path: `package.module.name`.
        key: the config key that names it, for the message: `transform.preprocessing_fn`.

    Returns:
        The function, or anything else that can be called.

    Raises:
        ConfigError: there is no such module or name, the module fails while it is imported, or the name is not that of
            something to call.
    """
    module, _, name = path.rpartition(".")
    hint = "correct the path, or put the module's folder on PYTHONPATH (or install its package)"
    if not module or not name:
        raise ConfigError(
            f"{key} must be the dotted path of a function, such as my_features.{name or 'f'}. Got {path!r} instead",
            hint=hint,
        )
    try:
        found = importlib.import_module(module)
    except ImportError as e:
        raise ConfigError(f"{key} must be the dotted path of a function. Got {path!r} instead ({e})", hint=hint) from e
    except Exception as e:  # whatever a user's module does when it is run
        raise ConfigError(
            f"{key} must be the dotted path of a function in a module that can be imported. Got {path!r} instead, "
            f"whose import fails with {type(e).__name__}: {e}",
            hint=f"`python -c 'import {module}'` shows the line",
        ) from e
    try:
        function = getattr(found, name)
    except AttributeError as e:
        raise ConfigError(f"{key} must be the dotted path of a function. Got {path!r} instead ({e})", hint=hint) from e
    if not callable(function):
        raise ConfigError(
            f"{key} must be callable, as the dotted path of a function is. Got {path!r}, a {type(function).__name__}, "
            "instead",
            hint=hint,
        )
    return function  # type: ignore[no-any-return]
