"""What a language model can be shown of the nodes that were found, whatever became of their files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from llama_index.core.base.llms.types import BaseContentBlock, ImageBlock, TextBlock, VideoBlock
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, ImageNode, MediaResource, MetadataMode, Node, NodeWithScore, QueryBundle
from pydantic import ConfigDict, Field, PrivateAttr

from llama_index.schema.qwen3_vl.content_blocks import (
    BlockOptions,
    VideoForm,
    build_blocks,
    count_images,
)
from llama_index.schema.qwen3_vl.node_media import NodeMedium, list_node_media, read_text
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.index import LEAST_IMAGE_BYTES, share_images

__all__ = ["MediaGuard"]

_logger = logging.getLogger(__name__)


class MediaGuard(BaseNodePostprocessor):
    """Makes nodes ready for a multimodal language model; the last of the postprocessors.

    Without it one file that was moved since it was indexed makes LlamaIndex raise, and the whole answer is lost; pages
    of PDFs reach the model as text, captions of `ImageNode` not at all, and videos as blocks that most models refuse.

    ```python
    engine = RetrieverQueryEngine.from_args(
        retriever, llm=llm, multimodal=True, node_postprocessors=[Qwen3VLRerank(), MediaGuard(max_images=6)]
    )
    ```

    An image or video that is missing, refused by the policy, or broken is left out, with a warning in the log that
    names the node; its text stays, and a node of which nothing is left is dropped. A page of a PDF is rendered. The
    ids, scores, metadata and order stay, also what nodes say about their files: it is the content blocks that change.
    Nodes are never changed, but built anew.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    video: VideoForm = Field(
        default="frames",
        description="What becomes of videos: `frames`, `block` (the file, for models that take them; of a longer file "
        "with a window, frames) or `none`.",
    )
    max_frames: int = Field(default=4, ge=1, description="Most frames of a video, spread over it.")
    max_images: int | None = Field(
        default=None, ge=0, description="Most images of all nodes, frames included, the best nodes first."
    )
    max_image_pixels: int | None = Field(
        default=None, ge=1, description="Most pixels of an image; larger ones are made smaller."
    )
    max_image_bytes: int | None = Field(
        default=None, ge=LEAST_IMAGE_BYTES, description="Most bytes of an image; larger ones become JPEG that fits."
    )
    media_policy: MediaPolicy | None = Field(
        default=None, description="What may be opened; by default any local file, and no URL."
    )

    @classmethod
    def class_name(cls) -> str:
        """Returns the name of the class, by which it is serialised."""
        return "MediaGuard"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        del query_bundle
        found = [self._find_media(node) for node in nodes]
        needs = [self._count_images(medium) for one in found for medium in one.media]
        shares = iter(share_images(needs, self.max_images))
        guarded: list[NodeWithScore] = []
        for node, one in zip(nodes, found, strict=True):
            kept = self._guard_node(node, one, [next(shares) for _ in one.media])
            if kept is not None:
                guarded.append(kept)
        return guarded

    def _find_media(self, node: NodeWithScore) -> _FoundMedia:
        try:
            media = list_node_media(node.node, media_policy=self.media_policy)
        except (InputError, TypeError, ValueError) as error:
            # The last two: metadata written by others.
            _warn(node, str(error))
            return _FoundMedia(media=[], is_changed=True)
        missing = [medium for medium in media if medium.is_missing]
        for medium in missing:
            _warn(node, f"no such file: {str(medium.path)!r}")
        there = [medium for medium in media if not medium.is_missing]
        return _FoundMedia(media=there, is_changed=bool(media) or _needs_image(node.node))

    def _count_images(self, medium: NodeMedium) -> int:
        return count_images(medium, self._options, max_frames=self.max_frames)

    def _guard_node(self, node: NodeWithScore, found: _FoundMedia, shares: Sequence[int]) -> NodeWithScore | None:
        sound_is_lost = _lost_sound(node)
        if not found.is_changed and not sound_is_lost:
            return NodeWithScore(node=node.node, score=node.score)
        blocks: list[ImageBlock | VideoBlock] = []
        for medium, share in zip(found.media, shares, strict=True):
            try:
                blocks += build_blocks(medium, self._options, max_images=share)
            except InputError as error:
                _warn(node, error.reason)
        shown = _ShownNode.show(node.node, blocks)
        if sound_is_lost:
            _warn(node, "its sound is in no file any more")
            shown.audio_resource = None
        if not blocks and not read_text(shown).strip() and shown.audio_resource is None:
            _logger.warning("node %s is left out: nothing of it can be shown", node.node_id)
            return None
        return NodeWithScore(node=shown, score=node.score)

    @property
    def _options(self) -> BlockOptions:
        return BlockOptions(
            video=self.video,
            max_image_pixels=self.max_image_pixels,
            max_image_bytes=self.max_image_bytes,
            media_policy=self.media_policy,
            keeps_files=True,
        )


class _ShownNode(Node):
    """A node that still names its files, while its content blocks are those that were made for a language model.

    A video has one resource and several frames, a page a PDF and no image: `Node` alone cannot hold what is shown of
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _FoundMedia:
    """The media of a node that are where they should be; and whether the node cannot stay as it is."""

    media: list[NodeMedium]
    is_changed: bool


def _needs_image(node: BaseNode) -> bool:
    """Whether LlamaIndex asks the node for an image or video, even if the data was lost in a store."""
    if isinstance(node, Node):
        return node.image_resource is not None or node.video_resource is not None
    return isinstance(node, ImageNode)


def _lost_sound(node: NodeWithScore) -> bool:
    sound = node.node.audio_resource if isinstance(node.node, Node) else None
    return sound is not None and not sound.data and sound.path is not None and not sound.path.is_file()


def _warn(node: NodeWithScore, reason: str) -> None:
    _logger.warning("an image or video of node %s is not shown: %s", node.node_id, reason)


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
