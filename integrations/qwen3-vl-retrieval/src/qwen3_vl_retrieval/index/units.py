"""What a file becomes: units, each small enough to be embedded and shown as one hit.

A picture is one unit, a PDF one per page, a clip one per window of time, a text one per chunk. Units hold places, not
pixels: `load_item` opens what a unit stands for when it is about to be embedded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from PIL import Image

from qwen3_vl_retrieval import media
from qwen3_vl_retrieval.errors import InputError, MediaError, quote
from qwen3_vl_retrieval.index.files import find_kind
from qwen3_vl_retrieval.index.scenes import find_scene_seconds, plan_windows
from qwen3_vl_retrieval.inputs import Item
from qwen3_vl_retrieval.media.policy import MediaPolicy, read_file, resolve_path

__all__ = ["MediaType", "ReadOcr", "Unit", "load_item", "read_units"]

MediaType: TypeAlias = Literal["text", "image", "page", "video", "mixed"]
"""What a unit is. `mixed` is an item of several parts that was given in memory; no file is one."""

ReadOcr: TypeAlias = Callable[[Image.Image], str]
"""Reads the words of a picture; `""` if there are none."""

_FEWEST_CHUNK_CHARACTERS = 500
_MOST_CHUNK_CHARACTERS = 1500
"""Characters of a chunk: a few paragraphs, far below the length of the models in any script."""

_CONVERSION_HINT = (
    "Save it as PDF, or convert it to Markdown with Docling (https://github.com/docling-project/docling): "
    "docling --to md FILE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A part of a file that is embedded, ranked and shown by itself.

    Attributes:
        source: The file.
        media_type: `"text"` (a chunk), `"image"`, `"page"` (of a PDF) or `"video"` (a window of a clip).
        page: Number of the page, from 1.
        start: First second of the window; `None` if the unit is the whole clip.
        end: Last second of the window; `None` if the unit is the whole clip.
        text: The chunk, or the text layer of the page; `None` if there is none.
        width: Of a picture, in pixels; `None` for anything else.
        height: Of a picture, in pixels; `None` for anything else.
    """

    source: Path
    media_type: MediaType
    page: int | None = None
    start: float | None = None
    end: float | None = None
    text: str | None = None
    width: int | None = None
    height: int | None = None


def read_units(
    path: Path,
    policy: MediaPolicy,
    *,
    window_seconds: float = 30.0,
    overlap_seconds: float = 5.0,
    cut_at_scenes: bool = False,
    ocr: ReadOcr | None = None,
) -> list[Unit]:
    """Returns the units of a file in reading order; an empty list if files with its suffix are skipped.

    Headers, pages and packets are read; pixels are decoded only for `ocr` and `cut_at_scenes`.

    Args:
        path: The file.
        policy: What may be opened, and how large it may be.
        window_seconds: Length of a window of a clip; a clip that is not longer is one unit.
        overlap_seconds: What a window shares with the one before, so that no moment is only seen cut in two.
        cut_at_scenes: Let windows end where the picture changes, too; then a short clip may be several units.
        ocr: Reads the words of pages without a text layer, and of pictures; `None` leaves them unread.

    Raises:
        ValueError: The windows would not advance.
        MediaPolicyError: The policy refuses the file.
        MediaError: The file is empty, damaged, or not what its suffix claims.
        InputError: The file is of a kind that has to be converted first.
    """
    if not 0 <= overlap_seconds < window_seconds:
        raise ValueError(
            f"overlap_seconds={overlap_seconds} must be at least 0 and below window_seconds={window_seconds}"
        )
    match find_kind(path):
        case "text":
            return _read_chunks(path, policy)
        case "image":
            width, height = media.measure_image(path, policy)
            text = None if ocr is None else _read_words(media.read_image(path, policy), ocr)
            return [Unit(source=path, media_type="image", text=text, width=width, height=height)]
        case "pdf":
            pages = range(1, media.count_pdf_pages(path, policy) + 1)
            return [_read_page(path, page, policy, ocr) for page in pages]
        case "video":
            return _read_windows(path, policy, window_seconds, overlap_seconds, cut_at_scenes=cut_at_scenes)
        case "office":
            raise InputError(f"{path.suffix.lower()} files are not read. {_CONVERSION_HINT}")
        case None:
            return []


def load_item(unit: Unit, policy: MediaPolicy, *, render_pages: bool = True) -> Item:
    """Returns what an embedder or reranker takes for `unit`: text, a rendered page, or where to find the pixels.

    Args:
        unit: What to load.
        policy: What may be opened of a page; other files are opened by the model, under its own policy.
        render_pages: Render a page now; otherwise it is opened, and `policy` goes along for whoever renders it.

    Raises:
        MediaPolicyError: The policy refuses the file of a page.
        MediaError: The page can no longer be read.
    """
    match unit.media_type:
        case "text":
            return unit.text if unit.text is not None else ""
        case "page":
            number = 1 if unit.page is None else unit.page
            if render_pages:
                return media.render_pdf_page(unit.source, number, policy)
            from qwen3_vl_retrieval.media.pdf import find_pdf_page

            return {"image": find_pdf_page(unit.source, number, policy)}
        case "image":
            return {"image": unit.source}
        case "video" if unit.start is None:
            return {"video": unit.source}
        case "video":
            return {"video": unit.source, "start": unit.start, "end": unit.end}
        case "mixed":
            raise ValueError(f"{quote(unit.source)} is a file, and no file is of the media type 'mixed'")


def _read_page(path: Path, page: int, policy: MediaPolicy, ocr: ReadOcr | None) -> Unit:
    try:
        text = media.read_pdf_text(path, page, policy).strip()
        if not text and ocr is not None:
            text = ocr(media.render_pdf_page(path, page, policy)).strip()
    except MediaError:
        # The page stays a unit of its own: rendering it reports what is wrong, and the other pages are kept.
        text = ""
    return Unit(source=path, media_type="page", page=page, text=text if text else None)


def _read_words(picture: Image.Image, ocr: ReadOcr) -> str | None:
    words = ocr(picture).strip()
    return words if words else None


def _read_chunks(path: Path, policy: MediaPolicy) -> list[Unit]:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    splitter = MarkdownSplitter if path.suffix.lower() == ".md" else TextSplitter
    chunks = splitter((_FEWEST_CHUNK_CHARACTERS, _MOST_CHUNK_CHARACTERS)).chunks(_read_text(path, policy))
    return [Unit(source=path, media_type="text", text=chunk) for chunk in chunks]


def _read_text(path: Path, policy: MediaPolicy) -> str:
    content = read_file(path, policy)
    # Without its mark, UTF-16 cannot be told from damage.
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise MediaError(f"the text is not UTF-8 (byte {error.start:,} is {content[error.start]:#04x})") from error
    if "\0" in text:
        raise MediaError("the file is binary, not text: it holds null characters")
    if not text.strip():
        raise MediaError("the text is empty")
    return text


def _read_windows(
    path: Path, policy: MediaPolicy, window_seconds: float, overlap_seconds: float, *, cut_at_scenes: bool
) -> list[Unit]:
    from qwen3_vl_retrieval.media.container import read_index

    resolved = resolve_path(path, policy)
    index = read_index(resolved, policy)
    windows = plan_windows(
        index.total / index.frame_rate,
        window_seconds=window_seconds,
        overlap_seconds=overlap_seconds,
        scene_seconds=find_scene_seconds(resolved, policy) if cut_at_scenes else (),
    )
    if len(windows) == 1:
        return [Unit(source=path, media_type="video")]
    return [Unit(source=path, media_type="video", start=start, end=end) for start, end in windows]
