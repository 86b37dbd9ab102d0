"""Opening pictures, pages and clips under one policy, exactly as the official scripts see them.

The names below are imported when first used: importing the package loads neither torch nor a codec.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
    from qwen3_vl_retrieval.media.download import fetch_url
    from qwen3_vl_retrieval.media.images import measure_image, read_image, resize_image
    from qwen3_vl_retrieval.media.pages import PdfPage
    from qwen3_vl_retrieval.media.pdf import count_pdf_pages, read_pdf_text, read_pdf_texts, render_pdf_page
    from qwen3_vl_retrieval.media.policy import MediaPolicy
    from qwen3_vl_retrieval.media.video import Clip, measure_clip, read_clip

__all__ = [
    "Clip",
    "FrameSampling",
    "MediaPolicy",
    "PdfPage",
    "PixelBudget",
    "count_pdf_pages",
    "fetch_url",
    "measure_clip",
    "measure_image",
    "read_clip",
    "read_image",
    "read_pdf_text",
    "read_pdf_texts",
    "render_pdf_page",
    "resize_image",
]

_MODULES = {
    "Clip": "video",
    "FrameSampling": "budgets",
    "MediaPolicy": "policy",
    "PdfPage": "pages",
    "PixelBudget": "budgets",
    "count_pdf_pages": "pdf",
    "fetch_url": "download",
    "measure_clip": "video",
    "measure_image": "images",
    "read_clip": "video",
    "read_image": "images",
    "read_pdf_text": "pdf",
    "read_pdf_texts": "pdf",
    "render_pdf_page": "pdf",
    "resize_image": "images",
}


def __getattr__(name: str) -> Any:
    """Returns the public name, importing its module; raises `AttributeError` for any other."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
