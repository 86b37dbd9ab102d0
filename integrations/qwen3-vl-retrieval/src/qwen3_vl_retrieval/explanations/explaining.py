"""Why a unit was found: the words of the question in it, or the parts that its score depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
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
from qwen3_vl_retrieval.errors import InputError, MediaError, MediaPolicyError, quote
from qwen3_vl_retrieval.explanations.explanation import ExplainMethod, Explanation, Region
from qwen3_vl_retrieval.explanations.occlusion import FRAME_COUNT, occlude_frames, occlude_image
from qwen3_vl_retrieval.explanations.search_context import SearchContext
from qwen3_vl_retrieval.explanations.words import find_text_words, find_words
from qwen3_vl_retrieval.items import DocumentPage, ImagePart, Item, TextPart, VideoPart, coerce_input, describe_text
from qwen3_vl_retrieval.media.pages import find_policy
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.protocols import Embedder, Reranker

__all__ = ["describe_explanation", "explain_documents", "explain_unit", "name_failure"]

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
    _check_method(method)
    view, rules = (view_unit(unit), policy) if stored_item is None else _view_document(stored_item, policy)
    return _explain_view(view, context, rules, stored_item, method)


def explain_documents(
    query: Item,
    documents: Sequence[Item | InputError],
    *,
    embedder: Embedder | None = None,
    reranker: Reranker | None = None,
    instruction: str | None = None,
    policy: MediaPolicy | None = None,
    method: ExplainMethod = "auto",
) -> list[Explanation | InputError]:
    """Returns why each document answers a query, or in its place the error of one that cannot be opened or judged.

    ```python
    explanations = explain_documents("Who signed it?", [Path("page.png")], reranker=reranker)
    explanations[0].show()
    ```

    Args:
        query: A text, an image, a video, or a mixture.
        documents: What was found: items, pages as `build_item(render_pages=False)` returns them, or errors, which are
            returned as they are.
        embedder: Gives the cosine, if there is no reranker; with one, it is asked about the strongest parts besides.
        reranker: Gives the score that is explained. Without either model only words can be found.
        instruction: What makes a document relevant; `None` is each model's own.
        policy: What may be opened; `None` is any local file.
        method: See `ExplainMethod`.

    Raises:
        ValueError: There is no such method.
    """
    _check_method(method)
    context = SearchContext(query=query, instruction=instruction, embedder=embedder, reranker=reranker)
    rules = MediaPolicy() if policy is None else policy
    explained: list[Explanation | InputError] = []
    for document in documents:
        try:
            if isinstance(document, InputError):
                raise document
            view, its_policy = _view_document(document, rules)
            explained.append(_explain_view(view, context, its_policy, document, method))
        except InputError as error:
            explained.append(error)
    return explained


def describe_explanation(explanation: Explanation | InputError) -> dict[str, Any]:
    """Returns an explanation as JSON takes it; `{"error": …}`, which names no path, for one that failed."""
    return {"error": name_failure(explanation)} if isinstance(explanation, InputError) else explanation.describe()


def name_failure(error: InputError) -> str:
    """Returns why something cannot be explained, without the paths that its error may name."""
    match error:
        case MediaPolicyError():
            return "cannot be explained: it may not be opened"
        case MediaError():
            return "cannot be explained: it can no longer be read"
        case _:
            return "cannot be explained: the models cannot judge it"


def _check_method(method: str) -> None:
    if method not in get_args(ExplainMethod):
        raise ValueError(f"method={quote(method)} is unknown; allowed are {', '.join(get_args(ExplainMethod))}")


def _view_document(document: Item, policy: MediaPolicy) -> tuple[View, MediaPolicy]:
    """What to explain of an item, and what may be opened of it: a page may bring a policy of its own."""
    view = view_item(document)
    page = view.source if isinstance(view, ImagePart) else None
    if isinstance(page, DocumentPage) and isinstance(page.source, (str, Path)):
        return PagePart(source=page.source, page=page.page), find_policy(page, policy)
    return view, policy


def _explain_view(
    view: View, context: SearchContext, policy: MediaPolicy, item: Item | None, method: ExplainMethod
) -> Explanation:
    if method == "occlusion":
        return _occlude(view, context, policy, item)
    explanation = _find_words(view, context, policy)
    if explanation.regions or method == "words" or isinstance(view, TextPart):
        return explanation
    return _occlude(view, context, policy, item)


def _find_words(view: View, context: SearchContext, policy: MediaPolicy) -> Explanation:
    query = describe_text(context.query)
    if isinstance(view, PagePart) and find_kind(Path(view.source)) == "pdf":
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
