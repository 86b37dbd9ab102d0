"""Nodes that are shown to a language model by pictures that were drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from llama_index.core.base.llms.types import BaseContentBlock, ImageBlock, TextBlock, VideoBlock
from llama_index.core.schema import BaseNode, ImageNode, MediaResource, MetadataMode, Node
from pydantic import PrivateAttr

from llama_index.postprocessor.qwen3_vl_rerank.node_media import read_text

__all__ = ["ShownNode"]


class ShownNode(Node):
    """A node that still names its files, while its content blocks are those that were made for a language model.

    A clip has one resource and several frames, a page a PDF and no picture: `Node` alone cannot hold what is shown of
    them. Written to a store it is the `Node` that it was made from.
    """

    _blocks: tuple[ImageBlock | VideoBlock, ...] = PrivateAttr(default=())

    @classmethod
    def show(cls, node: BaseNode, blocks: Sequence[ImageBlock | VideoBlock]) -> Self:
        """Returns a node of the same id, text, metadata and relationships that shows `blocks`; `node` is left alone."""
        shown = cls(**_copy_fields(node))
        shown._blocks = tuple(blocks)
        return shown

    def get_content_blocks(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> list[BaseContentBlock]:
        """Returns the metadata and the text, unless they are empty, and then what is shown."""
        blocks = self.get_metadata_content_blocks(metadata_mode)
        text = read_text(self)
        if text.strip():
            blocks.append(TextBlock(text=text))
        if self.audio_resource is not None:
            audio = Node(audio_resource=self.audio_resource)
            blocks += audio.get_content_blocks()
        return [*blocks, *self._blocks]


def _copy_fields(node: BaseNode) -> dict[str, Any]:
    text = read_text(node)
    fields: dict[str, Any] = {
        "id_": node.id_,
        "embedding": None if node.embedding is None else list(node.embedding),
        "metadata": dict(node.metadata),
        "excluded_embed_metadata_keys": list(node.excluded_embed_metadata_keys),
        "excluded_llm_metadata_keys": list(node.excluded_llm_metadata_keys),
        "relationships": dict(node.relationships),
        "metadata_template": node.metadata_template,
        "metadata_separator": node.metadata_separator,
        "text_resource": MediaResource(text=text) if text else None,
    }
    if isinstance(node, Node):
        fields |= {
            "image_resource": node.image_resource,
            "video_resource": node.video_resource,
            "audio_resource": node.audio_resource,
            "text_template": node.text_template,
        }
    elif isinstance(node, ImageNode):
        fields["image_resource"] = _build_resource(node)
    return fields


def _build_resource(node: ImageNode) -> MediaResource | None:
    if node.image and node.image[:5].lower() != "data:":
        return MediaResource(data=node.image.encode(), mimetype=node.image_mimetype)
    if node.image_path:
        return MediaResource.model_validate({"path": node.image_path, "mimetype": node.image_mimetype})
    url = node.image if node.image else node.image_url
    return MediaResource.model_validate({"url": url, "mimetype": node.image_mimetype}) if url else None
