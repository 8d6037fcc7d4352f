"""Workers that have not mounted the bucket have its files by Beam's own file system for it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.internal.gcp import auth
from apache_beam.io.localfilesystem import LocalFileSystem

from components.carried_files import Carried
from data.worker_errors import Noting, raised_here
from schema.errors import DataRejected
from tests.gcs import cloud_storage


def copy_in_capitals(source: str, target: str) -> int:
    """What a worker does in these tests."""
    text = Path(source).read_text(encoding="utf-8")
    if not text:
        raise DataRejected(f"{source} is empty", hint="fill it")
    Path(target).mkdir(parents=True, exist_ok=True)
    (Path(target) / "capitals.txt").write_text(text.upper(), encoding="utf-8")
    (Path(target) / ".other.txt.1-12345678.tmp").write_text("of another job")
    (Path(target) / "done.json").write_text("{}", encoding="utf-8")
    return len(text)


def reads(source: str, target: str) -> list[str]:
    return [source]


def writes(source: str, target: str) -> list[str]:
    return [target]


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """The bucket where the run has mounted it."""
    made = tmp_path / "mounted" / "bucket"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def server(bucket: Path) -> Iterator[str]:
    with cloud_storage(bucket.parent) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", address)
        yield address


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    # Beam looks for some for half a minute.
    monkeypatch.setattr(auth, "get_service_credentials", lambda options: None)


def on_worker(job: Carried, *args: str) -> int:
    """Calls it as it comes to a worker."""
    return int(pickle.loads(pickle.dumps(job))(*args))


def test_what_is_read_comes_and_what_is_written_goes(bucket: Path, server: str, tmp_path: Path) -> None:
    (bucket / "in").mkdir()
    (bucket / "in" / "a.txt").write_text("straße", encoding="utf-8")
    (tmp_path / "notes").mkdir()
    # The worker has another mount folder, which is not there: as if the bucket's were not.
    elsewhere = tmp_path / "elsewhere"
    job = Carried(copy_in_capitals, reads, writes, Noting(tmp_path / "notes"), {"gs": str(elsewhere)})
    args = (f"{elsewhere}/bucket/in/a.txt", f"{elsewhere}/bucket/out/x")
    assert on_worker(job, *args) == 6
    assert (bucket / "out" / "x" / "capitals.txt").read_text(encoding="utf-8") == "STRASSE"
    assert sorted(path.name for path in (bucket / "out" / "x").iterdir()) == ["capitals.txt", "done.json"]
    # Again, with another content of the same length: it is fetched anew, and what was written is replaced.
    (bucket / "in" / "a.txt").write_text("gasse!", encoding="utf-8")
    assert on_worker(job, *args) == 6
    assert (bucket / "out" / "x" / "capitals.txt").read_text(encoding="utf-8") == "GASSE!"


def test_an_error_comes_back_with_its_own_type_and_hint(bucket: Path, server: str, tmp_path: Path) -> None:
    (bucket / "a.txt").write_text("")
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(DataRejected, match="a.txt is empty") as raised, raised_here(bucket / "notes") as noting:
        inside = noting.folder.relative_to(bucket)
        there = Noting(elsewhere / "bucket" / inside)
        job = Carried(copy_in_capitals, reads, writes, there, {"gs": str(elsewhere)})
        try:
            on_worker(job, f"{elsewhere}/bucket/a.txt", f"{elsewhere}/bucket/out")
        except DataRejected as error:
            raise RuntimeError("as Beam passes it on") from error
    assert raised.value.hint == "fill it"


class Shelf(LocalFileSystem):  # type: ignore[misc]
    """Storage of a scheme that nothing of ours knows: a folder of this machine behind `shelf://`."""

    root: Path

    @classmethod
    def scheme(cls) -> str:
        return "shelf"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join((basepath.rstrip("/"), *paths))

    def split(self, path: str) -> Any:
        return path.rpartition("/")[::2]

    def match(self, patterns: list[str], limits: list[int] | None = None) -> Any:
        results = super().match([self._inside(pattern) for pattern in patterns], limits)
        for result in results:
            for found in result.metadata_list:
                found.path = f"shelf://{Path(found.path).relative_to(self.root)}"
        return results

    def create(self, path: str, *args: Any, **kwargs: Any) -> Any:
        Path(self._inside(path)).parent.mkdir(parents=True, exist_ok=True)
        return super().create(self._inside(path), *args, **kwargs)

    def open(self, path: str, *args: Any, **kwargs: Any) -> Any:
        return super().open(self._inside(path), *args, **kwargs)

    def _inside(self, path: str) -> str:
        return str(self.root / path.removeprefix("shelf://"))


def test_any_scheme_that_beam_knows_is_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shelf, "root", tmp_path / "storage", raising=False)
    (tmp_path / "storage" / "bucket").mkdir(parents=True)
    (tmp_path / "storage" / "bucket" / "a.txt").write_text("abc")
    elsewhere = tmp_path / "elsewhere"
    mounted = {"gs": str(tmp_path), "shelf": str(elsewhere)}
    job = Carried(copy_in_capitals, reads, writes, Noting(tmp_path / "notes"), mounted)
    assert on_worker(job, f"{elsewhere}/bucket/a.txt", f"{elsewhere}/bucket/out") == 3
    assert (tmp_path / "storage" / "bucket" / "out" / "capitals.txt").read_text() == "ABC"


def test_where_the_bucket_is_mounted_nothing_is_carried(bucket: Path, tmp_path: Path) -> None:
    (bucket / "a.txt").write_text("abc")
    job = Carried(copy_in_capitals, reads, writes, Noting(tmp_path), {"gs": str(bucket.parent)})
    assert on_worker(job, str(bucket / "a.txt"), str(bucket / "out")) == 3


def test_files_in_no_bucket_stay_where_they_are(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    job = Carried(copy_in_capitals, reads, writes, Noting(tmp_path / "n"), {"gs": str(tmp_path / "elsewhere")})
    assert on_worker(job, str(tmp_path / "a.txt"), str(tmp_path / "out")) == 3
    assert (tmp_path / "out" / "capitals.txt").read_text() == "ABC"
