"""What the multimodal chat engines of LlamaIndex take: `ImageNode`s for pictures, and text."""

from __future__ import annotations

import base64
from typing import Any

from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import ConfigDict

__all__ = ["ChatNodes"]


class ChatNodes(BaseNodePostprocessor):
    """Turns each node into a text and the pictures that it shows: those engines see no other.

    It is the last of the postprocessors, behind a `MediaGuard`, which makes pictures of pages and clips.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @classmethod
    def class_name(cls) -> str:
        """Returns the name of the class."""
        return "ChatNodes"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        del query_bundle
        return [NodeWithScore(node=part, score=one.score) for one in nodes for part in _split(one.node)]


def _split(node: BaseNode) -> list[BaseNode]:
    pictures = [block for block in node.get_content_blocks(MetadataMode.NONE) if isinstance(block, ImageBlock)]
    if not pictures:
        return [node]
    shared: dict[str, Any] = {
        "metadata": node.metadata,
        "excluded_llm_metadata_keys": node.excluded_llm_metadata_keys,
        "relationships": node.relationships,
    }
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    # Also without a text: what is said of the picture, such as its page, is in the metadata.
    parts: list[BaseNode] = [TextNode(id_=node.node_id, text=text, **shared)]
    for number, block in enumerate(pictures):
        encoded = base64.b64encode(block.resolve_image().read()).decode("ascii")
        parts.append(
            ImageNode(id_=f"{node.node_id}-{number}", image=encoded, image_mimetype=block.image_mimetype, **shared)
        )
    return parts
