"""The port: what a model looks like to everybody else, wherever it runs.

The index, the command line and the adapters of the frameworks call nothing but `Embedder` and `Reranker`; so does code
that works with any of them:

```python
def find_nearest(embedder: Embedder, query: Item, documents: Sequence[Item]) -> int:
    vectors = embedder.embed_documents(documents)
    return int((vectors @ embedder.embed_queries([query])[0]).argmax())
```

`adapt_embedder` and `adapt_reranker` lift objects that can do less. An implementation derives from the protocol, which
has the rest of the methods, and proves itself with the suites of `qwen3_vl_retrieval.testing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, Unpack, cast, overload, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import (
    DocumentPage,
    ImagePart,
    Item,
    MultimodalInput,
    OnError,
    check_on_error,
    coerce_input,
    list_items,
)
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.options import EmbedOptions, InputType, ScoreOptions, VectorOptions
from qwen3_vl_retrieval.outputs.scoring import Ranked, compute_log_odds, rank_scores
from qwen3_vl_retrieval.prompting.prompts import DEFAULT_QUERY_INSTRUCTION

__all__ = [
    "CountedVectors",
    "Embedder",
    "PlainEmbedder",
    "PlainReranker",
    "Prepared",
    "Reranker",
    "adapt_embedder",
    "adapt_reranker",
    "implements",
]

Prepared: TypeAlias = Any
"""An item on its way into an embedder: read, sized and tokenised, or as it was given."""


Contract = TypeVar("Contract", bound=Callable[..., Any])


def implements(_contract: Contract) -> Callable[[Callable[..., Any]], Contract]:
    """Gives a method the type of the method of the port that it implements, overloads included."""
    return lambda method: cast("Contract", method)


@dataclass(frozen=True, slots=True)
class CountedVectors:
    """Vectors, and what they were made of.

    Attributes:
        vectors: One per item, `(n, dimensions)`.
        token_counts: Tokens of the prompt of each item, images included; `None` where the embedder cannot say.
    """

    vectors: npt.NDArray[Any]
    token_counts: Sequence[int] | None


@runtime_checkable
class Embedder(Protocol):
    """A model that makes vectors of one space from items of any modality.

    To implement: `fingerprint`, `dimensions`, `media_policy`, `compute_fingerprint`, `embed` and `aembed`. The other
    methods call these, and are there to be replaced by something faster.
    """

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors of documents with the default options."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector unless a call asks for another."""
        ...

    @property
    def media_policy(self) -> MediaPolicy:
        """What the embedder may open."""
        ...

    def compute_fingerprint(
        self, *, input_type: InputType = "document", **options: Unpack[VectorOptions]
    ) -> Fingerprint:
        """Returns the identity of the vectors that `embed` would return with these options.

        Raises:
            ValueError: An option is out of range, or one that this embedder does not take.
        """
        ...

    @overload
    def embed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: Literal["raise"] = "raise",
        **options: Unpack[EmbedOptions],
    ) -> npt.NDArray[Any]: ...
    @overload
    def embed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: Literal["return"],
        **options: Unpack[EmbedOptions],
    ) -> list[npt.NDArray[Any] | InputError]: ...
    def embed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: OnError = "raise",
        **options: Unpack[EmbedOptions],
    ) -> npt.NDArray[Any] | list[npt.NDArray[Any] | InputError]:
        """Returns one vector per item, `(n, dimensions)`; row i is item i.

        Args:
            inputs: Items; a `str` is always text.
            input_type: What the vectors are for, which decides about the instruction where none is given.
            on_error: `"raise"` raises the first bad item's error; `"return"` computes the others and returns a list
                with the error in place of each bad item's vector.
            **options: See `EmbedOptions`.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
            ValueError: An option is out of range.
        """
        ...

    @overload
    async def aembed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: Literal["raise"] = "raise",
        **options: Unpack[EmbedOptions],
    ) -> npt.NDArray[Any]: ...
    @overload
    async def aembed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: Literal["return"],
        **options: Unpack[EmbedOptions],
    ) -> list[npt.NDArray[Any] | InputError]: ...
    async def aembed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: OnError = "raise",
        **options: Unpack[EmbedOptions],
    ) -> npt.NDArray[Any] | list[npt.NDArray[Any] | InputError]:
        """Returns the same as `embed`; concurrent callers may share forward passes."""
        ...

    async def aembed_counted(
        self, inputs: Iterable[Item], *, input_type: InputType = "document", **options: Unpack[EmbedOptions]
    ) -> CountedVectors:
        """Returns the same as `aembed`, with the number of tokens of each item if the embedder can say.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
            ValueError: An option is out of range.
        """
        return CountedVectors(await self.aembed(inputs, input_type=input_type, **options), None)

    def embed_documents(self, inputs: Iterable[Item], **options: Unpack[EmbedOptions]) -> npt.NDArray[Any]:
        """Returns the vectors of items that are to be found: `embed` with `input_type="document"`."""
        return self.embed(inputs, input_type="document", **options)

    def embed_queries(self, inputs: Iterable[Item], **options: Unpack[EmbedOptions]) -> npt.NDArray[Any]:
        """Returns the vectors of items that are to find others: `embed` with `input_type="query"`."""
        return self.embed(inputs, input_type="query", **options)

    def prepare(self, inputs: Iterable[Item], *, on_error: OnError = "raise") -> Sequence[Prepared | InputError]:
        """Returns documents ready for `embed_prepared`, in input order; a thread can prepare some while others compute.

        Unless an embedder can do better, these are the items themselves.

        Raises:
            InputError: An item cannot be embedded, and `on_error` is `"raise"`; the message begins with its position.
        """
        check_on_error(on_error)
        return list_items(inputs)

    def embed_prepared(
        self, prepared: Sequence[Prepared | InputError], *, on_error: OnError = "raise"
    ) -> npt.NDArray[Any] | list[npt.NDArray[Any] | InputError]:
        """Returns the vectors of what `prepare` returned, in its order.

        Raises:
            InputError: One of `prepared` is an error or cannot be embedded, and `on_error` is `"raise"`.
        """
        items = cast("Sequence[Item]", prepared)
        return self.embed(items) if on_error == "raise" else self.embed(items, on_error="return")


