"""Which images, videos and PDFs a document stands for, however readers of LlamaIndex say so."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from llama_index.core.schema import BaseNode, ImageNode, MediaResource, MetadataMode, Node

from llama_index.schema.qwen3_vl.sources import read_image_node, read_resource
from qwen3_vl_retrieval import MediaPolicy
from qwen3_vl_retrieval.index import decode_data_uri, find_local_file, hash_file

__all__ = ["DocumentFile", "FileKind", "find_text", "is_unit", "list_document_files"]

FileKind: TypeAlias = Literal["image", "video", "pdf"]

_NAMES = ("source", "file_path")
"""Metadata that name a file: of this project, and of LlamaIndex's `SimpleDirectoryReader`."""

_MEDIA_NAMES: dict[FileKind, tuple[str, ...]] = {
    "image": ("image", "image_uri", "image_url"),
    "video": ("video", "video_uri", "video_url"),
}
"""Metadata that say that a document is an image or video, of this project and of others."""

_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
"""Control characters that are no layout: no text has them, and hardly a file of a few bytes has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFile:
    """An image, video or PDF that a document stands for.

    Attributes:
        kind: What it is taken for.
        source: The local file (`Path`), its content (`bytes`), or its URL (`str`).
        mime_type: As the document has it; `None` if it does not say.
    """

    kind: FileKind
    source: Path | bytes | str
    mime_type: str | None = None

    def hash_content(self) -> str | None:
        """Returns the SHA-256 of its content, in hexadecimal; `None` of a URL, and of what is no file.

        Raises:
            MediaError: The file cannot be read.
        """
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        return hash_file(self.source) if isinstance(self.source, Path) and self.source.is_file() else None


def list_document_files(node: BaseNode, *, media_policy: MediaPolicy | None = None) -> list[DocumentFile]:
    """Returns what a document or media node stands for besides its text; an empty list for a text. Nothing is opened.

    What it holds itself goes before what its metadata name. Text nodes, which were cut from documents, stand for
    nothing else, wherever they come from.

    Raises:
        MediaPolicyError: Its data is larger than the policy allows.
        InputError: Its data is no base64.
    """
    if isinstance(node, ImageNode):
        source = read_image_node(node, media_policy)
        if source is None:
            return []
        return [DocumentFile(kind="image", source=_locate(source, media_policy), mime_type=node.image_mimetype)]
    if not isinstance(node, Node):
        return []
    files: list[DocumentFile] = []
    resources: tuple[tuple[FileKind, MediaResource | None], ...] = (
        ("image", node.image_resource),
        ("video", node.video_resource),
    )
    for kind, resource in resources:
        source = read_resource(resource, kind, media_policy)
        if resource is not None and source is not None:
            files.append(DocumentFile(kind=kind, source=_locate(source, media_policy), mime_type=resource.mimetype))
    return files if files else _list_named_files(node, media_policy)


def find_text(node: BaseNode) -> str:
    """Returns the text or caption of a document, without metadata.

    Readers without a reader for images give the bytes of a file as if they were a text; that is no caption.
    """
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    return "" if text.startswith("%PDF-") or _BINARY.search(text) else text


def is_unit(metadata: Mapping[str, Any]) -> bool:
    """Returns whether the metadata are those of a page or window, which is not taken apart again."""
    return any(metadata.get(name) is not None for name in ("page", "start", "end"))


def _list_named_files(node: Node, media_policy: MediaPolicy | None) -> list[DocumentFile]:
    """What the metadata name. With a text, an image or video only where they say that it is one.

    A PDF is taken for one whatever its text: that is what a reader made of the file.
    """
    metadata: dict[str, Any] = node.metadata
    told = metadata.get("media_type")
    if told == "text":
        return []
    for kind, names in _MEDIA_NAMES.items():
        for name in names:
            named = metadata.get(name)
            if isinstance(named, (str, Path)) and str(named):
                return [DocumentFile(kind=kind, source=_locate(str(named), media_policy))]
    is_text = bool(find_text(node).strip())
    for name in _NAMES:
        named = metadata.get(name)
        if isinstance(named, (str, Path)):
            kind = told if told in ("image", "video") else _find_kind(str(named), metadata)
            if kind is None or (is_text and kind != "pdf" and told is None):
                return []
            return [DocumentFile(kind=kind, source=_locate(str(named), media_policy))]
    return []


def _find_kind(name: str, metadata: Mapping[str, Any]) -> FileKind | None:
    told = metadata.get("mime_type", metadata.get("file_type"))
    mime = told if isinstance(told, str) and "/" in told else mimetypes.guess_type(name)[0]
    if mime == "application/pdf":
        return "pdf"
    match "" if mime is None else mime.partition("/")[0]:
        case "image":
            return "image"
        case "video":
            return "video"
        case _:
            return None


def _locate(name: str | bytes | Path, media_policy: MediaPolicy | None) -> Path | bytes | str:
    """The path that a path or `file:` URI names, the content of a `data:` URI, or the URL."""
    if not isinstance(name, str):
        return name
    if name[:5].lower() == "data:":
        # Metadata name files: they hold no data.
        return decode_data_uri(name, media_policy)
    path = find_local_file(name)
    return name if path is None else path
