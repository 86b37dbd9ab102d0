"""The folder of a run, on a disk or in an object store: files appear in it whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, TypeVar, cast
from uuid import uuid4

from filelock import FileLock, Timeout

from qwen3_vl_retrieval.errors import StoreError, explain_disk_errors, quote
from qwen3_vl_retrieval.jobs.filesystems import explain_storage_errors, find_local_path, open_filesystem

__all__ = ["RunFolder"]

T = TypeVar("T")

_LOCK = "run.lock"


class RunFolder:
    """Files by their names below a folder. Can be pickled: each process opens it for itself.

    Args:
        location: A path, or a URL that fsspec knows.
        options: Options of the file system, for a URL.

    Raises:
        StoreError: The location cannot be opened.
    """

    def __init__(self, location: str | Path, options: Mapping[str, Any] | None = None) -> None:
        self.location = str(location)
        self.options = {} if options is None else dict(options)
        self.local = location.absolute() if isinstance(location, Path) else find_local_path(location)
        self._filesystem: Any = None
        self._root = ""
        if self.local is None:
            self._filesystem, root = open_filesystem(self.location, self.options)
            self._root = root.rstrip("/")

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return RunFolder, (self.location if self.local is None else self.local, self.options)

    @property
    def is_shared(self) -> bool:
        """Whether other processes see the same files; those in memory belong to one."""
        return self.local is not None or not self.location.startswith("memory:")

    def list_names(self, folder: str = "") -> set[str]:
        """Returns the names of the files directly in a folder, without the folder's; none if it does not exist.

        Raises:
            StoreError: It cannot be listed.
        """
        if self.local is not None:
            place = self.local / folder
            with explain_disk_errors(self.local):
                return {path.name for path in place.iterdir() if path.is_file()} if place.is_dir() else set()
        with self._explain("listed"):
            self._filesystem.invalidate_cache()
            try:
                found = cast("list[Any]", self._filesystem.ls(self._locate(folder), detail=True))
            except FileNotFoundError:
                return set()
            return {one["name"].rstrip("/").rpartition("/")[2] for one in found if one["type"] == "file"}

    def has(self, name: str) -> bool:
        """Returns whether there is a file of that name.

        Raises:
            StoreError: The store does not answer.
        """
        if self.local is not None:
            return (self.local / name).is_file()
        with self._explain("read"):
            self._filesystem.invalidate_cache()
            return bool(self._filesystem.isfile(self._locate(name)))

    def read(self, name: str) -> bytes:
        """Returns the content of a file.

        Raises:
            StoreError: There is none, or it cannot be read.
        """
        if self.local is not None:
            with explain_disk_errors(self.local):
                return (self.local / name).read_bytes()
        with self._explain("read"):
            return cast("bytes", self._filesystem.cat_file(self._locate(name)))

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, which appears when it is whole.

        Raises:
            StoreError: It cannot be written.
        """
        if self.local is None:
            with self._explain("written"):
                self._filesystem.pipe_file(self._locate(name), content)
            return
        path = self.local / name
        unfinished = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
        with explain_disk_errors(self.local):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with unfinished.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)

    def publish(self, name: str, write: Callable[[Path], T]) -> T:
        """Returns what `write` returns, which is given a path and writes a file there, whole or not at all.

        On a disk that is the file's own place; for an object store it is a temporary one, sent by a single request.

        Raises:
            StoreError: It cannot be written.
        """
        if self.local is not None:
            path = self.local / name
            with explain_disk_errors(self.local):
                path.parent.mkdir(parents=True, exist_ok=True)
            return write(path)
        with TemporaryDirectory(prefix="qwen3vl-run-") as temporary:
            path = Path(temporary) / name.rpartition("/")[2]
            written = write(path)
            with self._explain("written"):
                self._filesystem.put_file(str(path), self._locate(name))
        return written

    def open_local(self, name: str) -> AbstractContextManager[Path]:
        """Returns the path of a file for as long as it is needed; a file of an object store is fetched.

        Raises:
            StoreError: It cannot be fetched.
        """
        return nullcontext(self.local / name) if self.local is not None else self._fetch(name)

    @contextmanager
    def open_file(self, name: str) -> Generator[IO[bytes], None, None]:
        """Yields an open file, of which no more is read, or fetched, than is asked for.

        Raises:
            StoreError: There is none, or it cannot be read.
        """
        if self.local is not None:
            with explain_disk_errors(self.local), (self.local / name).open("rb") as file:
                yield file
            return
        with self._explain("read"), self._filesystem.open(self._locate(name), "rb") as file:
            yield file

    def rename(self, old: str, new: str) -> None:
        """Gives a file another name.

        Raises:
            StoreError: It cannot be renamed.
        """
        if self.local is not None:
            with explain_disk_errors(self.local):
                (self.local / new).parent.mkdir(parents=True, exist_ok=True)
                (self.local / old).replace(self.local / new)
            return
        with self._explain("renamed"):
            self._filesystem.copy(self._locate(old), self._locate(new))
            self._filesystem.rm_file(self._locate(old))

    def remove(self, name: str) -> None:
        """Removes a file, if it is there.

        Raises:
            StoreError: It cannot be removed.
        """
        if self.local is not None:
            with explain_disk_errors(self.local):
                (self.local / name).unlink(missing_ok=True)
        elif self.has(name):
            with self._explain("removed"):
                self._filesystem.rm_file(self._locate(name))

    @contextmanager
    def hold(self) -> Generator[None, None, None]:
        """Keeps other runs of this machine out of a local folder, and clears away what a killed one left unfinished.

        An object store has no locks: two runs there do the same work twice, and neither harms the other.

        Raises:
            StoreError: Another process is at work in the folder.
        """
        if self.local is None:
            yield
            return
        with explain_disk_errors(self.local):
            self.local.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.local / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"another process embeds into {quote(self.location)}; wait for it, or see how far it is with "
                "qwen3vl embed --status"
            ) from None
        try:
            with explain_disk_errors(self.local):
                for unfinished in self.local.rglob(".*.tmp"):
                    unfinished.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def is_held(self) -> bool | None:
        """Returns whether a process is at work in the folder; `None` where nobody can say."""
        if self.local is None:
            return None
        if not (self.local / _LOCK).exists():
            return False
        lock = FileLock(self.local / _LOCK, timeout=0)
        try:
            with lock:
                return False
        except Timeout:
            return True
        except OSError:
            # A folder that may not be written cannot be locked by whoever looks.
            return None

    @contextmanager
    def _fetch(self, name: str) -> Generator[Path, None, None]:
        with TemporaryDirectory(prefix="qwen3vl-run-") as temporary:
            path = Path(temporary) / name.rpartition("/")[2]
            with self._explain("read"):
                self._filesystem.get_file(self._locate(name), str(path))
            yield path

    def _locate(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _explain(self, done: str) -> AbstractContextManager[None]:
        return explain_storage_errors(f"{quote(self.location)} cannot be {done}")
