"""Pages that stand for images and are read when their pixels are needed: whose policy holds, and their names.

Nothing here opens a file: `qwen3_vl_retrieval.media.documents` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qwen3_vl_retrieval.image_formats import IMAGE_FORMATS, identify_image
from qwen3_vl_retrieval.items import DocumentPage
from qwen3_vl_retrieval.media.policy import MediaPolicy, shorten_name

__all__ = [
    "DocumentPage",
    "GuardedPage",
    "describe_document",
    "describe_page",
    "describe_pdf",
    "find_policy",
    "is_tiff",
]

_TIFF = tuple(suffix for one in IMAGE_FORMATS if one.name == "TIFF" for suffix in one.suffixes)


@dataclass(frozen=True, slots=True)
class GuardedPage(DocumentPage):
    """A page that is opened under the policy of whoever named it, whatever that of the model which sees it.

    Attributes:
        policy: What may be opened.
    """

    policy: MediaPolicy = field(kw_only=True)


def find_policy(page: DocumentPage, policy: MediaPolicy) -> MediaPolicy:
    """Returns what a page is opened under: its own policy if it has one, else `policy`."""
    return page.policy if isinstance(page, GuardedPage) else policy


def describe_page(page: DocumentPage) -> str:
    """Returns what to call a page in a message."""
    return f"page {page.page} of {describe_document(page.source)}"


def describe_document(source: str | Path | bytes) -> str:
    """Returns what to call a PDF or TIFF in a message: by its path or URI, or by the way in which it was given."""
    if isinstance(source, bytes):
        return "the TIFF given as bytes" if is_tiff(source) else describe_pdf(source)
    return f"the TIFF {shorten_name(str(source))!r}" if str(source).lower().endswith(_TIFF) else describe_pdf(source)


def describe_pdf(source: str | Path | bytes) -> str:
    """Returns what to call a PDF in a message: by its path or URI, or by the way in which it was given."""
    return "the PDF given as bytes" if isinstance(source, bytes) else f"the PDF {shorten_name(str(source))!r}"


def is_tiff(start: bytes) -> bool:
    """Returns whether a document that begins with `start` is a TIFF."""
    found = identify_image(start)
    return found is not None and found.name == "TIFF"
