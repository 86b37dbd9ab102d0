"""Text, pictures, clips, mixtures and nodes of them to vectors of one space, as LlamaIndex asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack, cast

import numpy as np
from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.schema import BaseNode, QueryBundle
from pydantic import Field

from llama_index.embeddings.qwen3_vl.computation import Work
from llama_index.embeddings.qwen3_vl.interface import FrameworkEmbedding
from llama_index.embeddings.qwen3_vl.models import EmbeddingOptions
from llama_index.embeddings.qwen3_vl.nodes import CaptionMode, build_node_item
from llama_index.embeddings.qwen3_vl.queries import Query, list_query_items
from llama_index.embeddings.qwen3_vl.sources import ImageSource, Item, VideoSource, coerce_image, coerce_video
from qwen3_vl_retrieval import Embedder, Fingerprint, PlainEmbedder
from qwen3_vl_retrieval.errors import quote

__all__ = ["Qwen3VLEmbedding"]

_DEFAULT = "Qwen/Qwen3-VL-Embedding-2B"


class Qwen3VLEmbedding(FrameworkEmbedding):
    """Embeds text, pictures, document pages, clips and any mixture of them in one vector space.

    Wherever LlamaIndex passes text on, a `str` is text, and never opened as a path. As a transformation it embeds every
    type of node by what it shows, so that it works in an `IngestionPipeline`; `VectorStoreIndex` itself only ever asks
    for texts, and takes what was embedded before: `index.insert_nodes(embedding(nodes))`. Vectors have unit length.

    ```python
    from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle, Qwen3VLEmbedding

    embedding = Qwen3VLEmbedding("Qwen/Qwen3-VL-Embedding-2B")
    photo = embedding.get_image_embedding("mug.jpg")
    mixture = embedding.get_multimodal_embedding(image="mug.jpg", text="sold out")
    query = embedding.get_query_bundle_embedding(MultiModalQueryBundle("the same in blue", images=["mug.jpg"]))
    nodes = embedding(nodes)
    ```

    The `a…` methods share forward passes between concurrent callers. `IngestionPipeline(num_workers=…)` starts
    processes, each of which loads the model again: one process is enough for one GPU.

    Args:
        model_name: Name on the hub, folder, or `pocket`.
        embedder: A ready object (`Qwen3VLEmbedder`, or any `Embedder`) in place of a name.
        options: The fields below, those of `ModelOptions` and of LlamaIndex's `BaseEmbedding`.

    Raises:
        ValueError: An option is unknown or does not fit the model that was given.
    """

    caption_mode: CaptionMode = Field(
        default="fuse",
        description="Whether the text of a node with a picture or clip is embedded with it (`fuse`), or left to "
        "language models (`image_only`). A `media_type` among its metadata goes first.",
    )

    def __init__(
        self,
        model_name: str | Path = _DEFAULT,
        *,
        embedder: Embedder | PlainEmbedder | None = None,
        **options: Unpack[EmbeddingOptions],
    ) -> None:
        is_named = embedder is None or model_name != _DEFAULT
        values: dict[str, Any] = {**options, **({"model_name": str(model_name)} if is_named else {})}
        super().__init__(**values)
        if embedder is not None:
            self._accept_embedder(embedder)
            self._check_call_options()

    @classmethod
    def class_name(cls) -> str:
        """Returns the name in serialised forms."""
        return "Qwen3VLEmbedding"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Returns everything that changes vectors, without secrets; of a ready object its fingerprint."""
        values = super().to_dict(**kwargs)
        return values if self._ready is None else values | {"fingerprint": self.fingerprint.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Returns the embedding that `to_dict` described.

        Args:
            data: As `to_dict` returned it.
            kwargs: Options that go before; `embedder` for one that was made of a ready object.

        Raises:
            ValueError: It was made of a ready object, and none is given.
            FingerprintMismatchError: The one that is given makes other vectors.
        """
        values = {**data, **kwargs}
        values.pop("class_name", None)
        stored = values.pop("fingerprint", None)
        if stored is None:
            return cls(**values)
        if values.get("embedder") is None:
            raise ValueError(
                f"this embedding was made of a ready {quote(values['model_name'])}, which is not serialised; give it: "
                "from_dict(data, embedder=…)"
            )
        made = cls(**values)
        made.fingerprint.require_match(Fingerprint.from_dict(stored))
        return made

    def get_video_embedding(self, video_path: VideoSource) -> Embedding:
        """Returns the vector of a clip that is to be found.

        Args:
            video_path: As a picture, or the list of its frames. For a window of a clip, embed a node with `start` and
                `end` among its metadata.

        Raises:
            InputError: It cannot be read, or the `MediaPolicy` refuses it.
        """
        return self._embed_one(video_path, _wrap_video)

    async def aget_video_embedding(self, video_path: VideoSource) -> Embedding:
        """Returns the same as `get_video_embedding`, in forward passes shared with concurrent callers."""
        return await self._aembed_one(video_path, _wrap_video)

    def get_video_embeddings(self, video_paths: Sequence[VideoSource], show_progress: bool = False) -> list[Embedding]:
        """Returns the vectors of clips, in their order; errors begin with the position."""
        return self._embed_all(Work(video_paths, _wrap_video), show_progress=show_progress)

    async def aget_video_embeddings(
        self, video_paths: Sequence[VideoSource], show_progress: bool = False
    ) -> list[Embedding]:
        """Returns the same as `get_video_embeddings`, in forward passes shared with concurrent callers."""
        return await self._aembed_all(Work(video_paths, _wrap_video), show_progress=show_progress)

    def get_multimodal_embedding(
        self,
        *,
        text: str | None = None,
        image: ImageSource | Sequence[ImageSource] | None = None,
        video: VideoSource | None = None,
        instruction: str | None = None,
    ) -> Embedding:
        """Returns one vector of all that is given, which is to be found.

        Args:
            text: Text.
            image: A picture or a list of them, see `get_image_embedding`.
            video: A clip, see `get_video_embedding`.
            instruction: What this is to be represented for; goes before `text_instruction`.

        Raises:
            InputError: Nothing is given, or it cannot be read.
        """
        mixture = {"text": text, "image": image, "video": video, "instruction": instruction}
        return self._embed_one(mixture, _wrap_mixture)

    async def aget_multimodal_embedding(
        self,
        *,
        text: str | None = None,
        image: ImageSource | Sequence[ImageSource] | None = None,
        video: VideoSource | None = None,
        instruction: str | None = None,
    ) -> Embedding:
        """Returns the same as `get_multimodal_embedding`, in forward passes shared with concurrent callers."""
        mixture = {"text": text, "image": image, "video": video, "instruction": instruction}
        return await self._aembed_one(mixture, _wrap_mixture)

    def get_multimodal_embedding_batch(
        self, items: Sequence[Mapping[str, Any] | Item], show_progress: bool = False
    ) -> list[Embedding]:
        """Returns the vectors of mixtures, in their order; errors begin with the position.

        Args:
            items: Dicts with the arguments of `get_multimodal_embedding`, or any other items of the core.
            show_progress: Show a progress bar.
        """
        return self._embed_all(Work(items, _wrap_mixture), show_progress=show_progress)

    async def aget_multimodal_embedding_batch(
        self, items: Sequence[Mapping[str, Any] | Item], show_progress: bool = False
    ) -> list[Embedding]:
        """Returns the same as `get_multimodal_embedding_batch`, in forward passes shared with concurrent callers."""
        return await self._aembed_all(Work(items, _wrap_mixture), show_progress=show_progress)

    def get_query_bundle_embedding(self, bundle: Query) -> Embedding:
        """Returns the vector of a query of text, pictures and clips.

        If it has an `embedding` already, that is returned; of several `custom_embedding_strs` it is their mean, as in
        LlamaIndex, at unit length.

        Args:
            bundle: A `QueryBundle` with or without `image_path`, a `MultiModalQueryBundle`, or see `Query`.

        Raises:
            InputError: The query is empty, or cannot be read.
        """
        known = _find_known(bundle)
        if known is not None:
            return known
        items = self._list_items(bundle)
        if len(items) == 1:
            return self._embed_one(items[0], _pass_item, "query")
        return _average(self._embed_all(Work(items, _pass_item, "query", "query")))

    async def aget_query_bundle_embedding(self, bundle: Query) -> Embedding:
        """Returns the same as `get_query_bundle_embedding`, in forward passes shared with concurrent callers."""
        known = _find_known(bundle)
        if known is not None:
            return known
        # In a thread: a node that is a page is rendered here.
        items = await asyncio.to_thread(self._list_items, bundle)
        if len(items) == 1:
            return await self._aembed_one(items[0], _pass_item, "query")
        return _average(await self._aembed_all(Work(items, _pass_item, "query", "query")))

    def get_node_embeddings(self, nodes: Sequence[BaseNode], show_progress: bool = False) -> list[Embedding]:
        """Returns the vectors of nodes of any type by what they show, in their order; the nodes are left alone.

        What is seen of each type is said at `build_node_item`.

        Raises:
            InputError: A node cannot be embedded; the message begins with its position.
        """
        return self._embed_all(Work(nodes, self._wrap_node, "document", "node"), show_progress=show_progress)

    async def aget_node_embeddings(self, nodes: Sequence[BaseNode], show_progress: bool = False) -> list[Embedding]:
        """Returns the same as `get_node_embeddings`, in forward passes shared with concurrent callers."""
        return await self._aembed_all(Work(nodes, self._wrap_node, "document", "node"), show_progress=show_progress)

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Sets the `embedding` of each node, see `get_node_embeddings`, and returns the nodes."""
        # Indexes pass all of their options on to every transformation.
        show_progress = kwargs.get("show_progress", False)
        return _set_embeddings(nodes, self.get_node_embeddings(nodes, show_progress))

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Does the same, in forward passes shared with concurrent callers."""
        show_progress = kwargs.get("show_progress", False)
        return _set_embeddings(nodes, await self.aget_node_embeddings(nodes, show_progress))

    def _wrap_node(self, node: BaseNode) -> Item:
        return build_node_item(node, caption_mode=self.caption_mode, media_policy=self.media_policy)

    def _list_items(self, query: Query) -> list[Item]:
        return list_query_items(query, media_policy=self.media_policy)


def _pass_item(item: Item) -> Item:
    return item


def _wrap_video(source: VideoSource) -> Item:
    return {"video": coerce_video(source)}


def _wrap_mixture(item: Mapping[str, Any] | Item) -> Item:
    """The item of a dict of the arguments, where pictures and clips may be streams; of any other item that."""
    if not isinstance(item, Mapping):
        return item
    given = {name: value for name, value in item.items() if value is not None}
    if "image" in given:
        images = given["image"]
        is_list = isinstance(images, (list, tuple))
        given["image"] = [coerce_image(image) for image in cast("Any", images)] if is_list else coerce_image(images)
    if "video" in given:
        given["video"] = coerce_video(given["video"])
    return given


def _find_known(query: Query) -> Embedding | None:
    return query.embedding if isinstance(query, QueryBundle) else None


def _average(vectors: Sequence[Embedding]) -> Embedding:
    mean = np.mean(np.asarray(vectors, dtype=np.float32), axis=0)
    return (mean / np.linalg.norm(mean)).tolist()


def _set_embeddings(nodes: Sequence[BaseNode], vectors: Sequence[Embedding]) -> Sequence[BaseNode]:
    for node, vector in zip(nodes, vectors, strict=True):
        node.embedding = vector
    return nodes
