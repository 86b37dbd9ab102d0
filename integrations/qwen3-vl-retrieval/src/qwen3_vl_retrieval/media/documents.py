"""Pages of documents, whatever they are kept in: PDFs are rendered, pages of a TIFF are decoded.

The content says which of the two a document is, not its name.
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image

from qwen3_vl_retrieval.errors import MediaError
from qwen3_vl_retrieval.image_formats import HEADER_BYTES
from qwen3_vl_retrieval.items import DocumentPage, ImageReading
from qwen3_vl_retrieval.media.images import decode_image, read_header
from qwen3_vl_retrieval.media.pages import GuardedPage, describe_document, find_policy, is_tiff
from qwen3_vl_retrieval.media.policy import MediaPolicy, is_stored_object, open_file, open_source

__all__ = ["find_page", "measure_page", "render_page"]


def find_page(source: str | Path | bytes, page: int, policy: MediaPolicy) -> GuardedPage:
    """Returns page `page`, counted from 1, to be opened under `policy` when its pixels are needed.

    The document and the page are opened, in far less time than reading the pixels takes: what is wrong with them is
    said here.

    Raises:
        MediaPolicyError: The policy refuses the source, or it has more than `max_pages`.
        MediaError: The source is no document, damaged or encrypted, there is no such page, or it has no sensible size.
    """
    tiff = _open_tiff(source, policy)
    if tiff is None:
        from qwen3_vl_retrieval.media.pdf import find_pdf_page

        return find_pdf_page(source, page, policy)
    read_header(tiff, policy, "viewer", page=page, shown=describe_document(source))
    return GuardedPage(source, page, policy=policy)


def measure_page(page: DocumentPage, policy: MediaPolicy, *, reading: ImageReading = "viewer") -> tuple[int, int]:
    """Returns (width, height) in pixels of what `render_page` gives; a page of a PDF is rendered for it.

    Raises the same as `find_page`.
    """
    policy = find_policy(page, policy)
    tiff = _open_tiff(page.source, policy)
    if tiff is None:
        return render_page(page, policy, reading=reading).size
    header = read_header(tiff, policy, reading, page=page.page, shown=describe_document(page.source))
    return _fit_size((header.width, header.height), page.max_pixels)


def render_page(page: DocumentPage, policy: MediaPolicy, *, reading: ImageReading = "viewer") -> Image.Image:
    """Returns the page as an RGB image; `reading` makes a difference for a TIFF only.

    A page of a PDF has close to `page.max_pixels`; one of a TIFF has its own size, and is made smaller if it has more.

    Raises the same as `find_page`.
    """
    policy = find_policy(page, policy)
    tiff = _open_tiff(page.source, policy)
    if tiff is None:
        from qwen3_vl_retrieval.media.pdf import render_pdf_page

        options = {} if page.max_pixels is None else {"max_pixels": page.max_pixels}
        return render_pdf_page(page.source, page.page, policy, **options)
    image = decode_image(tiff, policy, reading, page=page.page, shown=describe_document(page.source))
    size = _fit_size(image.size, page.max_pixels)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _open_tiff(source: str | Path | bytes, policy: MediaPolicy) -> Path | bytes | None:
    """The document, if it is a TIFF."""
    is_url = isinstance(source, str) and source[:5].lower() in ("http:", "https")
    if is_url or (isinstance(source, str) and is_stored_object(source, policy)):
        # Fetched once, by whoever reads it: of what is behind a URL the name has to do.
        is_named = describe_document(str(source).partition("?")[0].partition("#")[0]).startswith("the TIFF")
        return open_source(source, policy) if is_named else None
    opened = open_source(source, policy)
    if isinstance(opened, bytes):
        return opened if is_tiff(opened[:HEADER_BYTES]) else None
    with open_file(opened, policy) as file:
        try:
            return opened if is_tiff(file.read(HEADER_BYTES)) else None
        except OSError as error:
            raise MediaError(f"{describe_document(source)} cannot be read: {error}") from error


def _fit_size(size: tuple[int, int], max_pixels: int | None) -> tuple[int, int]:
    width, height = size
    if max_pixels is None or width * height <= max_pixels:
        return size
    scale = math.sqrt(max_pixels / (width * height))
    return max(int(width * scale), 1), max(int(height * scale), 1)
