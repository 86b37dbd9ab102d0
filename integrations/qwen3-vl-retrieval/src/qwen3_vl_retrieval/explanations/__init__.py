"""Why something was found: the words of a question on a page, and what a score depends on.

The names below are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.lazy_imports import import_lazily

if TYPE_CHECKING:
    from qwen3_vl_retrieval.explanations.boxes import Box
    from qwen3_vl_retrieval.explanations.explaining import describe_explanation, explain_documents
    from qwen3_vl_retrieval.explanations.explanation import ExplainMethod, Explanation, Region
    from qwen3_vl_retrieval.explanations.search_context import SearchContext

__all__ = [
    "Box",
    "ExplainMethod",
    "Explanation",
    "Region",
    "SearchContext",
    "describe_explanation",
    "explain_documents",
]

_MODULES = {
    "Box": "explanations.boxes",
    "ExplainMethod": "explanations.explanation",
    "Explanation": "explanations.explanation",
    "Region": "explanations.explanation",
    "SearchContext": "explanations.search_context",
    "describe_explanation": "explanations.explaining",
    "explain_documents": "explanations.explaining",
}

__getattr__ = import_lazily(__name__, _MODULES)


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
