"""What a model is told and shown of the documents that a tool found."""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from langchain_core.documents import Document
from langchain_core.messages.content import ContentBlock, create_text_block, create_video_block
from langchain_core.prompts import BasePromptTemplate, format_document

from langchain_qwen3_vl.contents import coerce_item
from langchain_qwen3_vl.documents import document_to_content_blocks
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.index import draw_document, find_local_file

__all__ = ["Answer", "AnswerOptions", "Kind", "VideoForm", "build_answer", "find_kind"]

VideoForm: TypeAlias = Literal["frames", "tool_message", "text"]
Kind: TypeAlias = Literal["text", "image", "page", "video"]

_MOST_FRAMES = 4
"""Of one video: four moments show what moves, and leave room for the other hits."""

_IMAGES = ("image", "image_uri", "image_url")
_SCORES = ("relevance_score", "similarity_score")
_SOURCES = ("source", "image", "video", "image_uri", "video_uri", "image_url", "video_url")

_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=]*|[A-Za-z0-9+/]{2000,}={0,2}")
"""Base64 in a data URI, or alone: no language writes 2,000 letters and digits without a space or a full stop."""

_LEFT_OUT = "[data left out]"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOptions:
    """How much is shown, and how; the names are those of `create_multimodal_retriever_tool`."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a tool answers.

    Attributes:
        content: Text, or blocks if there is anything to see.
        documents: Those of `content`, each with the id that it has there, and without data: files are named.
    """

    content: str | list[ContentBlock]
    documents: list[Document]

    @property
    def has_video(self) -> bool:
        """Whether a video is in it as a whole."""
        return not isinstance(self.content, str) and any(block["type"] == "video" for block in self.content)


def build_answer(documents: Sequence[Document], options: AnswerOptions, *, with_media: bool) -> Answer:
    """Returns the texts of documents and, with `with_media`, the images after the text that each belongs to.

    An image that cannot be read is said to be so, and its document has the reason as `media_error` in its metadata:
    it may name folders, which are none of the model's business.
    """
    kinds: list[Kind] = [find_kind(document, media_key=options.media_key) for document in documents]
    needs = [_count_images(document, kind, options) for document, kind in zip(documents, kinds, strict=True)]
    shares = _share_images(needs, options.max_images if with_media else 0)
    pieces: list[str | ContentBlock] = []
    kept: list[Document] = []
    for place, (document, kind, share) in enumerate(zip(documents, kinds, shares, strict=True)):
        settled = _settle_document(document)
        blocks: list[ContentBlock] = []
        note = ""
        if with_media and needs[place] > share == 0:
            note = f"It is not shown: an answer shows at most {options.max_images} images."
        if share > 0:
            try:
                blocks = _show_document(document, kind, share, options)
                if len(blocks) > 1:
                    note = f"{len(blocks)} {'frames' if kind == 'video' else 'images'} of it follow, in their order."
            except (InputError, TypeError, ValueError) as error:
                # The last two: metadata written by others, such as a page that is no number.
                settled.metadata["media_error"] = str(error)
                note = "It cannot be shown: the file cannot be read."
        pieces += [_describe_document(settled, kind, place + 1, note, options), *blocks]
        kept.append(settled)
    return Answer(content=_join_pieces(pieces, options.document_separator), documents=kept)


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


def _share_images(needs: Sequence[int], most: int) -> list[int]:
    """Images of each document: one of each, from the best on, and what is left by turns to those that have more."""
    shares = [0] * len(needs)
    left = most
    while left > 0 and shares != list(needs):
        for place, need in enumerate(needs):
            if shares[place] < need and left > 0:
                shares[place] += 1
                left -= 1
    return shares


def _count_images(document: Document, kind: Kind, options: AnswerOptions) -> int:
    """What there is to show of a document; nothing is opened."""
    if kind == "text" or (kind == "video" and options.video == "text"):
        return 0
    if kind == "video":
        return _MOST_FRAMES
    listed = [document.metadata.get(name) for name in _IMAGES if options.media_key is None]
    listed.append(document.metadata.get(options.media_key or ""))
    return max([1, *(len(cast("list[object]", one)) for one in listed if isinstance(one, list))])


def _show_document(document: Document, kind: Kind, share: int, options: AnswerOptions) -> list[ContentBlock]:
    if kind == "video" and options.video == "tool_message":
        video = _read_video(document, options)
        if video is not None:
            return [video]
    blocks = document_to_content_blocks(
        document,
        max_pixels=options.max_image_pixels,
        max_bytes=options.max_image_bytes,
        max_frames=share,
        media_policy=options.media_policy,
        media_key=options.media_key,
        with_text=False,
    )
    return blocks[:share]


def _read_video(document: Document, options: AnswerOptions) -> ContentBlock | None:
    """The whole file; `None` for one that is too large, and for what is no file of this machine."""
    item = coerce_item(document, media_key=options.media_key, media_policy=options.media_policy)
    source = item.get("video") if isinstance(item, Mapping) else None
    path = find_local_file(str(source)) if isinstance(source, (str, Path)) else None
    if path is None:
        return None
    # Decoding a frame first holds the file to the policy, and to being a video: no other file leaves this way.
    draw_document(
        document.page_content,
        document.metadata,
        policy=options.media_policy,
        media_key=options.media_key,
        max_frames=1,
    )
    try:
        with path.open("rb") as file:
            content = file.read(options.max_video_bytes + 1)
    except OSError as error:
        raise InputError(f"the video cannot be read: {error}") from error
    if len(content) > options.max_video_bytes:
        return None
    guessed = mimetypes.guess_type(path.name)[0]
    mime = guessed if guessed is not None and guessed.startswith("video/") else "video/mp4"
    return create_video_block(base64=base64.b64encode(content).decode("ascii"), mime_type=mime)


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


def _describe_document(document: Document, kind: Kind, rank: int, note: str, options: AnswerOptions) -> str:
    """The line that names a document and, below it, its text as the prompt writes it."""
    facts = [f"id={document.id}", kind, _name_file(document.metadata), _name_place(document.metadata)]
    name = next((name for name in _SCORES if isinstance(document.metadata.get(name), float)), None)
    if name is not None:
        facts.append(f"{name.removesuffix('_score')} {document.metadata[name]:.3f}")
    text = format_document(document, options.document_prompt).strip()
    if len(text) > options.max_text_characters:
        text = f"{text[: options.max_text_characters]} […]"
    head = f"[{rank}] " + ", ".join(fact for fact in facts if fact)
    return "\n".join(line for line in (head, text, note) if line)


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
