"""PDF: pages counted, found, rendered to pictures, and their text layer read, with pypdfium2.

PDFium is not thread-safe, and its state is the process's: every function here holds one lock from opening to closing,
so calls from several threads take turns. Render in several processes where that is too slow.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pypdfium2
from PIL import Image

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.media.budgets import PixelBudget
from qwen3_vl_retrieval.media.library_logs import leave_out
from qwen3_vl_retrieval.media.pages import GuardedPage, describe_page, describe_pdf
from qwen3_vl_retrieval.media.policy import MediaPolicy, open_file
from qwen3_vl_retrieval.media.sizing import MAX_ASPECT_RATIO
from qwen3_vl_retrieval.media.sources import open_source

__all__ = ["count_pdf_pages", "find_pdf_page", "read_pdf_text", "render_pdf_page"]

_LOCK = threading.Lock()

# `FPDF_ERR_PASSWORD` and `FPDF_ERR_SECURITY` of PDFium's public/fpdfview.h.
_PASSWORD_ERRORS = (4, 5)

_PAGE_PIXELS = PixelBudget().max_pixels
"""Pixels of a rendered page: the most that the models see of a picture by default."""


def count_pdf_pages(source: str | Path | bytes, policy: MediaPolicy) -> int:
    """Returns the number of pages.

    Raises:
        MediaPolicyError: The policy refuses the source, or it has more than `max_pages`.
        MediaError: The source is empty, encrypted or not a PDF.
    """
    with _open_pdf(source, policy) as document:
        return len(document)


def find_pdf_page(source: str | Path | bytes, page: int, policy: MediaPolicy) -> GuardedPage:
    """Returns page `page`, counted from 1, to be rendered under `policy` when its pixels are needed.

    The PDF and the page are opened, in far less time than rendering takes: what is wrong with them is said here, as
    `render_pdf_page` says it.

    Raises:
        MediaPolicyError: The policy refuses the source, or it has more than `max_pages`.
        MediaError: The source is empty, encrypted or not a PDF, there is no such page, or it has no sensible size.
    """
    found = GuardedPage(source, page, policy=policy)
    with _open_page(source, page, policy) as opened:
        _fit_scale(opened.get_size(), min(_PAGE_PIXELS, policy.max_pixels), describe_page(found))
    return found


def render_pdf_page(
    source: str | Path | bytes, page: int, policy: MediaPolicy, *, max_pixels: int = _PAGE_PIXELS
) -> Image.Image:
    """Returns page `page`, counted from 1, as an RGB picture of at most `max_pixels`, and close to that number.

    A page is drawn on white, with its annotations and filled-in forms, at the size that fits: not at a fixed number of
    dots per inch. `max_pixels` above `policy.max_pixels` is lowered to it.

    Raises:
        ValueError: `max_pixels` is below one.
        MediaPolicyError: The policy refuses the source, or it has more than `max_pages`.
        MediaError: The source is empty, encrypted or not a PDF, there is no such page, or it has no sensible size.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels={max_pixels} must be at least 1")
    with _open_page(source, page, policy) as opened:
        scale = _fit_scale(
            opened.get_size(), min(max_pixels, policy.max_pixels), f"page {page} of {describe_pdf(source)}"
        )
        bitmap = opened.render(scale=scale, rev_byteorder=True)
        try:
            # A copy: the picture must outlive the bitmap.
            return cast("Image.Image", bitmap.to_pil().convert("RGB").copy())
        finally:
            bitmap.close()


def read_pdf_text(source: str | Path | bytes, page: int, policy: MediaPolicy) -> str:
    r"""Returns the text layer of page `page`, counted from 1, lines ended by `\n`; `""` if it has none (a scan).

    Raises:
        MediaPolicyError: The policy refuses the source, or it has more than `max_pages`.
        MediaError: The source is empty, encrypted or not a PDF, or there is no such page.
    """
    with _open_page(source, page, policy) as opened:
        layer = opened.get_textpage()
        try:
            return str(layer.get_text_range()).replace("\r\n", "\n").replace("\r", "\n")
        finally:
            layer.close()


@contextmanager
def _open_pdf(source: str | Path | bytes, policy: MediaPolicy) -> Generator[Any, None, None]:
    """Yields the document, holding the lock; closes it."""
    opened = open_source(source, policy)
    shown = describe_pdf(source)
    if (opened.stat().st_size if isinstance(opened, Path) else len(opened)) == 0:
        raise MediaError(f"{shown} is empty")
    with _LOCK, ExitStack() as stack:
        content = stack.enter_context(open_file(opened, policy)) if isinstance(opened, Path) else opened
        try:
            document = pypdfium2.PdfDocument(content)
        except pypdfium2.PdfiumError as error:
            raise MediaError(_explain(shown, error)) from error
        try:
            pages = len(document)
            if pages > policy.max_pages:
                raise MediaPolicyError(
                    f"{shown} has {pages:,} pages, above max_pages={policy.max_pages:,}; "
                    "split it, or raise max_pages of the MediaPolicy"
                )
            yield document
        finally:
            document.close()


@contextmanager
def _open_page(source: str | Path | bytes, page: int, policy: MediaPolicy) -> Generator[Any, None, None]:
    with _open_pdf(source, policy) as document:
        if not 1 <= page <= len(document):
            raise MediaError(f"there is no page {page} of {describe_pdf(source)}; it has pages 1 to {len(document)}")
        try:
            # It advises to build PDFium anew, for forms whose pages are rendered without.
            leave_out("pypdfium2._helpers.document", "init_forms() called on XFA pdf")
            document.init_forms()
            opened = document[page - 1]
        except pypdfium2.PdfiumError as error:
            raise MediaError(f"page {page} of {describe_pdf(source)} is damaged: {error}") from error
        try:
            yield opened
        except pypdfium2.PdfiumError as error:
            raise MediaError(f"page {page} of {describe_pdf(source)} cannot be read: {error}") from error
        finally:
            opened.close()


def _explain(shown: str, error: pypdfium2.PdfiumError) -> str:
    if getattr(error, "err_code", None) in _PASSWORD_ERRORS:
        return f"{shown} is encrypted; save it without a password first"
    return f"{shown} is damaged, has no pages, or is no PDF: {error}"


def _fit_scale(size: tuple[int | float, int | float], max_pixels: int, shown: str) -> float:
    """Pixels per point such that both sides, rounded up as the renderer does, make at most `max_pixels`."""
    width, height = size
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise MediaError(f"{shown} is {width}x{height} points; it has no area")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise MediaError(
            f"{shown} is {width:g}x{height:g} points; the longer side may be at most "
            f"{MAX_ASPECT_RATIO} times the shorter"
        )
    scale = math.sqrt(max_pixels / (width * height))
    while math.ceil(width * scale) * math.ceil(height * scale) > max_pixels and scale * max(width, height) > 1:
        # One pixel less on the longer side at a time.
        scale = (math.ceil(scale * max(width, height)) - 1) / max(width, height)
    return scale