@runtime_checkable
class Reranker(Protocol):
    """A model that judges whether documents answer a query, and sees both.

    To implement: `model_id`, `score` and `ascore`. Images among the documents may be pages (`media.DocumentPage`),
    which the reranker renders.
    """

    @property
    def model_id(self) -> str:
        """Name of the model, for reports."""
        ...

    @overload
    def score(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        on_error: Literal["raise"] = "raise",
        **options: Unpack[ScoreOptions],
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def score(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        on_error: Literal["return"],
        **options: Unpack[ScoreOptions],
    ) -> list[float | InputError]: ...
    def score(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        on_error: OnError = "raise",
        **options: Unpack[ScoreOptions],
    ) -> npt.NDArray[np.float32] | list[float | InputError]:
        """Returns one relevance score per document, `(n,)`, in input order.

        Args:
            query: An item; a `str` is always text.
            documents: Items.
            on_error: `"raise"` raises the first bad document's error; `"return"` judges the others and returns a list
                with the error in place of each bad document's score. A bad query is always raised.
            **options: See `ScoreOptions`.

        Raises:
            InputError: The query or a document cannot be judged; `role` says which, and the message begins with the
                position.
            ValueError: An option is unknown.
        """
        ...

    @overload
    async def ascore(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        on_error: Literal["raise"] = "raise",
        **options: Unpack[ScoreOptions],
    ) -> npt.NDArray[np.float32]: ...
    @overload
    async def ascore(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        on_error: Literal["return"],
        **options: Unpack[ScoreOptions],
    ) -> list[float | InputError]: ...
    async def ascore(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        on_error: OnError = "raise",
        **options: Unpack[ScoreOptions],
    ) -> npt.NDArray[np.float32] | list[float | InputError]:
        """Returns the same as `score`; concurrent callers may share forward passes."""
        ...

    def rank(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        top_n: int | None = None,
        threshold: float | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> list[Ranked]:
        """Returns the documents' places, best first; equal scores keep the order of the input.

        Args:
            query: An item.
            documents: Items.
            top_n: Places to return at most.
            threshold: Lowest probability to return.
            instruction: What makes a document relevant.
            show_progress: Whether progress bars are shown for reading and judging.

        Raises:
            InputError: The query or a document cannot be judged; the message begins with its position.
            ValueError: `top_n` is negative, or `threshold` outside [0, 1].
        """
        if top_n is not None and index(top_n) < 0:
            raise ValueError(f"top_n={top_n} must not be negative")
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold={threshold} must be a probability between 0 and 1")
        margins = self.score(query, documents, instruction=instruction, output="margin", show_progress=show_progress)
        return rank_scores(margins, top_n=top_n, threshold=threshold)

    def cache_media(self, documents: Iterable[Item], *, show_progress: bool = False) -> dict[int, InputError]:  # noqa: ARG002 - of the contract
        """Computes what can be computed of documents before there is a query; unless a reranker can, nothing.

        Returns:
            The documents that cannot be read, by position.
        """
        return {}


@runtime_checkable
class PlainEmbedder(Protocol):
    """The least that `adapt_embedder` takes."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vector space."""
        ...

    def embed_queries(self, inputs: Sequence[Item], /) -> npt.NDArray[Any]:
        """Returns one vector per query, in input order."""
        ...

    def embed_documents(self, inputs: Sequence[Item], /) -> npt.NDArray[Any]:
        """Returns one vector per document, in input order."""
        ...


@runtime_checkable
class PlainReranker(Protocol):
    """The least that `adapt_reranker` takes."""

    def score(self, query: Item, documents: Sequence[Item], /) -> Sequence[float] | npt.NDArray[Any]:
        """Returns one probability in [0, 1] per document, in input order."""
        ...


def adapt_embedder(model: object) -> Embedder:
    """Returns an `Embedder`: the model itself if it is one, else what calls its `embed_queries` and `embed_documents`.

    The options of a call are refused for the latter, as it takes none.

    Raises:
        TypeError: The model has neither.
    """
    if isinstance(model, Embedder):
        return model
    if isinstance(model, PlainEmbedder):
        return _AdaptedEmbedder(model)
    raise TypeError(
        f"got {type(model).__name__}; an embedder is an object with embed_queries, embed_documents and fingerprint, as "
        "Qwen3VLEmbedder"
    )


def adapt_reranker(model: object, *, media_policy: MediaPolicy | None = None) -> Reranker:
    """Returns a `Reranker`: the model itself if it is one, else what calls its `score`.

    Args:
        model: A reranker, or an object that can only `score` a query and a list of documents. The latter is given
            images in place of pages, and is called again without a document that it refuses.
        media_policy: What may be opened to render pages for it; `None` is any local file.

    Raises:
        TypeError: The model has no `score`.
    """
    if isinstance(model, Reranker):
        return model
    if isinstance(model, PlainReranker):
        return _AdaptedReranker(model, MediaPolicy() if media_policy is None else media_policy)
    raise TypeError(f"got {type(model).__name__}; a reranker is an object with score, as Qwen3VLReranker")


class _AdaptedEmbedder(Embedder):
    """An embedder of few methods, lifted."""

    def __init__(self, model: PlainEmbedder) -> None:
        self.model = model

    @property
    def fingerprint(self) -> Fingerprint:
        return self.model.fingerprint

    @property
    def dimensions(self) -> int:
        return self.model.fingerprint.dimensions

    @property
    def media_policy(self) -> MediaPolicy:
        # Its own is not known.
        return MediaPolicy()

    def compute_fingerprint(
        self,
        *,
        input_type: InputType = "document",
        **options: Unpack[VectorOptions],
    ) -> Fingerprint:
        _refuse_options(self.model, options)
        stored = self.model.fingerprint
        # With what it embeds queries is not known.
        return stored if input_type == "document" else replace(stored, instruction=DEFAULT_QUERY_INSTRUCTION)

    # The overloads are those of the protocol.
    @implements(Embedder.embed)
    def embed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: OnError = "raise",
        **options: Unpack[EmbedOptions],
    ) -> Any:
        check_on_error(on_error)
        _refuse_options(self.model, options)
        items = list_items(inputs)
        embed = self.model.embed_queries if input_type == "query" else self.model.embed_documents
        if on_error == "raise":
            return np.asarray(embed(items)) if items else np.empty((0, self.dimensions), dtype=np.float32)

        def embed_kept(kept: list[Item]) -> list[npt.NDArray[Any]]:
            return list(np.asarray(embed(kept)))

        return _call_without_failures(embed_kept, items)

    @implements(Embedder.aembed)
    async def aembed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: OnError = "raise",
        **options: Unpack[EmbedOptions],
    ) -> Any:
        embed = cast("Any", self.embed)
        return await asyncio.to_thread(embed, inputs, input_type=input_type, on_error=on_error, **options)


