"""A server on 127.0.0.1 with those parts of the hub's API that downloads by huggingface_hub need."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubServer:
    """A hub whose repositories are folders: `models/NAMESPACE/NAME` and `datasets/NAMESPACE/NAME` in `root`.

    `requests` lists the method, the path and the bytes that were asked for (the Range header or None). A file
    in `broken` is cut off after so many bytes the first time it is sent.
    """

    root: Path
    url: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    broken: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def running(self) -> Iterator["HubServer"]:
        hub = self

        class Handler(_Handler):
            server_hub = hub

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def downloads(self) -> list[str]:
        """Return the names of the files that were sent, in order."""
        return [
            path.rsplit("/", 1)[1]
            for method, path, _ in self.requests
            if method == "GET" and "/resolve/" in path
        ]


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Write nothing."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server_hub.requests.append((self.command, path, self.headers.get("Range")))
        if match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/[^/]+)?", path):
            kind, name, what = match.groups()
            folder = self.server_hub.root / kind / name
            if folder.is_dir():
                self._send_json(_tree(folder) if what == "tree" else _information(name, folder))
                return
        elif match := re.fullmatch(
            r"/(?:api/)?(models/|datasets/)?([^/]+/[^/]+)/(?:resolve|tree)/[^/]+/(.+)", path
        ):
            folder = self.server_hub.root / (match[1] or "models") / match[2]
            if folder.is_dir():
                if (folder / match[3]).is_file():
                    self._send_file(folder / match[3], with_body=with_body)
                else:
                    self._send_json({"error": "Entry not found"}, status=404, error="EntryNotFound")
                return
        self._send_json({"error": "Repository not found"}, status=404, error="RepoNotFound")

    def _send_json(self, content: object, status: int = 200, error: str | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        if error:
            self.send_header("X-Error-Code", error)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_file(self, path: Path, *, with_body: bool) -> None:
        content = path.read_bytes()
        begin = int(match[1]) if (match := re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")) else 0
        self.send_response(206 if begin else 200)
        self.send_header("ETag", f'"{_digest(path)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if not with_body:
            return
        end = self.server_hub.broken.pop(path.name, None)
        self.wfile.write(content[begin:end])
        if end is not None:
            self.close_connection = True


def _information(name: str, folder: Path) -> dict[str, object]:
    return {"id": name, "sha": COMMIT, "siblings": [{"rfilename": entry["path"]} for entry in _tree(folder)]}


def _tree(folder: Path) -> list[dict[str, object]]:
    return [
        {
            "type": "file",
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "oid": _digest(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def _digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
