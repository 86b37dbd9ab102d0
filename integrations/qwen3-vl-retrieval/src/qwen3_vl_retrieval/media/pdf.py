"""PDF: pages counted, found, rendered to images, and their text layer read, with pypdfium2.

PDFium is not thread-safe and can be made to work or to allocate without end by a few kilobytes: it runs in processes of
its own (`reader_processes`), where pages are rendered in parallel. The functions that begin with an underscore and take
`opened` run there. A reader keeps the PDF file that it read last open: each reader that works on a file opens it once,
not once for each page (`kept_document`).
"""

from __future__ import annotations

import ctypes
import logging
import math
import sys
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pypdfium2
from jaxtyping import Float32, UInt8
from PIL import Image

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.media.budgets import PixelBudget
from qwen3_vl_retrieval.media.kept_document import KEPT
from qwen3_vl_retrieval.media.pages import GuardedPage, describe_page, describe_pdf
from qwen3_vl_retrieval.media.policy import MediaPolicy, open_file, open_source, resolve_path
from qwen3_vl_retrieval.media.reader_processes import read, resolve_dirs, stream
from qwen3_vl_retrieval.media.sizing import MAX_ASPECT_RATIO
from qwen3_vl_retrieval.media.text_layer import TextLayer

__all__ = [
    "count_pdf_pages",
    "find_pdf_page",
    "read_pdf_text",
    "read_pdf_text_layer",
    "read_pdf_texts",
    "render_pdf_page",
]

_LOCK = ForkSafeLock()
"""Held while PDFium works on a document where it runs in the caller's process (`isolate_reading=False`)."""

# `FPDF_ERR_PASSWORD` and `FPDF_ERR_SECURITY` of PDFium's public/fpdfview.h.
_PASSWORD_ERRORS = (4, 5)

_PAGE_PIXELS = PixelBudget().max_pixels
"""Pixels of a rendered page: the most that the models see of an image by default."""

_DEVICE_UNITS = 1_000_000
"""Units of a page's width and height in which PDFium is asked for places, as it answers in whole ones."""

_MOST_BOXES = 100_000
"""Characters of a page whose places are read; the text of a dense page has some ten thousand."""

_BISECTIONS = 64
"""Halvings of a scale: more than a float has digits."""


def count_pdf_pages(source: str | Path | bytes, policy: MediaPolicy) -> int:
    """Returns the number of pages.

    Raises:
        MediaPolicyError: The policy refuses the source, it has more than `max_pages`, or takes too much to read.
        MediaError: The source is empty, encrypted or not a PDF.
    """
    shown = describe_pdf(source)
    return read(_count_pages, policy, shown, _open_source(source, policy), resolve_dirs(policy), shown)


def find_pdf_page(source: str | Path | bytes, page: int, policy: MediaPolicy) -> GuardedPage:
    """Returns page `page`, counted from 1, to be rendered under `policy` when its pixels are needed.

    The PDF and the page are opened, in far less time than rendering takes: what is wrong with them is said here, as
    `render_pdf_page` says it.

    Raises:
        MediaPolicyError: The policy refuses the source, it has more than `max_pages`, or takes too much to read.
        MediaError: The source is empty, encrypted or not a PDF, there is no such page, or it has no sensible size.
    """
    found = GuardedPage(source, page, policy=policy)
    shown = describe_pdf(source)
    read(
        _check_page, policy, describe_page(found), _open_source(source, policy), page, resolve_dirs(policy), shown=shown
    )
    return found


