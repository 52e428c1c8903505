"""Videos at an address are there for as long as they are needed, and a failure says what it is."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from clients.video_jobs.items.fetch import FetchError, local_video


@contextmanager
def files(*replies: tuple[int, bytes, int]) -> Iterator[tuple[str, list[str]]]:
    """Serve replies in turn, each a status, a content, and the length that the header states."""
    left, paths = list(replies), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            status, content, length = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Print no line for a request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_a_copy_is_there_while_it_is_needed(tmp_path: Path) -> None:
    with files((200, b"video", 5)) as (url, paths):
        async with local_video(f"{url}/a/clip.mp4?token=secret", tmp_path / "downloads") as path:
            assert path.read_bytes() == b"video"
            assert path.suffix == ".mp4"
        assert not path.exists()
    assert paths == ["/a/clip.mp4?token=secret"]


async def test_a_local_path_is_itself(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"video")
    async with local_video(str(tmp_path / "clip.mp4"), tmp_path / "downloads") as path:
        assert path == tmp_path / "clip.mp4"
    assert path.exists()
    with pytest.raises(FetchError, match="there is no file"):
        async with local_video(str(tmp_path / "nowhere.mp4"), tmp_path):
            pass


@pytest.mark.parametrize("broken", [(503, b"", 0), (200, b"vid", 5)])
async def test_what_may_pass_is_tried_again(tmp_path: Path, broken: tuple[int, bytes, int]) -> None:
    with files(broken, (200, b"video", 5)) as (url, paths):
        async with local_video(f"{url}/clip.mp4", tmp_path, pause=0) as path:
            assert path.read_bytes() == b"video"
    assert len(paths) == 2


@pytest.mark.parametrize(
    ("reply", "tries", "status"),
    [((404, b"", 0), 1, 404), ((500, b"", 0), 3, 500), ((200, b"v", 9), 3, None)],
)
async def test_what_stays_broken_is_told_and_leaves_no_file(
    tmp_path: Path, reply: tuple[int, bytes, int], tries: int, status: int | None
) -> None:
    with files(reply) as (url, paths):
        with pytest.raises(FetchError) as failure:
            async with local_video(f"{url}/clip.mp4?token=secret", tmp_path, pause=0):
                pass
        assert (len(paths), failure.value.status) == (tries, status)
    assert "secret" not in str(failure.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def bucket() -> Iterator[MemoryFileSystem]:
    """A bucket at s3:// that is kept in memory, through fsspec's own interface."""
    fsspec.register_implementation("s3", MemoryFileSystem, clobber=True)
    memory = fsspec.filesystem("s3")
    yield memory
    memory.store.clear()


async def test_a_video_in_a_bucket(bucket: MemoryFileSystem, tmp_path: Path) -> None:
    bucket.pipe_file("s3://bucket/clip.mp4", b"video")
    async with local_video("s3://bucket/clip.mp4", tmp_path) as path:
        assert path.read_bytes() == b"video"
    with pytest.raises(FetchError, match=r"there is no s3://bucket/other\.mp4"):
        async with local_video("s3://bucket/other.mp4", tmp_path, pause=0):
            pass


def test_without_s3fs_the_error_says_how_to_install_it(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from clients.video_jobs.items.fetch import FetchError, local_video\n"
        "sys.modules['s3fs'] = None\n"  # how Python marks what can't be imported
        "async def main():\n"
        "    try:\n"
        "        async with local_video('s3://bucket/clip.mp4', Path(sys.argv[1]), pause=0): pass\n"
        "    except FetchError as error:\n"
        "        print(error)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "install them with: pip install s3fs" in shown
