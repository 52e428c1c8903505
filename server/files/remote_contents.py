"""The contents of files in a storage that fsspec knows, such as a bucket."""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path

import fsspec

from server.errors import StartupError


class RemoteContents:
    """Contents by their ids. All methods block; they raise OSError if the storage fails."""

    def __init__(self, url: str) -> None:
        """Open a storage. Raises StartupError if fsspec doesn't know it, or if it can't be used."""
        try:
            self._storage, root = fsspec.url_to_fs(url)
            self._root = root.rstrip("/")
            with _failures():
                self._storage.makedirs(self._root, exist_ok=True)
                self._storage.exists(self._root)
        except ImportError as error:
            raise StartupError(f"--file-url needs a package that isn't installed: {error}") from None
        except (ValueError, OSError) as error:
            raise StartupError(f"--file-url: the storage can't be used: {error}") from None

    def put(self, path: Path, content_id: str) -> None:
        """Store the content of a local file. It is there as a whole when this returns."""
        with _failures():
            self._storage.put_file(str(path), self._name(content_id))

    def get(self, content_id: str, path: Path) -> None:
        """Write a content into a local file. Raises FileNotFoundError if there is none."""
        with _failures():
            self._storage.get_file(self._name(content_id), str(path))

    def remove(self, content_id: str) -> None:
        """Delete a content if it is there."""
        with _failures(), suppress(FileNotFoundError):
            self._storage.rm_file(self._name(content_id))

    def ids(self) -> list[str]:
        """Return the ids of all contents."""
        names: list[str] = []
        with _failures(), suppress(FileNotFoundError):  # a folder of a bucket is there if something is in it
            self._storage.invalidate_cache(self._root)
            names = self._storage.ls(self._root, detail=False)
        return [name.rstrip("/").rpartition("/")[2] for name in names]

    def age(self, content_id: str) -> float:
        """Return for how many seconds a content is there; 0 if it is gone, or the storage can't tell."""
        try:
            with _failures():
                modified = self._storage.modified(self._name(content_id))
        except (FileNotFoundError, NotImplementedError):
            return 0.0
        known = modified if modified.tzinfo is not None else modified.replace(tzinfo=UTC)
        return float(time.time() - known.timestamp())

    def _name(self, content_id: str) -> str:
        return f"{self._root}/{content_id}"


@contextmanager
def _failures() -> Iterator[None]:
    """Turn the errors of the storage's own client into an OSError, which says their type only."""
    try:
        yield
    except (OSError, NotImplementedError, ImportError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"the storage failed ({type(error).__name__})") from error
