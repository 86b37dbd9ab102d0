"""Files in an index: new content is embedded, what is there stays, what a file no longer holds goes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llama_index.indices.qwen3_vl.file_nodes import FileNode, Reading, list_paths, read_file_nodes
from llama_index.indices.qwen3_vl.stores import list_stored_ids
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import FailedFile, Unit
from qwen3_vl_retrieval.paths import encode_path

if TYPE_CHECKING:
    from llama_index.indices.qwen3_vl.base import UnifiedMultiModalIndex

__all__ = ["FileInsertion"]

_WRITTEN_AT_ONCE = 64
"""Nodes that are embedded before any is written: what is lost when a run is interrupted."""


class FileInsertion:
    """One run over files and folders.

    Args:
        index: What they are added to.
        reading: How they are read.
        on_error: `"raise"` ends the run at the first file that cannot be read, `"skip"` goes on.
    """

    def __init__(self, index: UnifiedMultiModalIndex, reading: Reading, *, on_error: Literal["raise", "skip"]) -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={quote(on_error)} is unknown; allowed are 'raise' and 'skip'")
        self._index, self._reading, self._on_error = index, reading, on_error
        self._waiting: list[FileNode] = []
        self.failures: list[FailedFile] = []
        """What could not be read, in the order of the files."""

    def run(self, paths: str | Path | Iterable[str | Path]) -> None:
        """Adds files.

        Raises:
            InputError: One cannot be read, and that is not to be skipped; or there is none. The message names it.
        """
        listed = list_paths(paths)
        held: dict[Path, set[str]] = {}
        for path, is_named in listed:
            nodes = self._read(path, is_named=is_named)
            if nodes:
                held[path] = {one.node.node_id for one in nodes}
                self._waiting += self._choose_new(nodes)
            if len(self._waiting) >= _WRITTEN_AT_ONCE:
                self._flush()
        self._flush()
        if not held and not self.failures:
            raise InputError("there is no file that is read: give texts, pictures, PDFs or clips")
        for path, kept in held.items():
            self._index.remove_stale(encode_path(path), kept)

    def _read(self, path: Path, *, is_named: bool) -> list[FileNode]:
        try:
            return read_file_nodes(path, self._reading, is_named=is_named)
        except InputError as error:
            self._fail(path, None, error)
            return []

    def _choose_new(self, nodes: list[FileNode]) -> list[FileNode]:
        # The caller's metadata are not part of the ids.
        if self._reading.metadata:
            return nodes
        stored = list_stored_ids(self._index.vector_store, [one.node.node_id for one in nodes])
        return [one for one in nodes if one.node.node_id not in stored]

    def _flush(self) -> None:
        while self._waiting:
            try:
                self._index.insert_nodes([one.node for one in self._waiting])
                self._waiting.clear()
            except InputError as error:
                if error.index is None:
                    raise
                failed = self._waiting.pop(error.index)
                self._fail(failed.unit.source, failed.unit, error)

    def _fail(self, path: Path, unit: Unit | None, error: InputError) -> None:
        if self._on_error == "raise":
            raise type(error)(f"{quote(path)}{_describe_place(unit)}: {error.reason}") from error
        is_part = unit is not None and (unit.page is not None or unit.start is not None)
        self.failures.append(FailedFile(path=path, unit=unit if is_part else None, error=error.at(None)))


def _describe_place(unit: Unit | None) -> str:
    if unit is None:
        return ""
    if unit.page is not None:
        return f", page {unit.page}"
    return "" if unit.start is None else f", from second {unit.start:g}"
