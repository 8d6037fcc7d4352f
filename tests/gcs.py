"""Cloud Storage's JSON API over a folder, for tests: `FOLDER/BUCKET/x` is `gs://BUCKET/x`.

What Google's client asks of it, no more: metadata, lists, downloads with ranges and resumable uploads.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import threading
import urllib.parse
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import google_crc32c


@contextlib.contextmanager
def cloud_storage(folder: Path) -> Iterator[str]:
    """Serves a folder of buckets during the block.

    Yields:
        The server's address, for `STORAGE_EMULATOR_HOST`.
    """
    uploads: dict[str, tuple[Path, bytearray]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802
            address = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(address.query))
            bucket, _, name = address.path.partition("/storage/v1/b/")[2].partition("/o")
            root = folder / bucket
            if not root.is_dir():
                self.answer(404, {"error": {"code": 404, "message": f"no bucket {bucket}"}})
            elif not address.path.partition("/storage/v1/b/")[2].partition("/")[2]:
                self.answer(200, {"kind": "storage#bucket", "name": bucket, "location": "EU"})
            elif not name:
                names = [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()]
                found = [one for one in names if one.startswith(query.get("prefix", ""))]
                self.answer(200, {"kind": "storage#objects", "items": [described(root, one) for one in found]})
            else:
                self.give(root, urllib.parse.unquote(name[1:]), query)

        def give(self, root: Path, name: str, query: dict[str, str]) -> None:
            path = root / name
            if not path.is_file():
                self.answer(404, {"error": {"code": 404, "message": f"no object {name}"}})
            elif query.get("alt") != "media":
                self.answer(200, described(root, name))
            else:
                content = path.read_bytes()
                first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
                part = content[int(first) : int(last) + 1 if last else None]
                if int(first) >= len(content) and content:
                    self.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                    return
                span = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
                self.send(206, part, {"Content-Range": span, "Content-Type": "application/octet-stream"})

        def do_POST(self) -> None:  # noqa: N802
            address = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(address.query))
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            bucket = address.path.partition("/upload/storage/v1/b/")[2].partition("/o")[0]
            key = uuid.uuid4().hex
            uploads[key] = folder / bucket / (told.get("name") or query["name"]), bytearray()
            where = f"http://{self.headers['Host']}/resume/{bucket}/{key}"
            self.send(200, b"", {"Location": where})

        def do_PUT(self) -> None:  # noqa: N802
            *_, bucket, key = self.path.split("/")
            path, content = uploads[key]
            content.extend(self.rfile.read(int(self.headers["Content-Length"])))
            whole = self.headers["Content-Range"].rpartition("/")[2]
            if whole == "*" or len(content) < int(whole):
                self.send(308, b"", {"Range": f"bytes=0-{len(content) - 1}"})
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            self.answer(200, described(folder / bucket, str(path.relative_to(folder / bucket))))

        def answer(self, status: int, document: dict[str, Any]) -> None:
            self.send(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

        def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def described(root: Path, name: str) -> dict[str, Any]:
    """Returns an object's metadata as the API gives it."""
    content = (root / name).read_bytes()
    checksum = google_crc32c.Checksum(content).digest()
    updated = datetime.datetime.fromtimestamp((root / name).stat().st_mtime, datetime.timezone.utc)
    return {
        "kind": "storage#object",
        "name": name,
        "bucket": root.name,
        "size": str(len(content)),
        "updated": updated.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "crc32c": base64.b64encode(checksum).decode(),
        "generation": str(int((root / name).stat().st_mtime_ns)),
    }
