"""Files as nodes: a picture is one, a PDF one per page, a clip one per window, a text one per chunk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_index.core.schema import BaseNode, MediaResource, Node, NodeRelationship, RelatedNodeInfo, TextNode

from llama_index.embeddings.qwen3_vl.sources import build_resource
from llama_index.retrievers.qwen3_vl.found_nodes import HIDDEN_KEYS
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import Unit, describe_unit, hash_file, list_files, read_units
from qwen3_vl_retrieval.paths import decode_path, encode_path

__all__ = ["FileNode", "Reading", "list_paths", "read_file_nodes"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How files are read.

    Attributes:
        policy: What may be opened.
        options: Further arguments of `qwen3_vl_retrieval.index.read_units`.
        metadata: Of every node.
    """

    policy: MediaPolicy
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNode:
    """A node and the part of a file that it stands for."""

    node: BaseNode
    unit: Unit


def list_paths(given: str | Path | Iterable[str | Path]) -> list[tuple[Path, bool]]:
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


def read_file_nodes(path: Path, reading: Reading, *, is_named: bool) -> list[FileNode]:
    """Returns the nodes of a file in reading order; none of a file in a folder that is of no known kind.

    Their ids follow from path, content and place, and their source is the path as text (`encode_path`), so that
    `delete_ref_doc(str(path))` removes them.

    Args:
        path: The file.
        reading: How it is read.
        is_named: Whether a file of no known kind is an error.

    Raises:
        InputError: It cannot be read.
    """
    units = read_units(path, reading.policy, **reading.options)
    if not units and is_named:
        raise InputError(f"files with the suffix {quote(path.suffix)} are not read")
    content = hash_file(path) if units else ""
    return [FileNode(node=_build(unit, number, content, reading), unit=unit) for number, unit in enumerate(units)]


def _build(unit: Unit, number: int, content: str, reading: Reading) -> BaseNode:
    metadata: dict[str, Any] = {**reading.metadata, **describe_unit(unit), "sha256": content}
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
