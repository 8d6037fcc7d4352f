"""The data of a run that is rebuilt: looked at file by file, and laid out so that the same window is found again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from data.fingerprint import file_sha256
from data.window import InputFile, SpanInput, Window, locate, resolve_window
from schema.errors import ConveyorError
from schema.ingest import ExamplesConfig

_WILD = frozenset("{*?[")


@dataclasses.dataclass(frozen=True)
class DataFinding:
    """Something about the data that is not as it was.

    Attributes:
        span: the span's label.
        file: the file, or an empty string where the span as a whole is meant.
        text: what is so, in words.
        blocks: whether the run cannot be rebuilt so.
    """

    span: str
    file: str
    text: str
    blocks: bool = True


@dataclasses.dataclass(frozen=True)
class FoundData:
    """Where a window's data is now.

    Attributes:
        input: `examples.input` relative to the folder that `lay_out` fills.
        files: path in that folder to the file that it stands for.
        findings: what is not as it was.
    """

    input: str
    files: dict[str, str]
    findings: tuple[DataFinding, ...]

    @property
    def whole(self) -> bool:
        """Whether the run can be rebuilt from it."""
        return not any(finding.blocks for finding in self.findings)


def find_data(window: Window, config: ExamplesConfig, base_dir: Path, moved: Path | None = None) -> FoundData:
    """Looks for a window's files and holds them against their fingerprints.

    Args:
        window: the spans as they were.
        config: the `examples` section of the run.
        base_dir: the folder that its relative paths started from.
        moved: the folder that the data is in now, in place of the one that the run read.

    Raises:
        ConfigError: `examples.input` lies in an installed package that is not there any more.
    """
    pattern = locate(config.input, base_dir)
    root = _fixed_folder(pattern)
    files: dict[str, str] = {}
    findings: list[DataFinding] = []
    for span in window.spans:
        for file in span.files:
            name = _below(file.path, root)
            now = str(moved / name) if moved else file.path
            files[name] = now
            problem = _difference(file, now)
            if problem:
                findings.append(DataFinding(span.label, now, problem))
    given = _below(pattern, root)
    if findings and config.span_by is not None:
        findings = _by_rows(window, config, moved / given if moved else Path(pattern), findings)
    return FoundData(given, files, tuple(findings))


def lay_out(found: FoundData, folder: Path) -> None:
    """Fills a folder with links to the files, under the names that the line's pattern asks for."""
    for name, file in sorted(found.files.items()):
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(file).resolve())


def _fixed_folder(pattern: str) -> Path:
    """The folder that all files of a pattern are below."""
    parts = Path(pattern).parts
    fixed = [part for part in parts[:-1]]
    for index, part in enumerate(fixed):
        if _WILD & set(part):
            fixed = fixed[:index]
            break
    return Path(*fixed)


def _below(path: str, root: Path) -> str:
    if not Path(path).is_relative_to(root):
        raise ConveyorError(
            f"{path} must be below {root}, where the run's examples.input is. Got another place",
            hint="the record does not fit itself; restore it from a backup",
        )
    return Path(path).relative_to(root).as_posix()


def _difference(file: InputFile, now: str) -> str:
    if not Path(now).is_file():
        return "is gone"
    try:
        found = file_sha256(now)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if found == file.sha256:
        return ""
    size = Path(now).stat().st_size
    grown = f", {file.bytes:,} -> {size:,} bytes" if size != file.bytes else f", still {size:,} bytes"
    return f"has changed: sha256 {file.sha256} -> {found}{grown}"


def _by_rows(window: Window, config: ExamplesConfig, table: Path, findings: list[DataFinding]) -> list[DataFinding]:
    """A table that has grown may hold the same rows for these spans."""
    if any(finding.text == "is gone" for finding in findings):
        return findings
    try:
        now = resolve_window(config.model_copy(update={"input": str(table)}), table.parent, window.spans[-1].label)
    except ConveyorError as error:
        return [*findings, DataFinding(window.spans[-1].label, "", str(error.args[0]))]
    present = {span.span: span for span in now.spans}
    changed = [DataFinding(span.label, "", _rows_text(span, present.get(span.span))) for span in window.spans]
    known = {span.span for span in window.spans}
    added = [
        DataFinding(span.label, "", "was not there, and is now in the window")
        for span in now.spans
        if span.span not in known
    ]
    blocking = [finding for finding in changed if finding.text] + added
    unique = {finding.file: finding for finding in findings}
    return [dataclasses.replace(finding, span="all", blocks=bool(blocking)) for finding in unique.values()] + blocking


def _rows_text(before: SpanInput, now: SpanInput | None) -> str:
    if now is None:
        return "has no rows any more"
    same = now.fingerprint == before.fingerprint
    return "" if same else f"has other rows: fingerprint {before.fingerprint} -> {now.fingerprint}"
