"""What a file becomes: units, each small enough to be embedded and shown as one hit.

An image is one unit, a PDF or TIFF one per page, a video one per window of time, a text one per chunk. Units hold
places, not pixels: `load_item` opens what a unit stands for when it is about to be embedded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from PIL import Image

from qwen3_vl_retrieval import media
from qwen3_vl_retrieval.documents.chunks import split_text
from qwen3_vl_retrieval.documents.encodings import decode_text
from qwen3_vl_retrieval.documents.files import find_kind
from qwen3_vl_retrieval.documents.speech import TranscribeSpeech, read_window_speech
from qwen3_vl_retrieval.documents.windows import cut_windows
from qwen3_vl_retrieval.errors import InputError, MediaError, quote
from qwen3_vl_retrieval.items import ImageReading, Item
from qwen3_vl_retrieval.media.policy import MediaPolicy, read_file

__all__ = ["MOST_COSTLY_PAGES", "MediaType", "ReadOcr", "Unit", "load_item", "read_units"]

MediaType: TypeAlias = Literal["text", "image", "page", "video", "mixed"]
"""What a unit is. `mixed` is an item of several parts that was given in memory; no file is one."""

ReadOcr: TypeAlias = Callable[[Image.Image], str]
"""Reads the words of an image; `""` if there are none."""

MOST_COSTLY_PAGES = 3
"""Pages of one file that may exceed the limits of time and memory before the rest of the file is given up."""

_NO_FILE = Path()

_MARKDOWN_SUFFIXES = (".md", ".markdown", ".mdx")

_CONVERSION_HINT = (
    "Save it as PDF, or convert it to Markdown with Docling (https://github.com/docling-project/docling): "
    "docling --to md FILE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A part of a file that is embedded, ranked and shown by itself.

    Attributes:
        source: The file; `Path()` for a unit that is in none, see `is_in_file`.
        media_type: `"text"` (a chunk), `"image"`, `"page"` (of a PDF, or of a TIFF of several), `"video"` (a window of
            a video) or, in no file, `"mixed"`.
        page: Number of the page, from 1.
        start: First second of the window; `None` if the unit is the whole video.
        end: Last second of the window; `None` if the unit is the whole video.
        text: The chunk, the text layer of the page, or what is said in the window; `None` if there is none.
        width: Width of an image in pixels; `None` for anything else.
        height: Height of an image in pixels; `None` for anything else.
    """

    source: Path = _NO_FILE
    media_type: MediaType
    page: int | None = None
    start: float | None = None
    end: float | None = None
    text: str | None = None
    width: int | None = None
    height: int | None = None

    @property
    def is_in_file(self) -> bool:
        """Whether there is a file to open: items that were given in memory have none."""
        return self.source != _NO_FILE

    @property
    def is_whole_file(self) -> bool:
        """Whether nothing else of its file is a unit: an image is, and a video of one window."""
        return self.media_type == "image" or (self.media_type == "video" and self.start is None)


def read_units(
    path: Path,
    policy: MediaPolicy,
    *,
    window_seconds: float = 30.0,
    overlap_seconds: float = 5.0,
    cut_at_scenes: bool = False,
    ocr: ReadOcr | None = None,
    asr: TranscribeSpeech | None = None,
    image_reading: ImageReading = "viewer",
) -> list[Unit]:
    """Returns the units of a file in reading order; an empty list if files with its suffix are skipped.

    Headers, pages and packets are read; pixels are decoded only for `ocr` and `cut_at_scenes`, sound only for `asr`.

    Args:
        path: The file.
        policy: What may be opened, and how large it may be.
        window_seconds: Length of a window of a video; a video that is hardly longer is one unit, see `plan_windows`.
        overlap_seconds: What a window shares with the one before, so that no moment is only seen cut in two.
        cut_at_scenes: Let windows end where the image changes, too; then a short video may be several units.
        ocr: Reads the words of pages without a text layer, and of images; `None` leaves them unread.
        asr: Transcribes what is said in videos, see `TranscribeSpeech`; `None` leaves them unheard.
        image_reading: How the model that embeds the units reads images, see `media.read_image`. It decides for video,
            too, see `media.read_video`.

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
            return _read_images(path, policy, ocr, image_reading)
        case "pdf":
            texts = enumerate(_read_page_texts(path, policy), start=1)
            return [_build_page(path, page, text, policy, ocr) for page, text in texts]
        case "video":
            windows = cut_windows(
                path,
                policy,
                window_seconds=window_seconds,
                overlap_seconds=overlap_seconds,
                cut_at_scenes=cut_at_scenes,
                by_time=image_reading == "viewer",
            )
            return _build_windows(path, policy, windows, asr, by_time=image_reading == "viewer")
        case "office":
            raise InputError(f"{path.suffix.lower()} files are not read. {_CONVERSION_HINT}")
        case None:
            return []


def load_item(
    unit: Unit, policy: MediaPolicy, *, render_pages: bool = True, image_reading: ImageReading = "viewer"
) -> Item:
    """Returns what an embedder or reranker takes for `unit`: text, a rendered page, or where to find the pixels.

    Args:
        unit: What to load.
        policy: What may be opened of a page; other files are opened by the model, under its own policy.
        render_pages: Render a page now; otherwise it is opened, and `policy` goes along for whoever renders it.
        image_reading: How a page of a TIFF is read that is rendered now.

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
                return media.render_page(media.DocumentPage(unit.source, number), policy, reading=image_reading)
            return {"image": media.find_page(unit.source, number, policy)}
        case "image":
            return {"image": unit.source}
        case "video" if unit.start is None:
            return {"video": unit.source}
        case "video":
            return {"video": unit.source, "start": unit.start, "end": unit.end}
        case "mixed":
            raise ValueError(f"{quote(unit.source)} is a file, and no file is of the media type 'mixed'")


