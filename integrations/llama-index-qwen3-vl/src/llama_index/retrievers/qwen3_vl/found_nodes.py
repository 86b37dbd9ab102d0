"""What retrieval hands out: nodes that have their pixels, whatever the store has made of them."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from llama_index.core.base.llms.types import BaseContentBlock, ImageBlock
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from llama_index.schema.qwen3_vl.sources import build_resource
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.index import Hit, describe_hit, draw_document

__all__ = [
    "HIDDEN_KEYS",
    "FoundNode",
    "MediaKind",
    "PageNode",
    "classify_node",
    "convert_hit",
    "restore_node",
    "shows_image",
]

MediaKind: TypeAlias = Literal["text", "image", "page", "video", "mixed"]
"""What a node is; `mixed` is text with an image or video that were embedded together."""

HIDDEN_KEYS = (
    "media_type",
    "image",
    "video",
    "source",
    "sha256",
    "mime_type",
    "width",
    "height",
    "similarity_score",
    "relevance_score",
)
"""Metadata that are nothing to a language model, or none of its business: `source` is a path on this machine. It is
shown `page`, `start` and `end`, and whatever the caller has added."""

_LOGGER = logging.getLogger(__name__)


class FoundNode(NodeWithScore):
    """A node with its score, whose `text` can be asked for whatever node it is.

    `NodeWithScore.text` fails for a `Node`, and `RetrieverEvaluator` asks for it.
    """

    @property
    def text(self) -> str:
        """The text of the node; `""` if it has none."""
        return self.get_text()

    def get_text(self) -> str:
        """Returns the same as `text`."""
        return self.node.get_content(metadata_mode=MetadataMode.NONE)


class PageNode(Node):
    """A page of a PDF, kept by its place, and drawn when its content blocks are asked for.

    So a language model sees the page, and nothing is drawn for pages that no one looks at. In stores it is a `Node`.
    """

    _policy: MediaPolicy | None = PrivateAttr(default=None)

    @classmethod
    def build(cls, fields: Mapping[str, Any], media_policy: MediaPolicy | None) -> PageNode:
        """Returns the node of a page.

        Args:
            fields: Fields of the node.
            media_policy: What may be opened to draw it; `None` is any local file.
        """
        page = cls(**fields)
        page._policy = media_policy
        return page

    def get_content_blocks(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> list[BaseContentBlock]:
        """Returns metadata, text layer and the image of the page; without it if the file is gone."""
        blocks = super().get_content_blocks(metadata_mode)
        if self.image_resource is not None:
            return blocks
        try:
            pages = draw_document("", self.metadata, policy=self._policy)
        except InputError as error:
            # One page that cannot be drawn any more would end the whole answer.
            _LOGGER.warning("a page is shown by its text alone: %s", error)
            return blocks
        for page in pages:
            stream = io.BytesIO()
            page.save(stream, "PNG", compress_level=1)
            blocks.append(ImageBlock(image=stream.getvalue(), image_mimetype="image/png"))
        return blocks


def classify_node(node: BaseNode) -> MediaKind:
    """Returns what a node is: its `media_type`, or what it holds."""
    told = node.metadata.get("media_type")
    if told in get_args(MediaKind):
        return cast("MediaKind", told)
    if isinstance(node, ImageNode):
        return "mixed" if node.text.strip() else "image"
    if not isinstance(node, Node) or (node.image_resource is None and node.video_resource is None):
        return "text"
    if node.get_content(MetadataMode.NONE).strip():
        return "mixed"
    return "image" if node.video_resource is None else "video"


def shows_image(node: BaseNode) -> bool:
    """Returns whether a node has an image or is a page."""
    if isinstance(node, Node):
        return node.image_resource is not None or classify_node(node) == "page"
    return isinstance(node, ImageNode)


def restore_node(node: BaseNode, *, media_policy: MediaPolicy | None = None) -> BaseNode:
    """Returns a node as it was before the store: with its images and videos, and without the empty text it gained.

    What names an image, page or video in its metadata alone becomes a `Node`, so that rows that another framework has
    written have their pixels.
    """
    if isinstance(node, (ImageNode, IndexNode)) or not isinstance(node, (Node, TextNode)):
        return node
    node = _spread_metadata(node)
    resources = {} if isinstance(node, TextNode) else _list_resources(node)
    kind = node.metadata.get("media_type")
    if not resources and kind not in ("image", "page", "video", "mixed"):
        return node
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    if text:
        resources["text_resource"] = MediaResource(text=text)
    for name in ("image", "video"):
        uri = node.metadata.get(name)
        if not uri and kind == name:
            # As `build_item` has it: the file is what it is about.
            uri = node.metadata.get("source")
        if f"{name}_resource" not in resources and isinstance(uri, (str, Path)) and str(uri):
            resources[f"{name}_resource"] = build_resource(uri)
    fields: dict[str, Any] = {name: getattr(node, name) for name in (*BaseNode.model_fields, "text_template")}
    fields["excluded_llm_metadata_keys"] = _hide_keys(node.metadata, node.excluded_llm_metadata_keys)
    return _make_node(kind, media_policy, {**fields, **resources})


def convert_hit(hit: Hit, *, keep_scores: bool = False) -> BaseNode:
    """Returns the node of a hit: a `TextNode` of a text, a `Node` with image or video of anything else.

    Its id is that of the unit, its source the file.

    Args:
        hit: Hit of `MultimodalIndex.search`.
        keep_scores: Whether the scores of both stages are among the metadata. Nodes with them have another hash for
            every query.
    """
    metadata: dict[str, Any] = describe_hit(hit)
    if not keep_scores:
        for name in ("similarity_score", "relevance_score"):
            metadata.pop(name, None)
    fields: dict[str, Any] = {
        "id_": hit.id,
        "metadata": metadata,
        "excluded_embed_metadata_keys": list(metadata),
        "excluded_llm_metadata_keys": _hide_keys(metadata, ()),
    }
    if hit.source is not None:
        fields["relationships"] = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=hit.source)}
    if hit.media_type == "text":
        return TextNode(text="" if hit.text is None else hit.text, **fields)
    if hit.text:
        fields["text_resource"] = MediaResource(text=hit.text)
    for name in ("image", "video"):
        if name in metadata:
            fields[f"{name}_resource"] = build_resource(metadata[name])
    return _make_node(hit.media_type, hit.policy, fields)


def _spread_metadata(node: Node | TextNode) -> Node | TextNode:
    """The node with its metadata where they belong: rows of Qdrant that are laid out for LangChain have them in one."""
    inner = node.metadata.get("metadata")
    if not isinstance(inner, Mapping) or "media_type" not in inner:
        return node
    spread = node.model_copy()
    spread.metadata = dict(cast("Mapping[str, Any]", inner))
    return spread


def _make_node(kind: object, media_policy: MediaPolicy | None, fields: Mapping[str, Any]) -> Node:
    if kind != "page" or fields.get("image_resource") is not None:
        return Node(**fields)
    return PageNode.build(fields, media_policy)


def _list_resources(node: Node) -> dict[str, Any]:
    """Images, sound and videos of a node, by the names of its fields."""
    names = ("image_resource", "audio_resource", "video_resource")
    return {name: getattr(node, name) for name in names if getattr(node, name) is not None}


def _hide_keys(metadata: Mapping[str, Any], hidden: Any) -> list[str]:
    return [*hidden, *(key for key in HIDDEN_KEYS if key in metadata and key not in hidden)]