class _AdaptedReranker(Reranker):
    """A reranker that can only score, lifted."""

    def __init__(self, model: PlainReranker, media_policy: MediaPolicy) -> None:
        self.model = model
        self._media_policy = media_policy

    @property
    def model_id(self) -> str:
        return type(self.model).__name__

    @implements(Reranker.score)
    def score(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        on_error: OnError = "raise",
        **options: Unpack[ScoreOptions],
    ) -> Any:
        check_on_error(on_error)
        output = options.pop("output", "probability")
        _refuse_options(self.model, options)
        items = list_items(documents)

        def judge(kept: list[Item]) -> list[float]:
            rendered = [_render_pages(item, place, self._media_policy) for place, item in enumerate(kept)]
            scores = np.asarray(self.model.score(query, rendered), dtype=np.float64)
            if not np.all((scores >= 0) & (scores <= 1)):
                raise ValueError(f"{self.model_id}.score returned {scores.tolist()}; probabilities lie between 0 and 1")
            return (compute_log_odds(scores) if output == "margin" else scores).tolist()

        if on_error == "raise":
            return np.asarray(judge(items) if items else [], dtype=np.float32)
        return _call_without_failures(judge, items)

    @implements(Reranker.ascore)
    async def ascore(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        on_error: OnError = "raise",
        **options: Unpack[ScoreOptions],
    ) -> Any:
        score = cast("Any", self.score)
        return await asyncio.to_thread(score, query, documents, on_error=on_error, **options)


