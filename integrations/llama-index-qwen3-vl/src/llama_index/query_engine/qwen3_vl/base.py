"""A query engine whose language model sees what was found, and what was asked about."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ImageBlock, VideoBlock
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.llms.llm import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import (
    BaseSynthesizer,
    ResponseMode,
    get_response_synthesizer,  # pyright: ignore[reportUnknownVariableType] - programs are not typed
)
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.settings import Settings
from pydantic import BaseModel

from llama_index.postprocessor.qwen3_vl_rerank.media_guard import MediaGuard
from llama_index.postprocessor.qwen3_vl_rerank.picture_blocks import BlockOptions, VideoForm
from llama_index.query_engine.qwen3_vl.query_media import build_query_blocks
from llama_index.query_engine.qwen3_vl.query_prompts import QueryMediaPrompt
from qwen3_vl_retrieval import MediaPolicy

__all__ = ["MultiModalQueryEngine"]


class MultiModalQueryEngine(RetrieverQueryEngine):
    """A `RetrieverQueryEngine` that hands the query's own pictures and clips to the language model.

    LlamaIndex gives the model the words of a query alone: of "which of these is the same, in blue?" it sees what was
    found, and never what was asked about. Here it sees both, in every response mode, with and without streaming.

    ```python
    engine = MultiModalQueryEngine.from_args(retriever, llm=llm, node_postprocessors=[Qwen3VLRerank(top_n=4)])
    response = engine.query(MultiModalQueryBundle("Is this one still under warranty?", images=["mug.jpg"]))
    ```

    Unless there is one, a `MediaGuard` is added at the end of the postprocessors, so that a file that was moved does
    not cost the answer, and pages and clips are seen.

    Args:
        retriever: Any; to search with the picture as well, one that takes it, such as `Qwen3VLRetriever`.
        response_synthesizer: One that was built with `multimodal=True`; `None` builds one of `Settings.llm`.
        node_postprocessors: As in LlamaIndex.
        callback_manager: As in LlamaIndex.
        media_policy: What may be opened of a query, and of the nodes; `None` is any local file, and no URL.
        video: Whether clips of queries and nodes are `"frames"`, a `"block"` for models that take clips, or `"none"`.
        max_frames: Most frames of a clip.
        max_query_images: Most pictures of a query, frames included.
        max_image_pixels: Most pixels of a picture of a query; larger ones are made smaller.
        max_image_bytes: Most bytes of a picture of a query, as JPEG.

    Raises:
        ValueError: The synthesizer is not multimodal.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        response_synthesizer: BaseSynthesizer | None = None,
        node_postprocessors: list[BaseNodePostprocessor] | None = None,
        callback_manager: CallbackManager | None = None,
        *,
        media_policy: MediaPolicy | None = None,
        video: VideoForm = "frames",
        max_frames: int = 4,
        max_query_images: int = 8,
        max_image_pixels: int = 1_003_520,
        max_image_bytes: int = 1_000_000,
    ) -> None:
        if response_synthesizer is None:
            response_synthesizer = get_response_synthesizer(llm=Settings.llm, multimodal=True)
        if not getattr(response_synthesizer, "_multimodal", True):
            raise ValueError(
                f"the {type(response_synthesizer).__name__} is not multimodal and would leave every picture out; "
                "build it with get_response_synthesizer(multimodal=True)"
            )
        self._query_options = BlockOptions(
            video=video,
            max_image_pixels=max_image_pixels,
            max_image_bytes=max_image_bytes,
            media_policy=media_policy,
        )
        self._max_frames = max_frames
        self._max_query_images = max_query_images
        postprocessors = [] if node_postprocessors is None else list(node_postprocessors)
        if not any(isinstance(one, MediaGuard) for one in postprocessors):
            postprocessors.append(MediaGuard(video=video, max_frames=max_frames, media_policy=media_policy))
        super().__init__(retriever, response_synthesizer, postprocessors, callback_manager)

    @classmethod
    def from_args(  # type: ignore[override]
        cls,
        retriever: BaseRetriever,
        llm: LLM | None = None,
        response_synthesizer: BaseSynthesizer | None = None,
        node_postprocessors: list[BaseNodePostprocessor] | None = None,
        callback_manager: CallbackManager | None = None,
        response_mode: ResponseMode = ResponseMode.COMPACT,
        text_qa_template: BasePromptTemplate | None = None,
        refine_template: BasePromptTemplate | None = None,
        summary_template: BasePromptTemplate | None = None,
        simple_template: BasePromptTemplate | None = None,
        chat_content_qa_template: BasePromptTemplate | None = None,
        chat_content_refine_template: BasePromptTemplate | None = None,
        output_cls: type[BaseModel] | None = None,
        use_async: bool = False,
        streaming: bool = False,
        verbose: bool = False,
        multimodal: bool = True,
        *,
        media_policy: MediaPolicy | None = None,
        video: VideoForm = "frames",
        max_frames: int = 4,
        max_query_images: int = 8,
        max_image_pixels: int = 1_003_520,
        max_image_bytes: int = 1_000_000,
    ) -> MultiModalQueryEngine:
        """Returns an engine; the arguments are those of `RetrieverQueryEngine.from_args`, and those of the class.

        Raises:
            ValueError: `multimodal=False`; or the language model is no chat model.
        """
        if not multimodal:
            raise ValueError("multimodal=False leaves every picture out; use RetrieverQueryEngine for that")
        manager = Settings.callback_manager if callback_manager is None else callback_manager
        if response_synthesizer is None:
            response_synthesizer = get_response_synthesizer(
                llm=Settings.llm if llm is None else llm,
                text_qa_template=text_qa_template,
                refine_template=refine_template,
                summary_template=summary_template,
                simple_template=simple_template,
                chat_content_qa_template=chat_content_qa_template,
                chat_content_refine_template=chat_content_refine_template,
                response_mode=response_mode,
                output_cls=output_cls,
                use_async=use_async,
                streaming=streaming,
                verbose=verbose,
                multimodal=True,
            )
        return cls(
            retriever,
            response_synthesizer,
            node_postprocessors,
            manager,
            media_policy=media_policy,
            video=video,
            max_frames=max_frames,
            max_query_images=max_query_images,
            max_image_pixels=max_image_pixels,
            max_image_bytes=max_image_bytes,
        )

    def with_retriever(self, retriever: BaseRetriever) -> MultiModalQueryEngine:
        """Returns the same engine over another retriever."""
        engine = copy.copy(self)
        engine._retriever = retriever
        return engine

    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Returns the answer of the language model to a query over nodes.

        Raises:
            InputError: A picture or clip of the query is missing, refused, or cannot be read.
        """
        synthesizer = self._find_synthesizer(self._build_blocks(query_bundle))
        return synthesizer.synthesize(query_bundle, nodes, additional_source_nodes)

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Returns what `synthesize` does; pictures are opened beside the event loop."""
        blocks = await asyncio.to_thread(self._build_blocks, query_bundle)
        return await self._find_synthesizer(blocks).asynthesize(query_bundle, nodes, additional_source_nodes)

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        payload: dict[str, Any] = {EventPayload.QUERY_STR: query_bundle.query_str}
        with self.callback_manager.event(CBEventType.QUERY, payload=payload) as event:
            response = self.synthesize(query_bundle, self.retrieve(query_bundle))
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        payload: dict[str, Any] = {EventPayload.QUERY_STR: query_bundle.query_str}
        with self.callback_manager.event(CBEventType.QUERY, payload=payload) as event:
            response = await self.asynthesize(query_bundle, await self.aretrieve(query_bundle))
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    def _build_blocks(self, query: QueryBundle) -> list[ImageBlock | VideoBlock]:
        return build_query_blocks(
            query, self._query_options, max_images=self._max_query_images, max_frames=self._max_frames
        )

    def _find_synthesizer(self, blocks: Sequence[ImageBlock | VideoBlock]) -> BaseSynthesizer:
        """The synthesizer, or a copy whose prompts hold the pictures of a query: queries may run side by side."""
        if not blocks:
            return self._response_synthesizer
        synthesizer = copy.copy(self._response_synthesizer)
        prompts = synthesizer.get_prompts()
        synthesizer.update_prompts(
            {name: QueryMediaPrompt.wrap(prompt, blocks) for name, prompt in prompts.items() if ":" not in name}
        )
        return synthesizer
