"""A retriever as a tool of an agent: the model sees what is found, and searches with what the user attached."""

# Without `from __future__ import annotations`: LlamaIndex finds the context of an agent by the type of the parameter.

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from llama_index.core.async_utils import asyncio_run  # pyright: ignore[reportUnknownVariableType] - not typed
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ChatMessage, ContentBlock, ImageBlock, MessageRole
from llama_index.core.memory import BaseMemory
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import QueryBundle
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from PIL import Image
from pydantic import BaseModel, Field

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.schema.qwen3_vl.content_blocks import BlockOptions, VideoForm
from llama_index.schema.qwen3_vl.node_media import NodeMedium, draw_medium
from llama_index.schema.qwen3_vl.sources import decode_base64
from llama_index.tools.qwen3_vl.answers import AnswerOptions, build_answer
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import LEAST_IMAGE_BYTES

__all__ = ["multimodal_retriever_tool"]

_LEAST = {
    "max_images": 0,
    "max_frames": 1,
    "max_image_pixels": 1,
    "max_image_bytes": LEAST_IMAGE_BYTES,
    "max_video_bytes": 0,
    "max_text_characters": 0,
}


class _SearchArguments(BaseModel):
    """What the model fills in."""

    query: str = Field(description="What to look for, in words. May be empty if use_attached_image is true.")
    use_attached_image: bool = Field(
        default=False,
        description="Whether to search with the image that the user attached, beside the words or alone.",
    )