def _refuse_options(model: object, options: Mapping[str, Any]) -> None:
    """Raises `ValueError` for an option that is more than a default, and that a plain object cannot be given."""
    defaults = {"precision": "float32", "normalize": True}
    for name, value in options.items():
        if name != "show_progress" and value is not None and value != defaults.get(name):
            raise ValueError(
                f"{name}={quote(value)} was given, and {type(model).__name__} takes no options with its calls; set it "
                "there"
            )


def _call_without_failures(call: Any, items: list[Item]) -> list[Any]:
    """What `call` returns for each item; it raises at the first bad one, and is called again without it."""
    failed: dict[int, InputError] = {}
    while len(failed) < len(items):
        pending = [place for place in range(len(items)) if place not in failed]
        try:
            results = call([items[place] for place in pending])
        except InputError as error:
            if error.role == "query":
                raise
            if error.index is None and len(pending) > 1:
                # The error does not say which item it is about.
                return [_call_alone(call, item, place) for place, item in enumerate(items)]
            place = pending[0 if error.index is None else error.index]
            failed[place] = error.at(place)
        else:
            found = failed | dict(zip(pending, results, strict=True))
            return [found[place] for place in range(len(items))]
    return [failed[place] for place in range(len(items))]


def _call_alone(call: Any, item: Item, place: int) -> Any:
    try:
        return call([item])[0]
    except InputError as error:
        return error.at(place)


def _render_pages(item: Item, place: int, policy: MediaPolicy) -> Item:
    """The item with an image in place of each page."""
    from qwen3_vl_retrieval.media.documents import render_page

    try:
        coerced = coerce_input(item)
        if not any(isinstance(part, ImagePart) and isinstance(part.source, DocumentPage) for part in coerced.parts):
            return item
        parts = [
            ImagePart(render_page(part.source, policy))
            if isinstance(part, ImagePart) and isinstance(part.source, DocumentPage)
            else part
            for part in coerced.parts
        ]
    except InputError as error:
        raise error.at(place, role="document") from error
    if len(parts) == 1 and coerced.instruction is None and isinstance(parts[0], ImagePart):
        return cast("Image.Image", parts[0].source)
    return MultimodalInput(parts=parts, instruction=coerced.instruction)
