"""Files in an index: an image is one node, a PDF one per page, a video one per window, a text one per chunk.

New content is embedded, what is there stays, and what a file no longer holds goes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from llama_index.core.schema import BaseNode, MediaResource, Node, NodeRelationship, RelatedNodeInfo, TextNode

from llama_index.indices.qwen3_vl.engines import require_known
from llama_index.indices.qwen3_vl.stores import list_stored_ids
from llama_index.retrievers.qwen3_vl.found_nodes import HIDDEN_KEYS
from llama_index.schema.qwen3_vl.sources import build_resource
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import (
    FailedFile,
    TranscribeSpeech,
    Unit,
    describe_unit,
    hash_file,
    list_files,
    read_units,
)
from qwen3_vl_retrieval.metadata import check_metadata
from qwen3_vl_retrieval.options import list_option_names
from qwen3_vl_retrieval.paths import decode_path, encode_path

if TYPE_CHECKING:
    from llama_index.indices.qwen3_vl.base import UnifiedMultiModalIndex

__all__ = ["FileInsertion", "FileOptions"]

_logger = logging.getLogger(__name__)


_WRITTEN_AT_ONCE = 64
"""Nodes that are embedded before any is written: what is lost when a run is interrupted."""


class FileOptions(TypedDict, total=False):
    """The options of `UnifiedMultiModalIndex.add_files`.

    Attributes:
        on_error: `"raise"` ends at the first file that cannot be read, `"skip"` adds the others; see `failures`.
        metadata: Metadata of every node, as flat scalars.
        window_seconds: Length of a window of a video; 30 by default.
        overlap_seconds: What a window shares with the one before; 5 by default.
        cut_at_scenes: Let windows end where the image changes.
        asr: Transcribes what is said in videos; see `VideoSegmenter`.
    """

    on_error: Literal["raise", "skip"]
    metadata: Mapping[str, str | int | float | bool] | None
    window_seconds: float
    overlap_seconds: float
    cut_at_scenes: bool
    asr: TranscribeSpeech | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileNode:
    """A node and the part of a file that it stands for."""

    node: BaseNode
    unit: Unit


class FileInsertion:
    """One run over files and folders.

    Args:
        index: What they are added to.
        policy: What may be opened.
        options: How they are read; see `FileOptions`.

    Raises:
        InputError: No store can hold the metadata.
        TypeError: An option is unknown.
        ValueError: `on_error` is unknown.
    """

    def __init__(self, index: UnifiedMultiModalIndex, policy: MediaPolicy, **options: Unpack[FileOptions]) -> None:
        require_known(options, list_option_names(FileOptions), "add_files")
        on_error = options.pop("on_error", "raise")
        metadata = options.pop("metadata", None)
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={quote(on_error)} is unknown; allowed are 'raise' and 'skip'")
        self._index, self._policy, self._on_error = index, policy, on_error
        self._metadata = {} if metadata is None else check_metadata(metadata)
        self._windows: dict[str, Any] = dict(options)
        self._waiting: list[_FileNode] = []
        self.failures: list[FailedFile] = []
        """What could not be read, in the order of the files."""

    def run(self, paths: str | Path | Iterable[str | Path]) -> None:
        """Adds files.

        Raises:
            InputError: One cannot be read, and that is not to be skipped; or there is none. The message names it.
        """
        listed = _list_paths(paths)
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
            raise InputError("there is no file that is read: give texts, images, PDFs or videos")
        for path, kept in held.items():
            self._index.remove_stale(encode_path(path), kept)

    def _read(self, path: Path, *, is_named: bool) -> list[_FileNode]:
        try:
            units = read_units(path, self._policy, **self._windows)
            content = hash_file(path) if units else ""
        except InputError as error:
            self._fail(path, None, error)
            return []
        if not units and is_named:
            self._fail(path, None, InputError(f"files with the suffix {quote(path.suffix)} are not read"))
        return [
            _FileNode(node=_build(unit, number, content, self._metadata), unit=unit)
            for number, unit in enumerate(units)
        ]

    def _choose_new(self, nodes: list[_FileNode]) -> list[_FileNode]:
        # The caller's metadata are not part of the ids.
        if self._metadata:
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


def _list_paths(given: str | Path | Iterable[str | Path]) -> list[tuple[Path, bool]]:
    """Returns files, and whether each was named, not found in a folder; folders give what is in them, by name.

    Of a folder, those are the files that `list_files` lists. What it skips is logged as information, what it cannot
    look at as a warning.

    Raises:
        InputError: There is no such file or folder.
    """
    paths: list[tuple[Path, bool]] = []
    for one in [given] if isinstance(given, (str, Path)) else given:
        path = (one if isinstance(one, Path) else decode_path(one)).absolute()
        if os.path.isdir(path):  # noqa: PTH112 - unlike `Path.is_dir`, also for names that no file can have
            paths += [(file, False) for file in _list_folder(path)]
        elif os.path.exists(path):  # noqa: PTH110 - likewise
            paths.append((path, True))
        else:
            raise InputError(f"no such file or folder: {quote(one)}")
    return list({path: (path, is_named) for path, is_named in paths}.values())


def _build(unit: Unit, number: int, content: str, own: Mapping[str, Any]) -> BaseNode:
    """The node of a part of a file. Its id follows from path, content and place, and its source is the path as text."""
    metadata: dict[str, Any] = {**own, **describe_unit(unit), "sha256": content}
    source = encode_path(unit.source)
    fields: dict[str, Any] = {
        "id_": _name(source, content, unit.page, unit.start, unit.end, number),
        "metadata": metadata,
        "excluded_embed_metadata_keys": list(metadata),
        "excluded_llm_metadata_keys": [key for key in metadata if key in HIDDEN_KEYS],
        "relationships": {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)},
    }
    text = "" if unit.text is None else unit.text
    if unit.media_type == "text":
        return TextNode(text=text, **fields)
    if text:
        fields["text_resource"] = MediaResource(text=text)
    if unit.media_type in ("image", "video"):
        fields[f"{unit.media_type}_resource"] = build_resource(unit.source)
    return Node(**fields)


def _name(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _list_folder(folder: Path) -> tuple[Path, ...]:
    listing = list_files(folder)
    for skipped in listing.skipped:
        _logger.info("%s is skipped: %s", skipped.path, skipped.reason)
    for path, error in listing.failures:
        _logger.warning("%s is left out: %s", path, error)
    return listing.files