def multimodal_retriever_tool(
    retriever: BaseRetriever,
    *,
    name: str,
    description: str,
    reranker: BaseNodePostprocessor | None = None,
    max_images: int = 4,
    max_image_pixels: int = 1_003_520,
    max_image_bytes: int = 1_000_000,
    video: VideoForm = "frames",
    max_frames: int = 4,
    max_video_bytes: int = 10_000_000,
    max_text_characters: int = 8_000,
    media_policy: MediaPolicy | None = None,
    return_direct: bool = False,
) -> FunctionTool:
    """Returns a tool that searches with a retriever, and shows what it finds.

    What the model gets is, for each node, a text block (rank, id, kind, file name, page or seconds, score, and the
    node's text or caption) and, after it, image blocks of its image, its rendered page or frames of its video.

    The model says what it looks for in words, as they are (LlamaIndex's `RetrieverTool` wraps them), and whether to
    search with what the user attached: the images of the latest message of the user that has some. It can name no
    file and no URL.

    ```python
    tool = multimodal_retriever_tool(
        retriever, reranker=Qwen3VLRerank(top_n=4), name="search_manuals", description="Searches the manuals."
    )
    agent = FunctionAgent(tools=[tool], llm=llm)
    question = [TextBlock(text="Which part is this?"), ImageBlock(path="photo.jpg")]
    answer = await agent.run(ChatMessage(role="user", blocks=question))
    ```

    Models of `OpenAIResponses`, `Anthropic`, `GoogleGenAI` and `Ollama` see images of tools; LlamaIndex's `OpenAI`
    (chat completions) leaves them out.

    Args:
        retriever: Any; for attached images, one that takes `MultiModalQueryBundle`, such as `Qwen3VLRetriever`.
        name: Name of the tool.
        description: When to use it, for the model.
        reranker: Orders and cuts what was found, such as `Qwen3VLRerank`; any postprocessor.
        max_images: Most images of an answer, frames included. The best nodes come first.
        max_image_pixels: Most pixels of an image; larger ones are made smaller.
        max_image_bytes: Most bytes of an image, as JPEG.
        video: `"frames"` shows moments of a video, `"block"` the video itself, which few models take (`GoogleGenAI`),
            `"none"` nothing. Windows of a video, and videos above `max_video_bytes`, are shown as frames.
        max_frames: Most frames of a video.
        max_video_bytes: Most bytes of a video in a block.
        max_text_characters: Most characters of a node's text.
        media_policy: What may be opened of nodes and of attached images; `None` is any local file, and no URL.
        return_direct: Whether the agent ends with what the tool says.

    Raises:
        ValueError: The form is unknown, or a limit below its least value.
    """
    limits = (max_images, max_frames, max_image_pixels, max_image_bytes, max_video_bytes, max_text_characters)
    _check_options(video, dict(zip(_LEAST, limits, strict=True)))
    shown = BlockOptions(
        video=video,
        max_image_pixels=max_image_pixels,
        max_image_bytes=max_image_bytes,
        max_video_bytes=max_video_bytes,
        media_policy=media_policy,
    )
    options = AnswerOptions(
        blocks=shown, max_images=max_images, max_frames=max_frames, max_text_characters=max_text_characters
    )
    search = _Search(retriever=retriever, reranker=reranker, options=options, media_policy=media_policy)
    return FunctionTool.from_defaults(
        fn=search.run,
        async_fn=search.arun,
        name=name,
        description=description,
        fn_schema=_SearchArguments,
        return_direct=return_direct,
        # For calls outside of an agent, which has no context to give.
        partial_params={"ctx": None},
    )


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The two functions of the tool; the context is left out of the schema that the model sees."""

    retriever: BaseRetriever
    reranker: BaseNodePostprocessor | None
    options: AnswerOptions
    media_policy: MediaPolicy | None

    def run(self, ctx: Context, query: str = "", use_attached_image: bool = False) -> list[ContentBlock]:
        attached: list[ImageBlock] = asyncio_run(_list_attached_images(ctx)) if use_attached_image else []
        asked = self._build_query(query, attached, use_attached_image=use_attached_image)
        nodes = self.retriever.retrieve(asked)
        if self.reranker is not None:
            nodes = self.reranker.postprocess_nodes(nodes, query_bundle=asked)
        return build_answer(nodes, self.options)

    async def arun(self, ctx: Context, query: str = "", use_attached_image: bool = False) -> list[ContentBlock]:
        attached = await _list_attached_images(ctx) if use_attached_image else []
        if attached:
            # In a thread: the images are opened here.
            asked = await asyncio.to_thread(self._build_query, query, attached, use_attached_image=True)
        else:
            asked = self._build_query(query, attached, use_attached_image=use_attached_image)
        nodes = await self.retriever.aretrieve(asked)
        if self.reranker is not None:
            nodes = await self.reranker.apostprocess_nodes(nodes, query_bundle=asked)
        return await asyncio.to_thread(build_answer, nodes, self.options)

    def _build_query(self, query: str, attached: list[ImageBlock], *, use_attached_image: bool) -> QueryBundle:
        """Images are opened here, under the policy of the tool: the retriever gets pixels.

        Raises:
            InputError: There is nothing to search with, or it cannot be opened; the message is for the model.
        """
        if use_attached_image and not attached:
            raise InputError("the user attached no image; search with words alone")
        if not attached:
            if not query.strip():
                raise InputError("the query is empty; say in words what to look for")
            return QueryBundle(query_str=query)
        images = _open_attached_images(attached, self.media_policy)
        return MultiModalQueryBundle(query_str=query, images=list(images))


def _check_options(video: str, limits: Mapping[str, Any]) -> None:
    if video not in get_args(VideoForm):
        raise ValueError(f"video={quote(video)} is unknown; allowed are {', '.join(get_args(VideoForm))}")
    for name, value in limits.items():
        if value < _LEAST[name]:
            raise ValueError(f"{name}={value} must be at least {_LEAST[name]}")


async def _list_attached_images(ctx: Context[Any] | None) -> list[ImageBlock]:
    """Returns the images of the latest message of the user that has some; nothing outside of an agent."""
    if ctx is None:
        return []
    memory = await ctx.store.get("memory", default=None)
    if not isinstance(memory, BaseMemory):
        return []
    return _find_latest(await memory.aget_all())


def _open_attached_images(blocks: Sequence[ImageBlock], media_policy: MediaPolicy | None) -> list[Image.Image]:
    """Returns the images of blocks, opened under the policy.

    Raises:
        InputError: One of them cannot be opened; the message is written for the model and names no file.
    """
    images: list[Image.Image] = []
    for block in blocks:
        try:
            source = _find_source(block, media_policy)
            medium = NodeMedium(kind="image", metadata={"media_type": "image", "image": source}, path=None)
            images += draw_medium(medium, media_policy=media_policy)
        except InputError as error:
            # The reason may name folders of this machine.
            raise InputError("the attached image cannot be opened; search with words alone") from error
    return images


def _find_latest(messages: Sequence[ChatMessage]) -> list[ImageBlock]:
    for message in reversed(messages):
        if message.role == MessageRole.USER:
            images = [block for block in message.blocks if isinstance(block, ImageBlock)]
            if images:
                return images
    return []


def _find_source(block: ImageBlock, media_policy: MediaPolicy | None) -> bytes | str | Path:
    """Data, the file that the program named, or a URL that is data or may be opened."""
    if isinstance(block.image, bytes):
        return decode_base64(block.image, "attached image", media_policy)
    if block.image is not None:
        block.image.seek(0)
        return bytes(block.image.read())
    if block.path is not None:
        return block.path
    url = "" if block.url is None else str(block.url)
    if url.partition(":")[0].lower() in ("data", "http", "https"):
        return url
    raise InputError("the attached image is neither data, nor a file, nor a URL of http or https")