def render_pdf_page(
    source: str | Path | bytes, page: int, policy: MediaPolicy, *, max_pixels: int = _PAGE_PIXELS
) -> Image.Image:
    """Returns page `page`, counted from 1, as an RGB image of at most `max_pixels`, and close to that number.

    A page is drawn on white, with its annotations and filled-in forms, at the size that fits: not at a fixed number of
    dots per inch. `max_pixels` above `policy.max_pixels` is lowered to it.

    Raises:
        ValueError: `max_pixels` is below one.
        MediaPolicyError: The policy refuses the source, it has more than `max_pages`, or takes too much to read.
        MediaError: The source is empty, encrypted or not a PDF, there is no such page, or it has no sensible size.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels={max_pixels} must be at least 1")
    pixels = read(
        _render_page,
        policy,
        f"page {page} of {describe_pdf(source)}",
        _open_source(source, policy),
        page,
        resolve_dirs(policy),
        max_pixels=min(max_pixels, policy.max_pixels),
        shown=describe_pdf(source),
    )
    return Image.fromarray(pixels)


def read_pdf_text(source: str | Path | bytes, page: int, policy: MediaPolicy) -> str:
    r"""Returns the text layer of page `page`, counted from 1, lines ended by `\n`; `""` if it has none (a scan).

    Raises:
        MediaPolicyError: The policy refuses the source, it has more than `max_pages`, or takes too much to read.
        MediaError: The source is empty, encrypted or not a PDF, or there is no such page.
    """
    shown = describe_pdf(source)
    return read(
        _read_text,
        policy,
        f"page {page} of {shown}",
        _open_source(source, policy),
        page,
        resolve_dirs(policy),
        shown=shown,
    )


def read_pdf_text_layer(source: str | Path | bytes, page: int, policy: MediaPolicy) -> TextLayer:
    """Returns the characters of page `page`, counted from 1, with their places on the rendered page; none of a scan.

    Raises:
        MediaPolicyError: The policy refuses the source, it has more than `max_pages`, or takes too much to read.
        MediaError: The source is empty, encrypted or not a PDF, or there is no such page.
    """
    shown = describe_pdf(source)
    text, boxes = read(
        _read_text_layer,
        policy,
        f"page {page} of {shown}",
        _open_source(source, policy),
        page,
        resolve_dirs(policy),
        shown=shown,
    )
    return TextLayer(text, boxes)


def read_pdf_texts(
    source: str | Path | bytes, policy: MediaPolicy, *, first_page: int = 1
) -> Generator[str | MediaError, None, None]:
    """Yields the text layer of each page from `first_page` on, or why it cannot be read; the PDF is opened once.

    A page that takes too much to read raises, and no page after it is read: begin again behind it.

    Raises:
        MediaPolicyError: The policy refuses the source, it has more than `max_pages`, or a page takes too much to read.
        MediaError: The source is empty, encrypted or not a PDF.
    """
    shown = describe_pdf(source)
    yield from stream(
        _read_texts,
        policy,
        shown,
        _open_source(source, policy),
        resolve_dirs(policy),
        first_page=first_page,
        shown=shown,
    )


def _open_source(source: str | Path | bytes, policy: MediaPolicy) -> Path | bytes:
    opened = open_source(source, policy)
    if (opened.stat().st_size if isinstance(opened, Path) else len(opened)) == 0:
        raise MediaError(f"{describe_pdf(source)} is empty")
    return opened


def _count_pages(opened: Path | bytes, policy: MediaPolicy, shown: str) -> int:
    with _open_pdf(opened, policy, shown) as document:
        return len(document)


def _check_page(opened: Path | bytes, page: int, policy: MediaPolicy, *, shown: str) -> None:
    """Raises what `_render_page` would raise before it renders."""
    with _open_pdf(opened, policy, shown) as document, _open_page(document, page, shown) as found:
        _fit_scale(found.get_size(), min(_PAGE_PIXELS, policy.max_pixels), f"page {page} of {shown}")


def _render_page(
    opened: Path | bytes, page: int, policy: MediaPolicy, *, max_pixels: int, shown: str
) -> UInt8[np.ndarray, "height width 3"]:
    with _open_pdf(opened, policy, shown) as document, _open_page(document, page, shown) as found:
        scale = _fit_scale(found.get_size(), max_pixels, f"page {page} of {shown}")
        bitmap = found.render(scale=scale, rev_byteorder=True)
        try:
            # A copy: the pixels must outlive the bitmap.
            return np.array(bitmap.to_pil().convert("RGB"))
        finally:
            bitmap.close()


def _read_text(opened: Path | bytes, page: int, policy: MediaPolicy, *, shown: str) -> str:
    with _open_pdf(opened, policy, shown) as document, _open_page(document, page, shown) as found:
        layer = found.get_textpage()
        try:
            return str(layer.get_text_range()).replace("\r\n", "\n").replace("\r", "\n")
        finally:
            layer.close()


def _read_text_layer(
    opened: Path | bytes, page: int, policy: MediaPolicy, *, shown: str
) -> tuple[str, Float32[np.ndarray, "characters 4"]]:
    with _open_pdf(opened, policy, shown) as document, _open_page(document, page, shown) as found:
        layer = found.get_textpage()
        try:
            count: int = min(layer.count_chars(), _MOST_BOXES)
            codes: list[int] = [pypdfium2.raw.FPDFText_GetUnicode(layer, place) for place in range(count)]
            boxes = np.array([_find_character(found, layer, place) for place in range(count)], dtype=np.float32)
        finally:
            layer.close()
    return "".join(map(_decode_character, codes)), boxes.reshape(-1, 4)


def _decode_character(code: int) -> str:
    return "\N{REPLACEMENT CHARACTER}" if 0xD800 <= code <= 0xDFFF or code > sys.maxunicode else chr(code)


def _find_character(page: Any, layer: Any, place: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom in shares of the page as it is rendered, cropped and turned."""
    left, right, bottom, top = ctypes.c_double(), ctypes.c_double(), ctypes.c_double(), ctypes.c_double()
    if not pypdfium2.raw.FPDFText_GetCharBox(layer, place, left, right, bottom, top):
        return (0.0, 0.0, 0.0, 0.0)
    corners = [_find_point(page, x.value, y.value) for x, y in ((left, top), (right, bottom))]
    (first_x, first_y), (second_x, second_y) = corners
    return (min(first_x, second_x), min(first_y, second_y), max(first_x, second_x), max(first_y, second_y))


