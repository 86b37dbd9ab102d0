"""Opening images, pages and videos under one policy, as a viewer shows them or as the official scripts see them.

The names below are imported when first used: importing the package loads neither torch nor a codec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.lazy_imports import import_lazily

if TYPE_CHECKING:
    from qwen3_vl_retrieval.image_formats import ImageFormat, guess_mime_type, identify_image
    from qwen3_vl_retrieval.items import DocumentPage, ImageReading
    from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
    from qwen3_vl_retrieval.media.documents import find_page, render_page
    from qwen3_vl_retrieval.media.download import fetch_url
    from qwen3_vl_retrieval.media.images import (
        ImageHeader,
        measure_image,
        read_image,
        read_image_header,
        resize_image,
    )
    from qwen3_vl_retrieval.media.pdf import (
        count_pdf_pages,
        read_pdf_text,
        read_pdf_text_layer,
        read_pdf_texts,
        render_pdf_page,
    )
    from qwen3_vl_retrieval.media.policy import MediaPolicy
    from qwen3_vl_retrieval.media.text_layer import TextLayer
    from qwen3_vl_retrieval.media.video import Video, measure_video, read_video

__all__ = [
    "DocumentPage",
    "FrameSampling",
    "ImageFormat",
    "ImageHeader",
    "ImageReading",
    "MediaPolicy",
    "PixelBudget",
    "TextLayer",
    "Video",
    "count_pdf_pages",
    "fetch_url",
    "find_page",
    "guess_mime_type",
    "identify_image",
    "measure_image",
    "measure_video",
    "read_image",
    "read_image_header",
    "read_pdf_text",
    "read_pdf_text_layer",
    "read_pdf_texts",
    "read_video",
    "render_page",
    "render_pdf_page",
    "resize_image",
]

_MODULES = {
    "Video": "media.video",
    "DocumentPage": "items",
    "FrameSampling": "media.budgets",
    "ImageFormat": "image_formats",
    "ImageHeader": "media.images",
    "ImageReading": "items",
    "MediaPolicy": "media.policy",
    "PixelBudget": "media.budgets",
    "TextLayer": "media.text_layer",
    "count_pdf_pages": "media.pdf",
    "fetch_url": "media.download",
    "find_page": "media.documents",
    "guess_mime_type": "image_formats",
    "identify_image": "image_formats",
    "measure_video": "media.video",
    "measure_image": "media.images",
    "read_video": "media.video",
    "read_image": "media.images",
    "read_image_header": "media.images",
    "read_pdf_text": "media.pdf",
    "read_pdf_text_layer": "media.pdf",
    "read_pdf_texts": "media.pdf",
    "render_page": "media.documents",
    "render_pdf_page": "media.pdf",
    "resize_image": "media.images",
}

__getattr__ = import_lazily(__name__, _MODULES)


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
