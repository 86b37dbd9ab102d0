"""A query engine whose language model sees what was found, and what was asked about."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import Any, Self, TypedDict, Unpack

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage, ContentBlock, ImageBlock, MessageRole, TextBlock, VideoBlock
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
from pydantic import BaseModel, PrivateAttr

from llama_index.postprocessor.qwen3_vl_rerank.media_guard import MediaGuard
from llama_index.schema.qwen3_vl import MultiModalQueryBundle
from llama_index.schema.qwen3_vl.content_blocks import (
    BlockOptions,
    VideoForm,
    build_blocks,
    count_images,
)
from llama_index.schema.qwen3_vl.node_media import MediumKind, NodeMedium, find_path
from llama_index.schema.qwen3_vl.sources import coerce_image, coerce_video
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.index import share_images
from qwen3_vl_retrieval.options import split_options

__all__ = ["MultiModalQueryEngine", "QueryEngineOptions", "SynthesisOptions"]


_BEFORE = "The query comes with the following, which belongs to the query and is no context:"
_AFTER = "End of what the query comes with."


class QueryEngineOptions(TypedDict, total=False):
    """The options of `MultiModalQueryEngine`, which describes them."""

    media_policy: MediaPolicy | None
    video: VideoForm
    max_frames: int
    max_query_images: int
    max_image_pixels: int
    max_image_bytes: int


class SynthesisOptions(TypedDict, total=False):
    """The options of `RetrieverQueryEngine.from_args` that a synthesizer is built with."""

    response_mode: ResponseMode
    text_qa_template: BasePromptTemplate | None
    refine_template: BasePromptTemplate | None
    summary_template: BasePromptTemplate | None
    simple_template: BasePromptTemplate | None
    chat_content_qa_template: BasePromptTemplate | None
    chat_content_refine_template: BasePromptTemplate | None
    output_cls: type[BaseModel] | None
    use_async: bool
    streaming: bool
    verbose: bool


class _EngineOptions(QueryEngineOptions, SynthesisOptions, total=False):
    """The options of `MultiModalQueryEngine.from_args`."""


class _QueryMediaPrompt(BasePromptTemplate):
    """Any prompt, with images and videos at the beginning of its last user message.

    It wraps the prompts of a synthesizer for one query, whatever their words and variables are, so that every call of
    the language model, refinements included, sees what the query asks about, and room for it is counted.
    """

    _prompt: BasePromptTemplate = PrivateAttr()
    _blocks: tuple[ImageBlock | VideoBlock, ...] = PrivateAttr(default=())

    @classmethod
    def wrap(cls, prompt: BasePromptTemplate, blocks: Sequence[ImageBlock | VideoBlock]) -> Self:
        """Returns a prompt that is `prompt` with `blocks`; `prompt` is left alone."""
        wrapped = cls(
            metadata=prompt.metadata, template_vars=prompt.template_vars, kwargs={}, output_parser=prompt.output_parser
        )
        # Past validation: values of variables need not be texts here.
        wrapped.kwargs = prompt.kwargs
        wrapped._prompt = prompt
        wrapped._blocks = tuple(blocks)
        return wrapped

    def partial_format(self, **kwargs: Any) -> _QueryMediaPrompt:
        """Returns the prompt with some of its variables filled in."""
        return type(self).wrap(self._prompt.partial_format(**kwargs), self._blocks)

    def format(self, llm: BaseLLM | None = None, **kwargs: Any) -> str:
        """Returns the words of the prompt, for models that take no images."""
        return self._prompt.format(llm=llm, **kwargs)

    def format_messages(self, llm: BaseLLM | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Returns the messages of the prompt, the last of the user with the images and videos before its words."""
        messages = list(self._prompt.format_messages(llm=llm, **kwargs))
        asked = [place for place, message in enumerate(messages) if message.role == MessageRole.USER]
        place = asked[-1] if asked else len(messages) - 1
        message = messages[place]
        blocks: list[ContentBlock] = [TextBlock(text=_BEFORE), *self._blocks, TextBlock(text=_AFTER), *message.blocks]
        messages[place] = message.model_copy(update={"blocks": blocks})
        return messages

    def get_template(self, llm: BaseLLM | None = None) -> str:
        """Returns the template of the prompt itself."""
        return self._prompt.get_template(llm=llm)


