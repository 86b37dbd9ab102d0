"""The methods that LlamaIndex asks of embeddings: queries, texts and pictures.

Those of LlamaIndex keep vectors by the text alone and report no pictures; these go one way for everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.embeddings.base import Embedding

from llama_index.embeddings.qwen3_vl.computation import ItemEmbedding, Work
from llama_index.embeddings.qwen3_vl.sources import ImageSource, Item, coerce_image
from qwen3_vl_retrieval import InputError

__all__ = ["FrameworkEmbedding"]


class FrameworkEmbedding(ItemEmbedding):
    """Embeds queries, texts and pictures, as `MultiModalEmbedding` has them."""

    def get_query_embedding(self, query: str) -> Embedding:
        """Returns the vector of a text that is to find others; for other queries see `get_query_bundle_embedding`."""
        return self._embed_one(query, _pass_text, "query")

    async def aget_query_embedding(self, query: str) -> Embedding:
        """Returns the same as `get_query_embedding`, in forward passes shared with concurrent callers."""
        return await self._aembed_one(query, _pass_text, "query")

    def get_text_embedding(self, text: str) -> Embedding:
        """Returns the vector of a text; one that looks like a path or URL is a text, too."""
        return self._embed_one(text, _pass_text)

    async def aget_text_embedding(self, text: str) -> Embedding:
        """Returns the same as `get_text_embedding`, in forward passes shared with concurrent callers."""
        return await self._aembed_one(text, _pass_text)

    def get_text_embedding_batch(
        self,
        texts: Sequence[str],
        show_progress: bool = False,
        **kwargs: Any,  # noqa: ARG002 - of the interface
    ) -> list[Embedding]:
        """Returns the vectors of texts, in their order.

        Raises:
            InputError: A text cannot be embedded; the message begins with its position.
        """
        return self._embed_all(Work(texts, _pass_text), show_progress=show_progress)

    async def aget_text_embedding_batch(
        self,
        texts: Sequence[str],
        show_progress: bool = False,
        **kwargs: Any,  # noqa: ARG002 - of the interface
    ) -> list[Embedding]:
        """Returns the same as `get_text_embedding_batch`, in forward passes shared with concurrent callers."""
        return await self._aembed_all(Work(texts, _pass_text), show_progress=show_progress)

    def get_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        """Returns the vector of a picture that is to be found.

        Args:
            img_file_path: A path, URL or `data:` URI (`str`), `Path`, bytes, `BytesIO`, PIL image or array.

        Raises:
            InputError: It cannot be read, or the `MediaPolicy` refuses it.
        """
        return self._embed_one(img_file_path, _wrap_image)

    async def aget_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        """Returns the same as `get_image_embedding`, in forward passes shared with concurrent callers."""
        return await self._aembed_one(img_file_path, _wrap_image)

    def get_image_embedding_batch(
        self, img_file_paths: Sequence[ImageSource], show_progress: bool = False
    ) -> list[Embedding]:
        """Returns the vectors of pictures, in their order; errors begin with the position."""
        return self._embed_all(Work(img_file_paths, _wrap_image), show_progress=show_progress)

    async def aget_image_embedding_batch(
        self, img_file_paths: Sequence[ImageSource], show_progress: bool = False
    ) -> list[Embedding]:
        """Returns the same as `get_image_embedding_batch`, in forward passes shared with concurrent callers."""
        return await self._aembed_all(Work(img_file_paths, _wrap_image), show_progress=show_progress)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._compute([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._acompute([query], "query"))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._compute([text], "document")[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._acompute([text], "document"))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._compute([*texts], "document")

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._acompute([*texts], "document")

    def _get_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        return self._compute([_wrap_image(img_file_path)], "document")[0]

    async def _aget_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        return (await self._acompute([_wrap_image(img_file_path)], "document"))[0]

    def _get_image_embeddings(self, img_file_paths: Sequence[ImageSource]) -> list[Embedding]:
        return self._compute([_wrap_image(source) for source in img_file_paths], "document")

    async def _aget_image_embeddings(self, img_file_paths: Sequence[ImageSource]) -> list[Embedding]:
        return await self._acompute([_wrap_image(source) for source in img_file_paths], "document")


def _pass_text(text: str) -> Item:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not use a type checker
        raise InputError(
            f"got {type(text).__name__} where only text is taken; pictures go to get_image_embedding, bundles to "
            "get_query_bundle_embedding, nodes to get_node_embeddings"
        )
    return text


def _wrap_image(source: ImageSource) -> Item:
    return {"image": coerce_image(source)}
