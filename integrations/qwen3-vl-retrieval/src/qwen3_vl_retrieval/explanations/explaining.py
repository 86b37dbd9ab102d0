"""Why a unit was found: the words of the question in it, or the parts that its score depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from qwen3_vl_retrieval import media
from qwen3_vl_retrieval.documents.files import find_kind
from qwen3_vl_retrieval.documents.previews import (
    PagePart,
    View,
    measure_window,
    read_frames,
    read_view,
    view_item,
    view_unit,
)
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.explanations.explanation import ExplainMethod, Explanation, Region
from qwen3_vl_retrieval.explanations.occlusion import FRAME_COUNT, occlude_frames, occlude_image
from qwen3_vl_retrieval.explanations.search_context import SearchContext
from qwen3_vl_retrieval.explanations.words import find_text_words, find_words
from qwen3_vl_retrieval.items import Item, TextPart, VideoPart, coerce_input, describe_text
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["explain_unit"]

_MOST_REGIONS = 12
"""Regions of words that are kept: more are a page in which everything is marked."""


def explain_unit(
    unit: Unit,
    context: SearchContext,
    policy: MediaPolicy,
    *,
    stored_item: Item | None = None,
    method: ExplainMethod = "auto",
) -> Explanation:
    """Returns why a unit was found.

    Args:
        unit: What was found.
        context: The search that found it.
        policy: What may be opened.
        stored_item: The item, if it was given in memory.
        method: See `ExplainMethod`.

    Raises:
        ValueError: There is no such method.
        InputError: The query or the unit cannot be judged, or there is nothing to cover in it.
        MediaPolicyError: The policy refuses the file.
        MediaError: The file is gone, damaged, or no longer what it was.
    """
    if method not in get_args(ExplainMethod):
        raise ValueError(f"method={quote(method)} is unknown; allowed are {', '.join(get_args(ExplainMethod))}")
    view = view_unit(unit) if stored_item is None else view_item(stored_item)
    if method == "occlusion":
        return _occlude(view, context, policy, stored_item)
    explanation = _find_words(view, context, policy)
    if explanation.regions or method == "words" or isinstance(view, TextPart):
        return explanation
    return _occlude(view, context, policy, stored_item)


def _find_words(view: View, context: SearchContext, policy: MediaPolicy) -> Explanation:
    query = describe_text(context.query)
    if isinstance(view, PagePart) and find_kind(view.source) == "pdf":
        layer = media.read_pdf_text_layer(view.source, view.page, policy)
        found = find_words(query, layer)
    else:
        found = find_text_words(query, view.text if isinstance(view, TextPart) else "")
    strongest = max((word.weight for word in found), default=1.0)
    regions = [Region(weight=word.weight / strongest, box=word.box, text=word.text) for word in found[:_MOST_REGIONS]]
    # Nothing is rendered to say that nothing was found.
    image = None if not regions or isinstance(view, TextPart) else read_view(view, policy)
    return Explanation(method="words", measure="words", regions=regions, image=image)


def _occlude(view: View, context: SearchContext, policy: MediaPolicy, stored_item: Item | None) -> Explanation:
    if isinstance(view, TextPart):
        raise InputError('a text has no image to cover parts of; explain it with method="words" or "auto"')
    judge = context.find_judge()
    build_item = _find_builder(stored_item)
    if isinstance(view, VideoPart):
        start, end = measure_window(view, policy)
        frames = read_frames(view, policy, shares=[(place + 0.5) / FRAME_COUNT for place in range(FRAME_COUNT)])
        rate = len(frames) / (end - start)
        return occlude_frames(
            frames,
            judge,
            start=start,
            end=end,
            build_item=lambda altered: build_item({"video": list(altered), "fps": rate}),
        )
    return occlude_image(
        read_view(view, policy),
        judge,
        build_item=lambda image: build_item({"image": image}),
        second_judge=context.find_second_judge(),
    )


def _find_builder(stored_item: Item | None) -> Callable[[dict[str, Any]], Item]:
    """What makes an item of an altered image or video: with everything else that the found item has."""
    if stored_item is None:
        return lambda part: part
    parts = coerce_input(stored_item)
    # As in `view_item`.
    place = next(number for number, part in enumerate(parts.parts) if not isinstance(part, TextPart))

    def build(part: dict[str, Any]) -> Item:
        others: list[Any] = list(parts.parts)
        others[place] = part
        return {"parts": others} if parts.instruction is None else {"parts": others, "instruction": parts.instruction}

    return build
