"""Documents as frameworks keep them, a text and flat metadata: what models are given of one, and what it looks like.

LangChain and LlamaIndex agree on little else. The metadata travels through every store as plain scalars: `media_type`,
`image` or `video` (path or URI), `source`, `page`, `start`, `end`, `sha256`, `mime_type`, `width`, `height`.
Pixels stay in their files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from PIL import Image

from qwen3_vl_retrieval import media
from qwen3_vl_retrieval.documents.media_store import find_local_file
from qwen3_vl_retrieval.documents.previews import PagePart, View, read_frames, read_view, view_item, view_unit
from qwen3_vl_retrieval.documents.units import MediaType, Unit, load_item
from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.image_formats import guess_mime_type
from qwen3_vl_retrieval.items import Item, TextPart, VideoPart
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import decode_path, encode_path

__all__ = ["build_item", "describe_unit", "draw_document", "find_media_type"]

_IMAGE_KEYS = ("image", "image_uri", "image_url")
"""Names used by this project, NVIDIARerank, AlloyDB and OpenAI's blocks: others' documents are judged unchanged."""

_VIDEO_KEYS = ("video", "video_uri", "video_url")


def find_media_type(text: str, metadata: Mapping[str, Any], *, media_key: str | None = None) -> MediaType:
    """Returns what a document is: its `media_type`, or what its other metadata say; `"text"` if they say nothing.

    A document that names an image or video and no `media_type` is that and its text, `"mixed"`, if it has one. Its
    `source` only says where it comes from: the text of an `.svg`, or of a page about a `.jpg`, is a text. What has no
    text at all is the image or video that `source` names, because there is nothing else that it could be.

    Raises:
        InputError: The `media_type` is not one of this project's.
    """
    declared = metadata.get("media_type")
    if declared is not None:
        if declared not in get_args(MediaType):
            raise InputError(f"media_type={quote(declared)} is unknown; allowed are {', '.join(get_args(MediaType))}")
        return cast("MediaType", declared)
    image, video = _find_media(text, metadata, media_key)
    if image is None and video is None:
        return "text"
    if text.strip():
        return "mixed"
    return "image" if video is None else "video"


def build_item(
    text: str,
    metadata: Mapping[str, Any],
    *,
    policy: MediaPolicy | None = None,
    media_key: str | None = None,
    render_pages: bool = True,
) -> Item:
    """Returns what an embedder or reranker takes for a document.

    Of `"image"`, `"page"` and `"video"` that is the pixels: the text is a caption or text layer, and it is for language
    models and keyword indexes. Of `"mixed"` it is both, of `"text"` the text.

    Args:
        text: Text of the document.
        metadata: Metadata of the document; anything but the names above is left alone.
        policy: What may be opened of a page, which is rendered here; `None` is any local file. Other files are opened
            by the model, under its own policy.
        media_key: Name of a metadatum that holds the image or video, in place of `image` and `video`.
        render_pages: `False` leaves a page for `Qwen3VLEmbedder` and `Qwen3VLReranker` to render, under `policy` too:
            the reranker does so once, not for every query. The PDF is opened here all the same.

    Raises:
        InputError: An image or video is missing or of no known kind.
        MediaPolicyError: The policy refuses the PDF of a page.
        MediaError: The page cannot be read.
    """
    kind = find_media_type(text, metadata, media_key=media_key)
    if kind == "text":
        return text
    image, video = _find_media(text, metadata, media_key)
    if image is None and video is None:
        rules = MediaPolicy() if policy is None else policy
        address = _find_address(kind, metadata)
        if address is None:
            return load_item(_find_unit(kind, metadata), rules, render_pages=render_pages)
        if kind == "page":
            page = _read_page(metadata)
            if render_pages:
                return media.render_page(media.DocumentPage(address, page), rules)
            return {"image": media.find_page(address, page, rules)}
        image, video = (address, None) if kind == "image" else (None, address)
    item: dict[str, Any] = {}
    if video is not None:
        item["video"] = video
        item |= {name: float(metadata[name]) for name in ("start", "end") if metadata.get(name) is not None}
    if image is not None:
        item["image"] = image
    if kind == "mixed" and text:
        item["text"] = text
    return item


def describe_unit(
    unit: Unit, *, sha256: str | None = None, mime_type: str | None = None
) -> dict[str, str | int | float]:
    """Returns the metadata of a unit, without empty values; from those of a unit of a file `build_item` makes it again.

    Args:
        unit: The unit.
        sha256: Hash of its content, if that is known.
        mime_type: The type of its file; `None` is the one that its name says.
    """
    source = encode_path(unit.source) if unit.is_in_file else None
    values: dict[str, str | int | float | None] = {
        "media_type": unit.media_type,
        "source": source,
        "image": source if unit.media_type == "image" else None,
        "video": source if unit.media_type == "video" else None,
        "sha256": sha256,
        "mime_type": guess_mime_type(unit.source) if mime_type is None and unit.is_in_file else mime_type,
        "page": unit.page,
        "start": unit.start,
        "end": unit.end,
        "width": unit.width,
        "height": unit.height,
    }
    return {name: value for name, value in values.items() if value is not None}


def draw_document(
    text: str,
    metadata: Mapping[str, Any],
    *,
    policy: MediaPolicy | None = None,
    media_key: str | None = None,
    max_frames: int = 4,
) -> list[Image.Image]:
    """Returns what a document shows, as RGB images: the image, the rendered page, or frames of the video.

    Args:
        text: Text of the document.
        metadata: Metadata of the document.
        policy: What may be opened; `None` is any local file.
        media_key: As in `build_item`.
        max_frames: Frames of a video, from the middles of as many equal parts of its window.

    Raises:
        InputError: An image or video is missing, refused, or cannot be read.
    """
    rules = MediaPolicy() if policy is None else policy
    kind = find_media_type(text, metadata, media_key=media_key)
    if kind == "text":
        return []
    view = _view_document(kind, text, metadata, rules, media_key)
    if isinstance(view, TextPart):
        return []
    if isinstance(view, VideoPart):
        return read_frames(view, rules, shares=[(place + 0.5) / max_frames for place in range(max_frames)])
    return [read_view(view, rules)]


def _view_document(
    kind: MediaType, text: str, metadata: Mapping[str, Any], policy: MediaPolicy, media_key: str | None
) -> View:
    image, video = _find_media(text, metadata, media_key)
    if image is None and video is None:
        address = _find_address(kind, metadata)
        if address is None:
            return view_unit(_find_unit(kind, metadata))
        if kind == "page":
            return PagePart(source=address, page=_read_page(metadata))
    return view_item(build_item(text, metadata, policy=policy, media_key=media_key))


def _find_media(text: str, metadata: Mapping[str, Any], media_key: str | None) -> tuple[Any, Any]:
    """The image, or images, and the video that the metadata name; `None` for what they do not."""
    if media_key is not None:
        found = metadata.get(media_key)
        is_clip = found is not None and _guess_kind(found, metadata) == "video"
        return (None, found) if is_clip else (found, None)
    image = next((metadata[key] for key in _IMAGE_KEYS if metadata.get(key) is not None), None)
    video = next((metadata[key] for key in _VIDEO_KEYS if metadata.get(key) is not None), None)
    if image is None and video is None and metadata.get("media_type") is None and not text.strip():
        # Loaders of others name the file and nothing else. With a text, the file is where the text comes from.
        source = metadata.get("source")
        match _guess_kind(source, metadata):
            case "image":
                return source, None
            case "video":
                return None, source
            case _:
                return None, None
    return image, video


def _guess_kind(source: object, metadata: Mapping[str, Any]) -> str | None:
    """`"image"` or `"video"` by the MIME type, declared or guessed from a name; `None` for anything else."""
    first: object = source
    if isinstance(source, list) and source:
        first = cast("Sequence[object]", source)[0]
    declared = metadata.get("mime_type")
    name = str(first) if isinstance(first, (str, Path)) else ""
    mime = declared if isinstance(declared, str) else guess_mime_type(name)
    kind = None if mime is None else mime.partition("/")[0]
    return kind if kind in ("image", "video") else None


def _find_address(kind: MediaType, metadata: Mapping[str, Any]) -> str | None:
    """The URL that `source` is, if it is no local file."""
    source = metadata.get("source")
    if kind == "mixed" or not isinstance(source, str) or find_local_file(source) is not None:
        return None
    return source


def _read_page(metadata: Mapping[str, Any]) -> int:
    if metadata.get("page") is None:
        raise InputError("a document of media_type='page' has no 'page', the number from 1, in its metadata")
    return int(metadata["page"])


def _find_unit(kind: MediaType, metadata: Mapping[str, Any]) -> Unit:
    source = metadata.get("source")
    if not isinstance(source, (str, Path)) or kind == "mixed":
        raise InputError(
            f"a document of media_type={quote(kind)} names no image or video; put a path or URI into its metadata as "
            "'image' or 'video', or the file as 'source'"
        )
    start, end = (None if metadata.get(name) is None else float(metadata[name]) for name in ("start", "end"))
    return Unit(
        source=source if isinstance(source, Path) else decode_path(source),
        media_type=kind,
        page=_read_page(metadata) if kind == "page" else None,
        start=start,
        end=end,
    )