class MultiModalQueryEngine(RetrieverQueryEngine):
    """A `RetrieverQueryEngine` that hands the query's own images and videos to the language model.

    LlamaIndex gives the model the words of a query alone: of "which of these is the same, in blue?" it sees what was
    found, and never what was asked about. Here it sees both, in every response mode, with and without streaming.

    ```python
    engine = MultiModalQueryEngine.from_args(retriever, llm=llm, node_postprocessors=[Qwen3VLRerank(top_n=4)])
    response = engine.query(MultiModalQueryBundle("Is this one still under warranty?", images=["mug.jpg"]))
    ```

    Unless there is one, a `MediaGuard` is added at the end of the postprocessors, so that a file that was moved does
    not cost the answer, and pages and videos are seen.

    Args:
        retriever: Any; to search with the image as well, one that takes it, such as `Qwen3VLRetriever`.
        response_synthesizer: One that was built with `multimodal=True`; `None` builds one of `Settings.llm`.
        node_postprocessors: As in LlamaIndex.
        callback_manager: As in LlamaIndex.
        media_policy: What may be opened of a query, and of the nodes; `None` is any local file, and no URL.
        video: Whether videos of queries and nodes are `"frames"`, a `"block"` for models that take videos, or `"none"`.
        max_frames: Most frames of a video.
        max_query_images: Most images of a query, frames included.
        max_image_pixels: Most pixels of an image of a query; larger ones are made smaller.
        max_image_bytes: Most bytes of an image of a query, as JPEG.

    Raises:
        ValueError: The synthesizer is not multimodal.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        response_synthesizer: BaseSynthesizer | None = None,
        node_postprocessors: list[BaseNodePostprocessor] | None = None,
        callback_manager: CallbackManager | None = None,
        **options: Unpack[QueryEngineOptions],
    ) -> None:
        if response_synthesizer is None:
            response_synthesizer = get_response_synthesizer(llm=Settings.llm, multimodal=True)
        if not getattr(response_synthesizer, "_multimodal", True):
            raise ValueError(
                f"the {type(response_synthesizer).__name__} is not multimodal and would leave every image out; "
                "build it with get_response_synthesizer(multimodal=True)"
            )
        unknown = [name for name in options if name not in QueryEngineOptions.__annotations__]
        if unknown:
            raise TypeError(f"got an unexpected keyword argument {unknown[0]!r}")
        video, policy = options.get("video", "frames"), options.get("media_policy")
        self._query_options = BlockOptions(
            video=video,
            max_image_pixels=options.get("max_image_pixels", 1_003_520),
            max_image_bytes=options.get("max_image_bytes", 1_000_000),
            media_policy=policy,
        )
        self._max_frames = options.get("max_frames", 4)
        self._max_query_images = options.get("max_query_images", 8)
        postprocessors = [] if node_postprocessors is None else list(node_postprocessors)
        if not any(isinstance(one, MediaGuard) for one in postprocessors):
            postprocessors.append(MediaGuard(video=video, max_frames=self._max_frames, media_policy=policy))
        super().__init__(retriever, response_synthesizer, postprocessors, callback_manager)

    @classmethod
    def from_args(  # type: ignore[override]
        cls,
        retriever: BaseRetriever,
        llm: LLM | None = None,
        response_synthesizer: BaseSynthesizer | None = None,
        node_postprocessors: list[BaseNodePostprocessor] | None = None,
        callback_manager: CallbackManager | None = None,
        *,
        multimodal: bool = True,
        **options: Unpack[_EngineOptions],
    ) -> MultiModalQueryEngine:
        """Returns an engine; the arguments are those of `RetrieverQueryEngine.from_args`, and those of the class.

        Raises:
            ValueError: `multimodal=False`; or the language model is no chat model.
        """
        if not multimodal:
            raise ValueError("multimodal=False leaves every image out; use RetrieverQueryEngine for that")
        manager = Settings.callback_manager if callback_manager is None else callback_manager
        own, synthesis = split_options(options, QueryEngineOptions, SynthesisOptions)
        if response_synthesizer is None:
            model = Settings.llm if llm is None else llm
            response_synthesizer = get_response_synthesizer(llm=model, multimodal=True, **synthesis)
        return cls(retriever, response_synthesizer, node_postprocessors, manager, **own)

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
            InputError: An image or video of the query is missing, refused, or cannot be read.
        """
        synthesizer = self._find_synthesizer(self._build_blocks(query_bundle))
        return synthesizer.synthesize(query_bundle, nodes, additional_source_nodes)

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Returns what `synthesize` does; images are opened beside the event loop."""
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
        """What a language model is shown of a query besides its words: `image_path`, `images` and `videos`."""
        try:
            media = _list_query_media(query)
            needs = [count_images(medium, self._query_options, max_frames=self._max_frames) for medium in media]
            shares = share_images(needs, self._max_query_images)
            return [
                block
                for medium, share in zip(media, shares, strict=True)
                for block in build_blocks(medium, self._query_options, max_images=share)
            ]
        except InputError as error:
            raise error.at(None, role="query") from error

    def _find_synthesizer(self, blocks: Sequence[ImageBlock | VideoBlock]) -> BaseSynthesizer:
        """The synthesizer, or a copy whose prompts hold the images of a query: queries may run side by side."""
        if not blocks:
            return self._response_synthesizer
        synthesizer = copy.copy(self._response_synthesizer)
        prompts = synthesizer.get_prompts()
        synthesizer.update_prompts(
            {name: _QueryMediaPrompt.wrap(prompt, blocks) for name, prompt in prompts.items() if ":" not in name}
        )
        return synthesizer


def _list_query_media(query: QueryBundle) -> list[NodeMedium]:
    images: list[Any] = [] if query.image_path is None else [query.image_path]
    videos: list[Any] = []
    if isinstance(query, MultiModalQueryBundle):
        images += [] if query.images is None else query.images
        videos += [] if query.videos is None else query.videos
    media = [_build_medium("image", coerce_image(image)) for image in images]
    return media + [_build_medium("video", coerce_video(video)) for video in videos]


def _build_medium(kind: MediumKind, source: Any) -> NodeMedium:
    return NodeMedium(kind=kind, metadata={"media_type": kind, kind: source}, path=find_path(source))
