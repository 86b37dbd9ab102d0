"""A file to which lines are added one by one, each on the disk before the next is begun."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Self

from qwen3_vl_retrieval.errors import explain_disk_errors

__all__ = ["AppendedLines"]


class AppendedLines:
    """A file of lines that outlives its process, however that ends; a context manager.

    A line that a killed process has not finished is dropped.

    Args:
        path: The file; its folder is made.
        head: First line, by which the file is known again: one that begins with another is begun anew. `None` keeps
            whatever lines there are.

    Attributes:
        path: The file.
        kept: The lines that were there before, without the head.

    Raises:
        StoreError: The disk is full, or the file cannot be written.
    """

    def __init__(self, path: Path, *, head: str | None = None) -> None:
        self.path = path
        with explain_disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.kept = self._read(head)
            # Written anew and exchanged: a half line would be joined with the next one.
            temporary = path.with_name(f"{path.name}.new")
            lines = self.kept if head is None else [head, *self.kept]
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            temporary.replace(path)
            self._file: IO[str] = path.open("a", encoding="utf-8")

    def append(self, line: str) -> None:
        """Writes a line, to the disk."""
        with explain_disk_errors(self.path.parent):
            self._file.write(f"{line}\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Lets go of the file, which stays."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, head: str | None) -> list[str]:
        """The whole lines of the file, if it was begun with the same head."""
        if not self.path.is_file():
            return []
        lines = self.path.read_bytes().decode("utf-8", "replace").split("\n")[:-1]
        if head is None:
            return lines
        return lines[1:] if lines[:1] == [head] else []
