"""The code digest: which of our sources a component's result depends on, as one hash.

TFX's cache sees a component's inputs and exec properties. User functions that are named by dotted path are only a
name to it, so a changed source would be answered from the cache. The digest goes into the exec properties.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata, util
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent
OUR_PACKAGES = ("schema", "data", "serving", "components")
LIBRARIES = ("tfx", "tensorflow", "keras", "tensorflow-transform", "tensorflow-data-validation", "apache-beam", "numpy")


def module_file(module: str, root: Path) -> Path | None:
    """Returns the source file of one of our modules under `root`, or None when there is none."""
    path = root.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def imported_modules(source: str, module: str, *, is_package: bool) -> set[str]:
    """Returns the names that `source` imports, inside functions too, as absolute dotted names.

    What is imported for type checkers only is left out: it does not run.
    """
    found: set[str] = set()
    package = module if is_package else module.rpartition(".")[0]
    for node in _nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join(parents[: len(parents) - node.level + 1] + ([base] if base else []))
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            todo.extend(node.orelse)
        else:
            todo.extend(ast.iter_child_nodes(node))


@functools.cache
def _parsed(source: str, module: str, is_package: bool) -> frozenset[str]:
    return frozenset(imported_modules(source, module, is_package=is_package))


def _imports_of(file: Path, module: str) -> frozenset[str]:
    # Keyed by the text: the closures of a line's components share most of their modules.
    return _parsed(file.read_text(encoding="utf-8"), module, file.name == "__init__.py")


def source_closure(modules: Iterable[str], root: Path = PROJECT_ROOT) -> dict[str, Path]:
    """Returns module name to source file for `modules` and all of ours that they import, directly or not."""
    closure: dict[str, Path] = {}
    todo = sorted(modules)
    while todo:
        module = todo.pop()
        if module in closure or module.split(".")[0] not in OUR_PACKAGES:
            continue
        file = module_file(module, root)
        if file is None:
            continue
        closure[module] = file
        todo.append(module.rpartition(".")[0] or module)
        todo.extend(_imports_of(file, module))
    return closure


def library_versions() -> dict[str, str]:
    """Returns the installed version of each library that results depend on, without importing any."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def source_files(modules: Iterable[str], functions: Iterable[str] = (), root: Path = PROJECT_ROOT) -> dict[str, Path]:
    """Returns module name to source file for all that a component's result depends on.

    Args:
        modules: entry modules of ours, such as a component's executor.
        functions: dotted paths of a user's own functions; the file that defines each counts too.
        root: the folder that holds our packages.
    """
    sources = source_closure(modules, root)
    for dotted in functions:
        module = dotted.rpartition(".")[0]
        spec = util.find_spec(module) if module else None
        if spec is not None and spec.origin is not None:
            sources[module] = Path(spec.origin)
    return sources


def digest_of(sources: Mapping[str, Path], libraries: Mapping[str, str] | None = None) -> str:
    """Returns the SHA-256 over source files, by module name, and over the versions of the libraries.

    Args:
        sources: module name to source file.
        libraries: what `library_versions` gave, for who has asked already.
    """
    digest = hashlib.sha256()
    for name, version in sorted((libraries or library_versions()).items()):
        digest.update(f"{name}=={version}\n".encode())
    for name, file in sorted(sources.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def code_digest(modules: Iterable[str], functions: Iterable[str] = (), root: Path = PROJECT_ROOT) -> str:
    """Returns the SHA-256 over the sources that `modules` depend on, and over the versions of the libraries.

    Args:
        modules: entry modules of ours, such as a component's executor.
        functions: dotted paths of a user's own functions; the file that defines each is hashed too.
        root: the folder that holds our packages.
    """
    return digest_of(source_files(modules, functions, root))
