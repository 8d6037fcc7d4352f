"""Reading YAML text into values that remember the file and line they came from.

The dialect is YAML 1.2's core schema, not PyYAML's YAML 1.1: only `true` and `false` are booleans, so that a class
named `no` or `on` stays a text, `1e-3` is a number, and dates, octals and base-60 numbers do not exist. Aliases, tags,
duplicate keys and documents past fixed bounds are errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from schema.errors import ConfigError

MAX_BYTES = 1024 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 40

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,400}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PLAIN_TAG = "conveyor:plain"
_TEXT_TAG = "tag:yaml.org,2002:str"
_PROBLEMS = (
    ("cannot start any token", "a tab must not be used for indentation. Use blanks instead", "\\t"),
    ("mapping values are not allowed here", "a text that holds ': ' must be quoted", ""),
    ("could not find expected ':'", "a key must be followed by a colon and a blank", ""),
    ("but got '{'", "a text that holds a brace, such as ${NAME}, must be quoted within brackets", ""),
)


class _Loader(yaml.SafeLoader):
    """Marks plain scalars, which are neither quoted, nor blocks, nor tagged, and leaves what they mean to us."""

    yaml_implicit_resolvers = {None: [(_PLAIN_TAG, re.compile(r"(?s).*"))]}


@dataclass
class Located:
    """A YAML value and where it stands.

    Attributes:
        value: a scalar, a list of Located, or a dict of str to Located.
        file: the file's path, as messages show it.
        line: 1-based line of the value; of the key for a value in a mapping.
        text: source text of a plain scalar (`007`), None for anything else.
    """

    value: Any
    file: str
    line: int
    text: str | None = None

    def plain(self) -> Any:
        """Returns the value without locations."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def located(value: Any, file: str) -> Located:
    """Returns a value of Python's own as if it had been read.

    Args:
        value: mappings, lists, tuples and scalars.
        file: how messages are to call its place.
    """
    if isinstance(value, Mapping):
        return Located({str(key): located(inner, file) for key, inner in value.items()}, file, 1)
    if isinstance(value, (list, tuple)):
        return Located([located(inner, file) for inner in value], file, 1)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return Located(value, file, 1, str(value) if number else None)


def scalar_of(text: str) -> Any:
    """Returns what a plain (unquoted) YAML scalar means: None, bool, int, float or the text itself."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        lowered = text.lower()
        return float(lowered.replace(".inf", "inf").replace(".nan", "nan"))
    return text


def read_yaml(path: Path) -> Located:
    """Reads a YAML file whose top level is a mapping.

    Args:
        path: the file, UTF-8 with or without a byte order mark.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or is not what the module's dialect allows.
    """
    shown = str(path)
    try:
        if not path.is_file():
            raise ConfigError(f"{shown} must be a file. Got {'a folder' if path.is_dir() else 'nothing'} instead")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{shown} could not be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{shown} must be at most {MAX_BYTES} bytes. Got more instead")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{shown}:{line}: the file must be UTF-8. Got the byte 0x{raw[error.start]:02x} instead",
            hint="save the file as UTF-8",
        ) from None
    return parse_yaml(text, shown)


def parse_yaml(text: str, shown: str) -> Located:
    """Reads YAML text whose top level is a mapping; `shown` names it in messages. Raises ConfigError."""
    try:
        _check_bounds(text, shown)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{shown}:{line}: the character {error.character!r} must not be in a YAML file") from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax(error, shown)) from None
    if node is None:
        raise ConfigError(f"{shown}:1: the file must be a mapping of keys to values. Got an empty file instead")
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else f"the text {_short(node.value)!r}"
        raise ConfigError(
            f"{shown}:{node.start_mark.line + 1}: the file must be a mapping of keys to values. Got {kind} instead"
        )
    problems: list[str] = []
    located = _locate(node, shown, node.start_mark.line + 1, problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return located


def _check_bounds(text: str, shown: str) -> None:
    """Streams over the parser's events, so that a hostile file is refused before anything is built from it."""
    nodes = depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = f"{shown}:{event.start_mark.line + 1 if event.start_mark else 1}:"
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{where} aliases must not be used. Got *{event.anchor} instead; write the value out")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ConfigError(f"{where} the file must hold one YAML document. Got a second one instead")
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)):
            nodes += 1
            tag = event.tag
            if tag not in (None, "!", _TEXT_TAG, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
                raise ConfigError(f"{where} tags must not be used, except !!str. Got {tag} instead")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ConfigError(f"{where} the file must have at most {MAX_NODES} values, nested at most {MAX_DEPTH} deep")


def _syntax(error: yaml.MarkedYAMLError, shown: str) -> str:
    # Only the problem and its place: PyYAML's own text quotes the line, and a secret may stand on it.
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "the text is no YAML"
    for found, said, needs in _PROBLEMS:
        if found in problem and needs in problem:
            problem = said
            break
    else:
        if error.context and error.problem:
            start = error.context_mark
            since = f" that starts in line {start.line + 1}" if start else ""
            problem = f"{error.problem} ({error.context}{since})"
    if mark is None:
        return f"{shown}: not valid YAML: {problem}"
    return f"{shown}:{mark.line + 1}:{mark.column + 1}: not valid YAML: {problem}"


def _locate(node: yaml.Node, shown: str, line: int, problems: list[str]) -> Located:
    if isinstance(node, yaml.ScalarNode):
        if node.tag == _PLAIN_TAG:
            return Located(scalar_of(node.value), shown, line, node.value)
        return Located(node.value, shown, line)
    if isinstance(node, yaml.SequenceNode):
        children = [_locate(child, shown, child.start_mark.line + 1, problems) for child in node.value]
        return Located(children, shown, line)
    mapping: dict[str, Located] = {}
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(f"{shown}:{key_line}: a key must be a text. Got a list or a mapping instead")
            continue
        key = key_node.value
        if key in mapping:
            problems.append(
                f"{shown}:{key_line}: the key {_short(key)!r} must be given once. It is also in line "
                f"{mapping[key].line}"
            )
            continue
        mapping[key] = _locate(value_node, shown, key_line, problems)
    return Located(mapping, shown, line)


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
