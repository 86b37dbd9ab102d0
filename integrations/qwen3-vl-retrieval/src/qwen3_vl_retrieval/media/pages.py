"""Pages of PDFs that stand for pictures and are rendered when their pixels are needed: whose policy holds, their names.

Nothing here opens a file: `qwen3_vl_retrieval.media.pdf` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qwen3_vl_retrieval.inputs import PdfPage
from qwen3_vl_retrieval.media.policy import MediaPolicy, shorten_name

__all__ = ["GuardedPage", "PdfPage", "describe_page", "describe_pdf", "find_policy"]


@dataclass(frozen=True, slots=True)
class GuardedPage(PdfPage):
    """A page that is opened under the policy of whoever named it, whatever that of the model which sees it.

    Attributes:
        policy: What may be opened.
    """

    policy: MediaPolicy = field(kw_only=True)


def find_policy(page: PdfPage, policy: MediaPolicy) -> MediaPolicy:
    """Returns what a page is opened under: its own policy if it has one, else `policy`."""
    return page.policy if isinstance(page, GuardedPage) else policy


def describe_page(page: PdfPage) -> str:
    """Returns what to call a page in a message."""
    return f"page {page.page} of {describe_pdf(page.source)}"


def describe_pdf(source: str | Path | bytes) -> str:
    """Returns what to call a PDF in a message: by its path or URI, or by the way in which it was given."""
    return "the PDF given as bytes" if isinstance(source, bytes) else f"the PDF {shorten_name(str(source))!r}"
