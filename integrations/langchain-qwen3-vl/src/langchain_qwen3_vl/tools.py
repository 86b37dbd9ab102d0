"""A retriever as a tool of an agent: the model sees the images that are found, and searches with those it saw."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast, get_args
from urllib.parse import urlsplit

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import ToolMessage
from langchain_core.messages.content import ContentBlock, create_text_block, create_video_block
from langchain_core.prompts import BasePromptTemplate, PromptTemplate, format_document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import InjectedToolCallId, StructuredTool
from pydantic import BaseModel, Field, create_model

from langchain_qwen3_vl.contents import coerce_item
from langchain_qwen3_vl.documents import document_to_content_blocks
from langchain_qwen3_vl.query_images import build_query, find_known_items
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import draw_document, find_local_file, share_images

if TYPE_CHECKING:
    from langgraph.types import Command

__all__ = ["MediaForm", "VideoForm", "create_multimodal_retriever_tool", "find_kind", "images_are_delivered"]

MediaForm: TypeAlias = Literal["auto", "image_block", "none"]
VideoForm: TypeAlias = Literal["frames", "tool_message", "text"]
Kind: TypeAlias = Literal["text", "image", "page", "video"]

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

_MOST_FRAMES = 4
"""Images of one video: four moments show what moves, and leave room for the other hits."""

_IMAGES = ("image", "image_uri", "image_url")
_SCORES = ("relevance_score", "similarity_score")
_SOURCES = ("source", "image", "video", "image_uri", "video_uri", "image_url", "video_url")

_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=]*|[A-Za-z0-9+/]{2000,}={0,2}")
"""Base64 in a data URI, or alone: no language writes 2,000 letters and digits without a space or a full stop."""

_LEFT_OUT = "[data left out]"


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
        name: Name of the tool.
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
    search = _Search(
        retriever=retriever,
        name=name,
        media=media,
        model=model,
        with_artifact=response_format == "content_and_artifact",
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
    """The two functions of the tool, with its options; what is injected is left out of the schema for the model."""

    retriever: BaseRetriever
    name: str
    media: MediaForm
    model: BaseChatModel | None
    with_artifact: bool
    document_prompt: BasePromptTemplate[str]
    document_separator: str
    video: VideoForm
    max_images: int
    max_image_pixels: int
    max_image_bytes: int
    max_video_bytes: int
    max_text_characters: int
    media_policy: MediaPolicy | None
    media_key: str | None

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
        return self._answer(documents, messages, tool_call_id, with_media=self._shows_media())

    async def arun(
        self,
        query: str,
        query_image_id: str | None = None,
        messages: Any = None,
        tool_call_id: str | None = None,
        callbacks: Callbacks = None,
    ) -> Any:
        # In a thread: images are opened here.
        asked = await asyncio.to_thread(self._build_query, query, query_image_id, messages)
        documents = await self.retriever.ainvoke(asked, config={"callbacks": callbacks})
        with_media = self._shows_media()
        return await asyncio.to_thread(self._answer, documents, messages, tool_call_id, with_media=with_media)

    def _build_query(self, text: str, image_id: str | None, messages: Any) -> str:
        # Models that need not fill an argument in may fill it with nothing.
        named = image_id if image_id is not None and image_id.strip() else None
        known = {} if named is None else find_known_items(messages, self.name)
        query = build_query(text, named, known, media_policy=self.media_policy, media_key=self.media_key)
        # Retrievers are annotated to take texts; nothing on the way to the embeddings looks at the type.
        return cast("str", query)

    def _shows_media(self) -> bool:
        if self.media != "auto":
            return self.media == "image_block"
        profile: dict[str, Any] = getattr(self.model, "profile", None) or {}
        if profile.get("image_inputs") is False:
            return False
        return images_are_delivered.get() or profile.get("image_tool_message") is True

    def _answer(
        self, documents: Sequence[Document], messages: Any, tool_call_id: str | None, *, with_media: bool
    ) -> Any:
        """What the tool returns: texts and images, and the documents as artifact, which name files and hold no data."""
        content, kept = self._show_documents(documents, with_media=with_media)
        is_video = not isinstance(content, str) and any(block["type"] == "video" for block in content)
        packed: Any = content
        if is_video and tool_call_id is not None:
            # LangChain turns content with a video block into one JSON text; a finished message is left as it is.
            artifact = kept if self.with_artifact else None
            packed = ToolMessage(content=packed, name=self.name, tool_call_id=tool_call_id, artifact=artifact)
            if messages is not None:
                packed = _wrap_message(packed)
        return (packed, kept) if self.with_artifact else packed

    def _show_documents(
        self, documents: Sequence[Document], *, with_media: bool
    ) -> tuple[str | list[ContentBlock], list[Document]]:
        """The texts of documents, each with its images after it if `with_media`; and the documents as they are named.

        An image that cannot be read is said to be so, and its document has the reason as `media_error` in its metadata:
        it may name folders, which are none of the model's business.
        """
        kinds: list[Kind] = [find_kind(document, media_key=self.media_key) for document in documents]
        needs = [self._count_images(document, kind) for document, kind in zip(documents, kinds, strict=True)]
        shares = share_images(needs, self.max_images if with_media else 0)
        pieces: list[str | ContentBlock] = []
        kept: list[Document] = []
        for place, (document, kind, share) in enumerate(zip(documents, kinds, shares, strict=True)):
            settled = _settle_document(document)
            blocks: list[ContentBlock] = []
            note = ""
            if with_media and needs[place] > share == 0:
                note = f"It is not shown: an answer shows at most {self.max_images} images."
            if share > 0:
                try:
                    blocks = self._show_document(document, kind, share)
                    if len(blocks) > 1:
                        note = (
                            f"{len(blocks)} {'frames' if kind == 'video' else 'images'} of it follow, in their order."
                        )
                except (InputError, TypeError, ValueError) as error:
                    # The last two: metadata written by others, such as a page that is no number.
                    settled.metadata["media_error"] = str(error)
                    note = "It cannot be shown: the file cannot be read."
            pieces += [self._describe_document(settled, kind, place + 1, note), *blocks]
            kept.append(settled)
        return _join_pieces(pieces, self.document_separator), kept

    def _count_images(self, document: Document, kind: Kind) -> int:
        """What there is to show of a document; nothing is opened."""
        if kind == "text" or (kind == "video" and self.video == "text"):
            return 0
        if kind == "video":
            return _MOST_FRAMES
        listed = [document.metadata.get(name) for name in _IMAGES if self.media_key is None]
        listed.append(document.metadata.get(self.media_key or ""))
        return max([1, *(len(cast("list[object]", one)) for one in listed if isinstance(one, list))])

    def _show_document(self, document: Document, kind: Kind, share: int) -> list[ContentBlock]:
        if kind == "video" and self.video == "tool_message":
            video = self._read_video(document)
            if video is not None:
                return [video]
        blocks = document_to_content_blocks(
            document,
            max_pixels=self.max_image_pixels,
            max_bytes=self.max_image_bytes,
            max_frames=share,
            media_policy=self.media_policy,
            media_key=self.media_key,
            with_text=False,
        )
        return blocks[:share]

    def _read_video(self, document: Document) -> ContentBlock | None:
        """The whole file; `None` for one that is too large, and for what is no file of this machine."""
        item = coerce_item(document, media_key=self.media_key, media_policy=self.media_policy)
        source = item.get("video") if isinstance(item, Mapping) else None
        path = find_local_file(str(source)) if isinstance(source, (str, Path)) else None
        if path is None:
            return None
        # Decoding a frame first holds the file to the policy, and to being a video: no other file leaves this way.
        draw_document(
            document.page_content,
            document.metadata,
            policy=self.media_policy,
            media_key=self.media_key,
            max_frames=1,
        )
        try:
            with path.open("rb") as file:
                content = file.read(self.max_video_bytes + 1)
        except OSError as error:
            raise InputError(f"the video cannot be read: {error}") from error
        if len(content) > self.max_video_bytes:
            return None
        guessed = mimetypes.guess_type(path.name)[0]
        mime = guessed if guessed is not None and guessed.startswith("video/") else "video/mp4"
        return create_video_block(base64=base64.b64encode(content).decode("ascii"), mime_type=mime)

    def _describe_document(self, document: Document, kind: Kind, rank: int, note: str) -> str:
        """The line that names a document and, below it, its text as the prompt writes it."""
        facts = [f"id={document.id}", kind, _name_file(document.metadata), _name_place(document.metadata)]
        name = next((name for name in _SCORES if isinstance(document.metadata.get(name), float)), None)
        if name is not None:
            facts.append(f"{name.removesuffix('_score')} {document.metadata[name]:.3f}")
        text = format_document(document, self.document_prompt).strip()
        if len(text) > self.max_text_characters:
            text = f"{text[: self.max_text_characters]} […]"
        head = f"[{rank}] " + ", ".join(fact for fact in facts if fact)
        return "\n".join(line for line in (head, text, note) if line)


def find_kind(document: Document, *, media_key: str | None = None) -> Kind:
    """Returns what there is to see of a document; nothing is opened. One that makes no sense is its text."""
    told = document.metadata.get("media_type")
    if told in ("text", "image", "page", "video"):
        return told
    try:
        item = coerce_item(document, media_key=media_key)
    except InputError:
        return "text"
    if not isinstance(item, Mapping):
        return "text"
    return "video" if "video" in item else "image"


def _settle_document(document: Document) -> Document:
    """A copy that has an id, and names files instead of holding data."""
    metadata = {name: _leave_out_data(value) for name, value in document.metadata.items()}
    text = _DATA.sub(_LEFT_OUT, document.page_content)
    return document.model_copy(update={"id": _find_id(document), "page_content": text, "metadata": metadata})


def _leave_out_data(value: Any) -> Any:
    match value:
        case str():
            # Whole values only: a path or URL may be long, too.
            return _LEFT_OUT if _DATA.fullmatch(value) else value
        case bytes():
            return _LEFT_OUT
        case list():
            return [_leave_out_data(one) for one in cast("list[Any]", value)]
        case _:
            return value


def _find_id(document: Document) -> str:
    """The document's own, or one of what it holds: the same in every answer."""
    if document.id is not None:
        return document.id
    metadata = {name: value for name, value in document.metadata.items() if name not in _SCORES}
    told = json.dumps([document.page_content, metadata], sort_keys=True, default=str)
    return f"doc-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _name_file(metadata: Mapping[str, Any]) -> str:
    """The name without its folders, and of a URL without its query, which may hold a key."""
    source = next((metadata[name] for name in _SOURCES if isinstance(metadata.get(name), (str, Path))), None)
    if source is None or source == _LEFT_OUT:
        return ""
    named = urlsplit(source).path if isinstance(source, str) and "://" in source else str(source)
    return PurePosixPath(named.replace("\\", "/")).name


def _name_place(metadata: Mapping[str, Any]) -> str:
    if metadata.get("page") is not None:
        return f"page {metadata['page']}"
    start, end = metadata.get("start"), metadata.get("end")
    if isinstance(start, (int, float)) and isinstance(end, (int, float)):
        return f"seconds {start:g} to {end:g}"
    return ""


def _join_pieces(pieces: Sequence[str | ContentBlock], separator: str) -> str | list[ContentBlock]:
    """Texts that follow each other become one, and an answer without images a plain text."""
    blocks: list[ContentBlock] = []
    texts: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            texts.append(piece)
            continue
        if texts:
            blocks.append(create_text_block(separator.join(texts)))
            texts = []
        blocks.append(piece)
    rest = separator.join(texts)
    if not blocks:
        return rest
    return [*blocks, create_text_block(rest)] if texts else blocks


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
