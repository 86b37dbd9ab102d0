"""Nodes as stores can keep them: media by path, documents as nodes, flat metadata that say what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
)

from llama_index.embeddings.qwen3_vl import CaptionMode
from llama_index.indices.qwen3_vl.media_folders import MediaFolder, describe_file
from llama_index.retrievers.qwen3_vl.found_nodes import HIDDEN_KEYS
from llama_index.schema.qwen3_vl.sources import build_resource, read_image_node, read_resource
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.index import Medium
from qwen3_vl_retrieval.items import check_text
from qwen3_vl_retrieval.metadata import check_metadata
from qwen3_vl_retrieval.paths import encode_path

__all__ = ["convert_document", "holds_media", "is_blank", "prepare_node"]


def prepare_node(
    node: BaseNode, folder: MediaFolder, *, caption_mode: CaptionMode = "fuse", is_flat: bool = True
) -> BaseNode:
    """Returns a node that comes back from a store as it went in; the given one is left alone.

    Images and videos are in files, named by `image` and `video` of the metadata, too, and a `Document` is a `Node`
    with itself as its source: stores give documents back as text.

    Args:
        node: Node of any type.
        folder: Where data are written.
        caption_mode: Caption mode of the embedding: whether an image with a text is `"mixed"`, or an `"image"`.
        is_flat: Whether the store keeps scalars alone.

    Raises:
        InputError: There is nowhere to write data to, or a metadatum that the store does not keep.
        MediaError: Data are no image or video.
        MediaPolicyError: A URL is not allowed.
    """
    prepared = convert_document(node) if isinstance(node, Document) else node.model_copy()
    prepared.metadata = _clean_metadata(prepared.metadata, is_flat=is_flat)
    check_text(prepared.node_id, "the id")
    check_text(prepared.get_content(metadata_mode=MetadataMode.NONE), "the text")
    sources = _settle_image_node(prepared, folder) if isinstance(prepared, ImageNode) else _settle(prepared, folder)
    if not sources:
        return prepared
    own = prepared.metadata
    told: dict[str, Any] = {}
    for medium, source in sources.items():
        told |= describe_file(source, medium)
    kind = own.get("media_type")
    if kind != "page":
        told["media_type"] = _find_kind(prepared, sources, caption_mode) if kind is None else kind
    prepared.metadata = told | own
    for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys"):
        hidden: list[str] = getattr(prepared, name)
        setattr(prepared, name, [*hidden, *(key for key in HIDDEN_KEYS if key in told and key not in hidden)])
    return prepared


def holds_media(node: BaseNode) -> bool:
    """Returns whether a node has an image or video of its own."""
    if isinstance(node, Node):
        return node.image_resource is not None or node.video_resource is not None
    return isinstance(node, ImageNode)


def is_blank(node: BaseNode) -> bool:
    """Returns whether there is nothing in a node: neither text nor media nor sound, nor a name of one of them."""
    if holds_media(node) or node.embedding is not None or getattr(node, "obj", None) is not None:
        return False
    if isinstance(node, Node) and node.audio_resource is not None:
        return False
    is_named = node.metadata.get("media_type") not in (None, "", "text")
    return not is_named and not node.get_content(metadata_mode=MetadataMode.EMBED).strip()


def convert_document(document: Document, *, node_id: str | None = None) -> Node:
    """Returns a document as a node whose source it is, with its images and videos."""
    relationships = dict(document.relationships)
    relationships.setdefault(NodeRelationship.SOURCE, RelatedNodeInfo(node_id=document.node_id))
    fields: dict[str, Any] = {name: getattr(document, name) for name in Node.model_fields}
    fields |= {"relationships": relationships, "id_": document.node_id if node_id is None else node_id}
    return Node(**fields)


def _settle(node: BaseNode, folder: MediaFolder) -> dict[Medium, str]:
    """Puts the media of a `Node` into files, and returns where each is."""
    if not isinstance(node, Node):
        return {}
    sources: dict[Medium, str] = {}
    mediums: tuple[Medium, ...] = ("image", "video")
    for medium in mediums:
        resource: MediaResource | None = getattr(node, f"{medium}_resource")
        if resource is None:
            continue
        held = read_resource(resource, medium, folder.policy)
        if held is None:
            raise InputError(
                f"the {medium}_resource has neither data nor path nor url; a store that was written without media_dir "
                "lost its data: give the path of a file"
            )
        given = str(held) if isinstance(held, Path) else held
        source = folder.keep(given, medium)
        settled = build_resource(
            source if "://" in source else Path(source), mime_type=resource.mimetype, text=resource.text
        )
        setattr(node, f"{medium}_resource", settled)
        _note_origin(node, given)
        sources[medium] = source
    return sources


def _settle_image_node(node: ImageNode, folder: MediaFolder) -> dict[Medium, str]:
    given = read_image_node(node, folder.policy)
    if given is None:
        return {}
    source = folder.keep(given, "image")
    uri = source if "://" in source else encode_path(Path(source))
    node.image, node.image_url, node.image_path = None, None, uri
    _note_origin(node, given)
    return {"image": source}


def _note_origin(node: BaseNode, given: str | bytes) -> None:
    """The URL that an image was downloaded from is its source."""
    if isinstance(given, str) and "://" in given and given[:5].lower() != "data:":
        node.metadata = {"source": given} | node.metadata


def _find_kind(node: BaseNode, sources: Mapping[Medium, str], caption_mode: CaptionMode) -> str:
    if caption_mode == "fuse" and node.get_content(metadata_mode=MetadataMode.NONE).strip():
        return "mixed"
    if len(sources) > 1:
        return "mixed"
    return next(iter(sources))


def _clean_metadata(metadata: Mapping[str, Any], *, is_flat: bool) -> dict[str, Any]:
    checked = check_metadata(metadata, allow_nested=not is_flat)
    # What is `None` stays: of templates it is a part.
    return {name: checked.get(name) for name in metadata}
