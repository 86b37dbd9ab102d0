"""The nodes of images, pages and videos: media by path, captions as text, metadata that travel."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llama_index.core.schema import BaseNode, MediaResource, Node, NodeRelationship, RelatedNodeType

from llama_index.schema.qwen3_vl.sources import build_resource

__all__ = ["build_media_node", "build_node_id"]

_PLUMBING = (
    "image",
    "video",
    "source",
    "sha256",
    "mime_type",
    "width",
    "height",
    "file_path",
    "file_type",
    "file_size",
)
"""Metadata that are for programs: neither embedded nor told to language models."""

_UNSAID = (*_PLUMBING, "page", "start", "end", "file_name")
"""Metadata that are not embedded. `media_type` is not among them: LlamaIndex's `VectorStoreIndex` leaves out nodes of
which nothing is to be embedded as text, whatever images they have."""


def build_media_node(
    document: BaseNode,
    *,
    id_: str,
    text: str,
    media: Mapping[str, Path | str],
    metadata: Mapping[str, Any],
    mime_types: Mapping[str, str | None] = MappingProxyType({}),
) -> Node:
    """Returns the node of an image, page or video of a document.

    It always has a text, if only an empty one: of a `Node` without one LlamaIndex's cache of transformations sees
    nothing, not even the metadata, and takes any two such nodes for the same.

    Args:
        document: What it comes from; relationships and settings are kept, and it becomes the source if there is none.
        id_: ID of the node.
        text: Caption or text layer.
        media: `image` and `video`, each a path or URL.
        metadata: All of the node's.
        mime_types: MIME types of the media; what is left out is guessed from the names.
    """
    resources = {
        f"{kind}_resource": build_resource(source, mime_type=mime_types.get(kind)) for kind, source in media.items()
    }
    return Node.model_validate(
        {
            "id_": id_,
            "text_resource": MediaResource(text=text),
            **resources,
            "metadata": dict(metadata),
            "relationships": _keep_relationships(document),
            "excluded_embed_metadata_keys": _extend(document.excluded_embed_metadata_keys, _UNSAID),
            "excluded_llm_metadata_keys": _extend(document.excluded_llm_metadata_keys, _PLUMBING),
            "metadata_template": document.metadata_template,
            "metadata_separator": document.metadata_separator,
        }
    )


def build_node_id(contents: Sequence[str], text: str, metadata: Mapping[str, Any]) -> str:
    """Returns a UUID of what a node holds and where: the same for the same content of the same file, and no other.

    Args:
        contents: Hashes of its media, or their URLs.
        text: Caption or text layer.
        metadata: Metadata of which `source`, `page`, `start` and `end` count.
    """
    place = [str(metadata.get(name)) for name in ("source", "page", "start", "end")]
    told = json.dumps([list(contents), text, place])
    return str(uuid.UUID(bytes=hashlib.sha256(told.encode("utf-8", "surrogatepass")).digest()[:16]))


def _keep_relationships(document: BaseNode) -> dict[NodeRelationship, RelatedNodeType]:
    kept = dict(document.relationships)
    kept.setdefault(NodeRelationship.SOURCE, document.as_related_node_info())
    return kept


def _extend(keys: Sequence[str], more: Sequence[str]) -> list[str]:
    return [*keys, *(key for key in more if key not in keys)]