def _find_point(page: Any, x: float, y: float) -> tuple[float, float]:
    column, row = ctypes.c_int(), ctypes.c_int()
    pypdfium2.raw.FPDF_PageToDevice(page, 0, 0, _DEVICE_UNITS, _DEVICE_UNITS, 0, x, y, column, row)
    return column.value / _DEVICE_UNITS, row.value / _DEVICE_UNITS


def _read_texts(
    opened: Path | bytes, policy: MediaPolicy, *, first_page: int, shown: str
) -> Generator[str | MediaError, None, None]:
    with _open_pdf(opened, policy, shown) as document:
        for page in range(first_page, len(document) + 1):
            try:
                with _open_page(document, page, shown) as found:
                    layer = found.get_textpage()
                    try:
                        text = str(layer.get_text_range())
                    finally:
                        layer.close()
            except MediaError as error:
                yield error
            else:
                yield text.replace("\r\n", "\n").replace("\r", "\n")


class _OpenPdf:
    """A PDF with the file that PDFium reads it from."""

    def __init__(self, opened: Path | bytes, policy: MediaPolicy, shown: str) -> None:
        self._file = open_file(opened, policy) if isinstance(opened, Path) else None
        try:
            self.document = _load_document(opened if self._file is None else self._file, shown)
        except BaseException:
            self._close_file()
            raise

    def close(self) -> None:
        """Closes both."""
        self.document.close()
        self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()


@contextmanager
def _open_pdf(opened: Path | bytes, policy: MediaPolicy, shown: str) -> Generator[Any, None, None]:
    """Yields the document, holding the lock. Afterwards it is closed, or kept open for the next call to this reader."""
    with _LOCK:
        key = _identify(opened, policy) if isinstance(opened, Path) else None
        kept = cast("_OpenPdf | None", KEPT.take(key))
        pdf = _OpenPdf(opened, policy, shown) if kept is None else kept
        try:
            pages = len(pdf.document)
            if pages > policy.max_pages:
                raise MediaPolicyError(
                    f"{shown} has {pages:,} pages, above max_pages={policy.max_pages:,}; "
                    "split it, or raise max_pages of the MediaPolicy"
                )
            yield pdf.document
        finally:
            KEPT.put(__name__, key, pdf)


def _identify(opened: Path, policy: MediaPolicy) -> Hashable:
    """What tells a file from others, and from what it was before it was written to; `None` if it is not known.

    Raises:
        MediaPolicyError: The policy refuses the file, which another policy may have allowed before.
        MediaError: There is no such file.
    """
    resolved = resolve_path(opened, policy)
    try:
        status = resolved.stat()
    except OSError:
        return None
    return (resolved, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _load_document(content: Any, shown: str) -> Any:
    # PDFium tells the reason of a failure by a code that it does not always set: without this, a damaged file that
    # follows an encrypted one is encrypted, too. What is no PDF sets `FPDF_ERR_FORMAT`.
    pypdfium2.raw.FPDF_LoadMemDocument64(b"-", 1, None)
    try:
        return pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code in _PASSWORD_ERRORS:
            raise MediaError(f"{shown} is encrypted; save it without a password first") from error
        raise MediaError(f"{shown} is damaged, has no pages, or is no PDF: {error}") from error


@contextmanager
def _open_page(document: Any, page: int, shown: str) -> Generator[Any, None, None]:
    if not 1 <= page <= len(document):
        raise MediaError(f"there is no page {page} of {shown}; it has pages 1 to {len(document)}")
    try:
        _init_forms(document)
        opened = document[page - 1]
    except pypdfium2.PdfiumError as error:
        raise MediaError(f"page {page} of {shown} is damaged: {error}") from error
    try:
        yield opened
    except pypdfium2.PdfiumError as error:
        raise MediaError(f"page {page} of {shown} cannot be read: {error}") from error
    finally:
        opened.close()


def _init_forms(document: Any) -> None:
    """Makes filled-in forms visible."""
    _leave_out_advice()
    document.init_forms()


@cache
def _leave_out_advice() -> None:
    """Leaves one message out of pypdfium2's log, whose level and handlers stay the caller's.

    Of a form that also has XFA it advises to build another PDFium; the other fields of the form are drawn all the same.
    """
    logger = logging.getLogger("pypdfium2._helpers.document")
    logger.addFilter(lambda record: not record.getMessage().startswith("init_forms() called on XFA pdf"))


def _fit_scale(size: tuple[int | float, int | float], max_pixels: int, shown: str) -> float:
    """Pixels per point: the largest scale at which both sides, rounded up as the renderer does, make `max_pixels`."""
    width, height = size
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise MediaError(f"{shown} is {width}x{height} points; it has no area")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise MediaError(
            f"{shown} is {width:g}x{height:g} points; the longer side may be at most "
            f"{MAX_ASPECT_RATIO} times the shorter"
        )

    def fits(scale: float) -> bool:
        return math.ceil(width * scale) * math.ceil(height * scale) <= max_pixels

    # One pixel fits always. Halving the interval ends after as many steps for every size, which taking a pixel off one
    # side at a time does not: that can round back to the scale it began with.
    low, high = 1 / max(width, height), math.sqrt(max_pixels / (width * height))
    if fits(high):
        return high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
