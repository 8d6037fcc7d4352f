"""Reading a line.yaml, with its environment's overlay and its secrets, into a typed Line."""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schema.complaints import complaints, did_you_mean, dotted, shown_value, walk
from schema.errors import ConfigError
from schema.fields import Place, bare_type, is_secret, place_at, step
from schema.line import Line
from schema.yaml_text import Located, located, read_yaml

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True)
class LoadedLine:
    """A line config as it was read.

    Attributes:
        line: the config. Secrets in it are references such as `${NAME}`, so that neither its text, nor its digest, nor
            anything stored from it ever holds one.
        path: the line.yaml, absolute.
        base_dir: the folder that relative paths of the config start from.
        environment: the overlay's environment, or None.
        files: the files that were read, line.yaml first.
        secrets: dotted key (`metadata.password`) to the secret itself. Not part of repr.
    """

    line: Line
    path: Path
    base_dir: Path
    environment: str | None = None
    files: tuple[Path, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


def load_line(
    path: Path,
    *,
    environment: str | None = None,
    changes: Mapping[str, Any] | None = None,
    env: Mapping[str, str] = os.environ,
    resolve_secrets: bool | Collection[str] = True,
) -> LoadedLine:
    """Reads and checks a line config.

    Args:
        path: the line.yaml.
        environment: merges `line.<environment>.yaml` beside it over it: mappings key by key, anything else whole.
        changes: dotted key to value, laid over both: what an experiment tries. Messages call their place `changes`.
        env: where `${NAME}` is looked up.
        resolve_secrets: whether secrets are looked up at all; without it `LoadedLine.secrets` is empty. Or the sections
            whose secrets are: a server must not need the key that signs releases.

    Returns:
        The line and where it came from.

    Raises:
        ConfigError: one message with a line for everything that is wrong.
    """
    tree = read_yaml(path)
    files = [path]
    if environment is not None:
        overlay = overlay_path(path, environment)
        tree = merge(tree, read_yaml(overlay))
        files.append(overlay)
    if changes:
        tree = merge(tree, located(nested(changes), "changes"))
    problems, secrets = _interpolate(tree, env, resolve=resolve_secrets)
    line = _validate(tree, problems)
    absolute = path.resolve()
    return LoadedLine(
        line=line,
        path=absolute,
        base_dir=absolute.parent,
        environment=environment,
        files=tuple(file.resolve() for file in files),
        secrets=secrets,
    )


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns dotted keys as nested mappings: `{"trainer.batch_size": 64}` as `{"trainer": {"batch_size": 64}}`.

    Raises:
        ConfigError: a key is no text, or is given both as a value and as a mapping.
    """
    tree: dict[str, Any] = {}
    for key, value in changes.items():
        if not isinstance(key, str) or not all(key.split(".")):
            raise ConfigError(f"a change must be named by its key, such as trainer.learning_rate. Got {key!r} instead")
        tail = copy.deepcopy(value)
        for part in reversed(key.split(".")):
            tail = {part: tail}
        _put(tree, tail, key)
    return tree


def _put(tree: dict[str, Any], value: Mapping[str, Any], given: str) -> None:
    for key, inner in value.items():
        known = tree.get(key)
        if isinstance(inner, Mapping) and isinstance(known, dict):
            _put(known, inner, given)
        elif key in tree:
            raise ConfigError(f"a change must be given once. Got {given!r} besides another one of the same key")
        else:
            tree[key] = dict(inner) if isinstance(inner, Mapping) else inner


def overlay_path(path: Path, environment: str) -> Path:
    """Returns the overlay file of an environment (`line.prod.yaml`). Raises ConfigError when there is none."""
    known = sorted(
        file.name[len(path.stem) + 1 : -len(path.suffix)] for file in path.parent.glob(f"{path.stem}.*{path.suffix}")
    )
    if not _ENVIRONMENT.fullmatch(environment):
        raise ConfigError(f"an environment must be letters, digits, _ or -. Got {environment!r} instead")
    overlay = path.with_name(f"{path.stem}.{environment}{path.suffix}")
    if not overlay.is_file():
        there = f"There are {', '.join(known)}" if known else "There is none at all"
        guess = did_you_mean(environment, known)
        raise ConfigError(
            f"the environment {environment!r} must have an overlay {overlay}. {there}{guess}",
            hint=f"write {overlay.name}, or leave the environment out",
        )
    return overlay


def merge(base: Located, overlay: Located) -> Located:
    """Returns `overlay` over `base`: mappings are merged key by key, anything else replaces what was there.

    A mapping of another `kind` replaces the old one whole, since keys of one kind mean nothing to another.
    """
    if not (isinstance(base.value, dict) and isinstance(overlay.value, dict)):
        return overlay
    old, new = base.value.get("kind"), overlay.value.get("kind")
    if old is not None and new is not None and old.value != new.value:
        return overlay
    merged = dict(base.value)
    for key, child in overlay.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    # A merged mapping stands where it was first; what is wrong inside it has its own place.
    return Located(merged, base.file, base.line)


def find_line(name_or_path: str, cwd: Path) -> Path:
    """Returns the line.yaml that a user means.

    Args:
        name_or_path: a YAML file, a folder with a line.yaml, or the name of a line that ships with the project.
        cwd: where relative paths start.

    Raises:
        ConfigError: there is no such line (with what was tried and what there is), or there are two.
    """
    shipped = shipped_lines()
    given = cwd / Path(name_or_path).expanduser()
    as_folder = given / "line.yaml"
    found = given if given.is_file() else as_folder if as_folder.is_file() else None
    if found is not None and found.suffix not in (".yaml", ".yml"):
        raise ConfigError(
            f"a line must be a .yaml file, a folder with a line.yaml, or a known name. Got {name_or_path} instead",
            hint=f"`conveyor init {name_or_path} --label COLUMN` makes a line of a table",
        )
    named = shipped.get(name_or_path)
    if found and named and found.resolve() != named.resolve():
        raise ConfigError(
            f"the line {name_or_path!r} must be one. There are two: {found} and the project's own {named}",
            hint=f"write {os.path.join('.', name_or_path)} for the first, or {named} for the second",
        )
    if found or named:
        return found or named  # type: ignore[return-value]
    known = f"Known lines: {', '.join(shipped)}" if shipped else "There are no known lines"
    raise ConfigError(
        f"the line {name_or_path!r} was not found{did_you_mean(name_or_path, shipped)}\n"
        f"  tried: {given}, {as_folder}, the known lines\n  {known}",
        hint="name a known line, a folder with a line.yaml, or a .yaml file; `conveyor init TABLE --label COLUMN` "
        "writes one for a table of yours",
    )


def shipped_lines() -> dict[str, Path]:
    """Returns the lines that ship with the project (`data/<name>/line.yaml`), by name in alphabetical order."""
    folder = Path(__file__).resolve().parent.parent / "data"
    return {path.parent.name: path for path in sorted(folder.glob("*/line.yaml"))}


def _leaves(node: Located, place: Place | None, path: tuple[str | int, ...]) -> Iterator:
    """Yields (path, value, place) for every scalar of the config."""
    if isinstance(node.value, dict):
        plain = {key: child.value for key, child in node.value.items()}
        for key, child in node.value.items():
            yield from _leaves(child, step(place, key, plain) if place else None, (*path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from _leaves(child, step(place, index, None) if place else None, (*path, index))
    else:
        yield path, node, place


def _interpolate(
    tree: Located, env: Mapping[str, str], *, resolve: bool | Collection[str]
) -> tuple[list[str], dict[str, str]]:
    """Checks every `${NAME}` and returns what is wrong, and the secrets by dotted key."""
    problems: list[str] = []
    secrets: dict[str, str] = {}
    for path, node, place in _leaves(tree, Place(Line), ()):
        where, key = f"{node.file}:{node.line}:", dotted(path)
        if is_secret(place) and node.value is not None:
            text = node.text if node.text is not None else str(node.value)
            names = REFERENCE.findall(text)
            if not names or "${" in REFERENCE.sub("", text):
                problems.append(
                    f"{where} {key} is a secret and must be given as ${{NAME}}, read from the environment. "
                    f"Got {shown_value(node, secret=True)} instead"
                )
                continue
            wanted = resolve if isinstance(resolve, bool) else path[0] in resolve
            unset = [name for name in names if not env.get(name)] if wanted else []
            problems += [
                f"{where} {key}: the environment variable {name} must be set. Got nothing instead" for name in unset
            ]
            if wanted and not unset:
                secrets[key] = REFERENCE.sub(lambda match: env[match[1]], text)
        elif isinstance(node.value, str) and REFERENCE.search(node.value):
            name = REFERENCE.search(node.value)[0]  # type: ignore[index]
            problems.append(
                f"{where} {key}: {name} must only be used for secrets (such as metadata.password), "
                "so that a config says the same everywhere; write the value itself, or put it into an overlay "
                "line.<environment>.yaml"
            )
        elif isinstance(node.value, float) and not math.isfinite(node.value) and not _is_text(place):
            problems.append(f"{where} {key} must be a finite number. Got {node.text} instead")
    return problems, secrets


def _is_text(place: Place | None) -> bool:
    return place is not None and bare_type(place.annotation) is str


def _validate(tree: Located, problems: list[str]) -> Line:
    """Validates the config, taking it as it was surely meant where YAML read it otherwise."""
    errors: list = []
    for _ in range(3):
        try:
            line = Line.model_validate(tree.plain())
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
            if not _mend(errors, tree):
                break
        else:
            if not problems:
                return line
            errors = []
            break
    found = [*problems, *(complaints(errors, tree, Line) if errors else [])]
    count = f"{len(found)} things are" if len(found) > 1 else "1 thing is"
    raise ConfigError(f"{tree.file}: {count} wrong in the line config:\n" + "\n".join(f"  {text}" for text in found))


def _mend(errors: list, tree: Located) -> bool:
    """Mends, in place, what is unambiguous; returns whether there was any.

    A number or boolean where a text is wanted (`classes: [0, 1]`) is the text that stands in the file. A section with
    nothing in it (its keys are all commented out) has all its defaults.
    """
    plain = tree.plain()
    mended = False
    for error in errors:
        path, node, rest = walk(tree, error["loc"])
        place = place_at(Line, path, plain)
        if rest or place is None:
            continue
        if error["type"] == "string_type" and _is_text(place) and node.text and node.value is not None:
            node.value = node.text
            mended = True
        elif error["type"] in ("model_type", "dict_type", "tuple_type") and node.value is None and place.field:
            _, parent, _ = walk(tree, path[:-1])
            del parent.value[path[-1]]
            mended = True
    return mended