def _read_page_texts(path: Path, policy: MediaPolicy) -> list[str]:
    """The text layer of each page; `""` for a page that has none, or that cannot be read."""
    count = media.count_pdf_pages(path, policy)
    texts: list[str] = []
    failed = 0
    while len(texts) < count:
        try:
            # A page whose text cannot be read stays a unit of its own: rendering it reports what is wrong with it.
            for text in media.read_pdf_texts(path, policy, first_page=len(texts) + 1):
                texts.append("" if isinstance(text, MediaError) else text.strip())  # noqa: PERF401 - kept on errors
        except MediaError:
            # This page took too much time or memory, or crashed PDFium. Each such page costs as much again.
            failed += 1
            if failed == MOST_COSTLY_PAGES:
                raise
            texts.append("")
    return texts


def _build_page(path: Path, page: int, text: str, policy: MediaPolicy, ocr: ReadOcr | None) -> Unit:
    if not text and ocr is not None:
        with suppress(MediaError):
            text = ocr(media.render_pdf_page(path, page, policy)).strip()
    return Unit(source=path, media_type="page", page=page, text=text if text else None)


def _build_windows(
    path: Path,
    policy: MediaPolicy,
    windows: Sequence[tuple[float, float]],
    asr: TranscribeSpeech | None,
    *,
    by_time: bool,
) -> list[Unit]:
    texts: Sequence[str | None] = [None] * len(windows)
    if asr is not None:
        texts = read_window_speech(path, policy, windows, asr, by_time=by_time)
    if len(windows) == 1:
        return [Unit(source=path, media_type="video", text=texts[0])]
    return [
        Unit(source=path, media_type="video", start=start, end=end, text=text)
        for (start, end), text in zip(windows, texts, strict=True)
    ]


def _read_images(path: Path, policy: MediaPolicy, ocr: ReadOcr | None, reading: ImageReading) -> list[Unit]:
    header = media.read_image_header(path, policy, reading=reading)
    if header.pages == 1:
        text = None if ocr is None else _read_words(media.read_image(path, policy, reading=reading), ocr)
        return [Unit(source=path, media_type="image", text=text, width=header.width, height=header.height)]
    units: list[Unit] = []
    for number in range(1, header.pages + 1):
        text = None
        if ocr is not None:
            try:
                page = media.render_page(media.DocumentPage(path, number), policy, reading=reading)
                text = _read_words(page, ocr)
            except MediaError:
                # As with a PDF: the page stays a unit, and loading it reports what is wrong.
                text = None
        units.append(Unit(source=path, media_type="page", page=number, text=text))
    return units


def _read_words(image: Image.Image, ocr: ReadOcr) -> str | None:
    words = ocr(image).strip()
    return words if words else None


def _read_chunks(path: Path, policy: MediaPolicy) -> list[Unit]:
    text = decode_text(read_file(path, policy))
    if not text.strip():
        raise MediaError("the text is empty")
    chunks = split_text(text, is_markdown=path.suffix.lower() in _MARKDOWN_SUFFIXES)
    return [Unit(source=path, media_type="text", text=chunk) for chunk in chunks]
