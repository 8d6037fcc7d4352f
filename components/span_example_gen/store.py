"""The content store of a line: what was made of a span once is found again by key.

`<state>/spans/<ingest_key>/` has the records of a span, `<state>/spans/profiles/<key>.json` what its columns look
like, `<state>/spans/exclusions/<key>.json` the positions of conditions that some row of it meets. Entries appear by
rename, whole or not at all, and are never changed after that.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.column_types import ColumnProfile
from data.whole_file import mark_used, new_folder, remove_leftovers, replace_text, scratch_folder

SIDECAR = "span.json"
QUARANTINE = "quarantine.jsonl"


class SpanStore:
    """The store under a line's state folder."""

    def __init__(self, state_dir: str | Path) -> None:
        """Names the store; nothing is made yet."""
        self.state_dir = Path(state_dir)
        self.root = self.state_dir / "spans"

    def entry(self, ingest_key: str) -> Path:
        """Returns the folder of a span's records, whether it is there or not."""
        return self.root / ingest_key

    def sidecar(self, ingest_key: str) -> dict[str, Any] | None:
        """Returns the `span.json` of an entry, or None when there is no such entry."""
        path = self.entry(ingest_key) / SIDECAR
        return json.loads(path.read_text()) if path.is_file() else None

    @contextmanager
    def writing(self, ingest_key: str) -> Iterator[Path]:
        """Gives a folder to fill, which becomes the entry when the block ends well, and is removed otherwise.

        An entry that another writer has made meanwhile stays: same key, same content.
        """
        with new_folder(self.entry(ingest_key)) as folder:
            yield folder

    def profile(self, key: str) -> dict[str, ColumnProfile] | None:
        """Returns the column profiles of a span, or None when there are none."""
        path = self.root / "profiles" / f"{key}.json"
        if not path.is_file():
            return None
        mark_used(path)
        return {name: ColumnProfile(**value) for name, value in json.loads(path.read_text()).items()}

    def keep_profile(self, key: str, profiles: dict[str, ColumnProfile]) -> None:
        """Stores the column profiles of a span."""
        content = {name: profile.model_dump() for name, profile in profiles.items()}
        replace_text(self.root / "profiles" / f"{key}.json", json.dumps(content, sort_keys=True))

    def matches_file(self, key: str) -> Path:
        """Returns the file with the positions of the conditions that rows of a span meet, there already or not."""
        return self.root / "exclusions" / f"{key}.json"

    def matches(self, key: str) -> list[int] | None:
        """Returns those positions, or None when nobody has looked yet."""
        path = self.matches_file(key)
        if not path.is_file():
            return None
        mark_used(path)
        return [int(number) for number in json.loads(path.read_text())]

    def forget(self, ingest_key: str) -> None:
        """Removes a span's records, and what is kept beside them, so that they are made anew.

        Artifacts have hard links or copies of their own and stay as they are.
        """
        shutil.rmtree(self.entry(ingest_key), ignore_errors=True)

    def forget_profile(self, key: str) -> None:
        """Removes the column profiles of a span."""
        (self.root / "profiles" / f"{key}.json").unlink(missing_ok=True)

    def forget_matches(self) -> None:
        """Removes what is known of rows to leave out, in all spans."""
        shutil.rmtree(self.root / "exclusions", ignore_errors=True)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Gives a folder for what is only needed during one ingest; it is removed at the end."""
        with scratch_folder(self.root, "staging") as folder:
            yield folder

    def remove_leftovers(self) -> None:
        """Removes what killed processes of this machine left behind."""
        remove_leftovers(self.root)
        remove_leftovers(self.root / "profiles")
        remove_leftovers(self.root / "exclusions")
