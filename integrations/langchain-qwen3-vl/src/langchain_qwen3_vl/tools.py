"""A retriever as a tool of an agent: the model sees the images that are found, and searches with those it saw."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast, get_args

from langchain_core.callbacks import Callbacks
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import ToolMessage
from langchain_core.prompts import BasePromptTemplate, PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import InjectedToolCallId, StructuredTool
from pydantic import BaseModel, Field, create_model

from langchain_qwen3_vl.query_images import build_query, find_known_items
from langchain_qwen3_vl.tool_contents import Answer, AnswerOptions, VideoForm, build_answer
from qwen3_vl_retrieval import MediaPolicy
from qwen3_vl_retrieval.errors import quote

if TYPE_CHECKING:
    from langgraph.types import Command

__all__ = ["MediaForm", "create_multimodal_retriever_tool", "images_are_delivered"]

MediaForm: TypeAlias = Literal["auto", "image_block", "none"]

images_are_delivered: ContextVar[bool] = ContextVar("images_are_delivered", default=False)
"""Whether a middleware is around that brings images of tools to the model, whatever the model takes from tools."""

_QUERY = "What to look for, in words. May be empty if query_image_id is given."

_QUERY_IMAGE_ID = (
    "Optional. Id of an image, page or video to search with, alone or beside the words: the id of an earlier result of "
    "this tool, or attached-1, attached-2, … for the images that the user attached, in their order. Only ids, never "
    "file names or URLs."
)

_LEAST = {
    "max_images": 0,
    "max_image_pixels": 1,
    "max_image_bytes": 1_024,
    "max_video_bytes": 0,
    "max_text_characters": 0,
}


def create_multimodal_retriever_tool(
    retriever: BaseRetriever,
    name: str,
    description: str,
    *,
    document_prompt: BasePromptTemplate[str] | None = None,
    document_separator: str = "\n\n",
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact",
    media: MediaForm = "auto",
    video: VideoForm = "frames",
    max_images: int = 4,
    max_image_pixels: int = 1_003_520,
    max_image_bytes: int = 1_000_000,
    max_video_bytes: int = 10_000_000,
    max_text_characters: int = 8_000,
    media_policy: MediaPolicy | None = None,
    media_key: str | None = None,
    model: BaseChatModel | None = None,
) -> StructuredTool:
    """Returns a tool that searches with a retriever, and shows what it finds.

    What the model gets is, for each document, a text (rank, id, kind, file name, page or seconds, score, and the
    document's own text) and, after it, its image, its rendered page or frames of its video. The artifact of the
    message is the documents, for the program around the agent; they name files and hold no data.

    The model says what it looks for in words, and may name an image to search with by `query_image_id`: an id that
    an earlier message of this tool has, or `attached-1`, `attached-2`, … for images in user messages. Nothing else
    is opened for it: a path or URL in its place is answered as an unknown id is, with the ids that are known.

    ```python
    tool = create_multimodal_retriever_tool(retriever, "search_manuals", "Searches the manuals.", model=model)
    agent = create_agent(model, [tool], middleware=[MultimodalToolImagesMiddleware()])
    ```

    Args:
        retriever: Any; with `query_image_id`, one that takes dicts as queries, such as `Qwen3VLRetriever`.
        name: Of the tool.
        description: When to use it, for the model.
        document_prompt: How the text of a document is written, below the line that names it; `None` is its
            `page_content`.
        document_separator: Between texts that no image separates.
        response_format: `"content"` leaves the artifact out. Results cannot be searched with then.
        media: `"image_block"` shows images; most APIs refuse them in tool messages. `"none"` is text. `"auto"` shows
            them if the profile of `model` says `image_tool_message`, or if the agent has the
            `MultimodalToolImagesMiddleware`, which brings them to every model that takes images; without the
            middleware, a model that is not given or says nothing gets text.
        video: `"frames"` shows up to four images of a video. `"tool_message"` shows the file itself in a video block,
            which only some APIs take; files above `max_video_bytes`, and URLs, are shown as frames. The tool must then
            be called with a whole tool call, as agents do. `"text"` shows nothing of videos.
        max_images: Most images of an answer, frames included. The best documents come first.
        max_image_pixels: Most pixels of an image; larger ones are made smaller.
        max_image_bytes: Most bytes of an image, as JPEG.
        max_video_bytes: Most bytes of a file in a video block.
        max_text_characters: Most characters of a document's text.
        media_policy: What may be opened of documents and of attached images; `None` is any local file that a
            document names, and no URL.
        media_key: Name of a metadatum that holds the image or video, in place of `image` and `video`.
        model: The chat model that the tool is for.

    Raises:
        ValueError: A form is unknown, or a limit below its least value.
        ImportError: The extra `agents` is not installed.
    """
    limits = (max_images, max_image_pixels, max_image_bytes, max_video_bytes, max_text_characters)
    _check_options(media, video, dict(zip(_LEAST, limits, strict=True)))
    options = AnswerOptions(
        document_prompt=PromptTemplate.from_template("{page_content}") if document_prompt is None else document_prompt,
        document_separator=document_separator,
        video=video,
        max_images=max_images,
        max_image_pixels=max_image_pixels,
        max_image_bytes=max_image_bytes,
        max_video_bytes=max_video_bytes,
        max_text_characters=max_text_characters,
        media_policy=media_policy,
        media_key=media_key,
    )
    with_artifact = response_format == "content_and_artifact"
    search = _Search(
        retriever=retriever, name=name, options=options, media=media, model=model, with_artifact=with_artifact
    )
    return StructuredTool(
        name=name,
        description=description,
        func=search.run,
        coroutine=search.arun,
        args_schema=_build_schema(with_call_id=video == "tool_message"),
        response_format=response_format,
        # Only what is written for the model is raised as a ToolException.
        handle_tool_error=True,
    )


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The two functions of the tool; what is injected is left out of the schema that the model sees."""

    retriever: BaseRetriever
    name: str
    options: AnswerOptions
    media: MediaForm
    model: BaseChatModel | None
    with_artifact: bool

    def run(
        self,
        query: str,
        query_image_id: str | None = None,
        messages: Any = None,
        tool_call_id: str | None = None,
        callbacks: Callbacks = None,
    ) -> Any:
        asked = self._build_query(query, query_image_id, messages)
        documents = self.retriever.invoke(asked, config={"callbacks": callbacks})
        answer = build_answer(documents, self.options, with_media=self._shows_media())
        return self._pack_answer(answer, messages, tool_call_id)

    async def arun(
        self,
        query: str,
        query_image_id: str | None = None,
        messages: Any = None,
        tool_call_id: str | None = None,
        callbacks: Callbacks = None,
    ) -> Any:
        if query_image_id is None:
            asked = self._build_query(query, None, messages)
        else:
            # In a thread: the image is opened here.
            asked = await asyncio.to_thread(self._build_query, query, query_image_id, messages)
        documents = await self.retriever.ainvoke(asked, config={"callbacks": callbacks})
        answer = await asyncio.to_thread(build_answer, documents, self.options, with_media=self._shows_media())
        return self._pack_answer(answer, messages, tool_call_id)

    def _build_query(self, text: str, image_id: str | None, messages: Any) -> str:
        # Models that need not fill an argument in may fill it with nothing.
        named = image_id if image_id is not None and image_id.strip() else None
        known = {} if named is None else find_known_items(messages, self.name)
        query = build_query(
            text, named, known, media_policy=self.options.media_policy, media_key=self.options.media_key
        )
        # Retrievers are annotated to take texts; nothing on the way to the embeddings looks at the type.
        return cast("str", query)

    def _shows_media(self) -> bool:
        if self.media != "auto":
            return self.media == "image_block"
        profile: dict[str, Any] = getattr(self.model, "profile", None) or {}
        if profile.get("image_inputs") is False:
            return False
        return images_are_delivered.get() or profile.get("image_tool_message") is True

    def _pack_answer(self, answer: Answer, messages: Any, tool_call_id: str | None) -> Any:
        content: Any = answer.content
        if answer.has_video and tool_call_id is not None:
            # LangChain turns content with a video block into one JSON text; a finished message is left as it is.
            artifact = answer.documents if self.with_artifact else None
            content = ToolMessage(content=content, name=self.name, tool_call_id=tool_call_id, artifact=artifact)
            if messages is not None:
                content = _wrap_message(content)
        return (content, answer.documents) if self.with_artifact else content


def _wrap_message(message: ToolMessage) -> Command[Any]:
    """The message as a change of the agent's state: LangGraph 1.2 rewrites the content of any other."""
    from langgraph.types import Command

    return Command(update={"messages": [message]})


def _build_schema(*, with_call_id: bool) -> type[BaseModel]:
    try:
        from langchain.tools import InjectedState
    except ImportError as error:
        raise ImportError(
            "create_multimodal_retriever_tool reads the conversation of the agent, for which langchain is needed; "
            'install it with `pip install "langchain-qwen3-vl[agents]"`'
        ) from error

    fields: dict[str, Any] = {
        "query": (str, Field(description=_QUERY)),
        "query_image_id": (str | None, Field(default=None, description=_QUERY_IMAGE_ID)),
        # Any: validation would copy the whole conversation.
        "messages": (Annotated[Any, InjectedState("messages")], Field(default=None)),
    }
    if with_call_id:
        fields["tool_call_id"] = (Annotated[str, InjectedToolCallId], Field())
    return create_model("MultimodalRetrieverInput", **fields)


def _check_options(media: str, video: str, limits: dict[str, int]) -> None:
    for name, value, allowed in (("media", media, get_args(MediaForm)), ("video", video, get_args(VideoForm))):
        if value not in allowed:
            raise ValueError(f"{name}={quote(value)} is unknown; allowed are {', '.join(allowed)}")
    for name, value in limits.items():
        if value < _LEAST[name]:
            raise ValueError(f"{name}={value} must be at least {_LEAST[name]}")
