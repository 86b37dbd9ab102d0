"""From items to vectors: in batches, reported to LlamaIndex's events, kept in its caches, waited for or awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt
from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.instrumentation import get_dispatcher  # pyright: ignore[reportPrivateImportUsage] - as its own modules
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.utils import get_tqdm_iterable  # pyright: ignore[reportUnknownVariableType] - items of any type
from pydantic import Field

from llama_index.embeddings.qwen3_vl.caching import VectorCache
from llama_index.embeddings.qwen3_vl.contents import describe_item
from llama_index.embeddings.qwen3_vl.models import EmbedderOptions
from llama_index.embeddings.qwen3_vl.sources import Item
from qwen3_vl_retrieval import EmbedOptions, Fingerprint, InputError, InputType

__all__ = ["ItemEmbedding", "Role", "Work"]

Role: TypeAlias = InputType
"""What a vector is for: to be found (`"document"`), or to find others (`"query"`)."""

_BATCHES_AT_ONCE = 2
"""Of one call that is awaited: one is read while another is computed."""

_DISPATCHER = get_dispatcher(__name__)


class Work(NamedTuple):
    """What is to be embedded.

    Attributes:
        values: As the caller gave them.
        build: Makes the item of one of them; called batch by batch, because pages are rendered by it.
        role: What the vectors are for.
        counted: What a position counts, in messages.
    """

    values: Sequence[Any]
    build: Callable[[Any], Item]
    role: Role = "document"
    counted: str = "item"


class _Report:
    """What an event says at its end."""

    def __init__(self) -> None:
        self.items: Sequence[Item] = ()
        self.vectors: list[Embedding] = []


class ItemEmbedding(EmbedderOptions, MultiModalEmbedding):
    """Computes the vectors of anything; the methods of LlamaIndex are in `Qwen3VLEmbedding`."""

    dimensions: int | None = Field(
        default=None, description="Length of a vector, from 32 to the hidden size, which is the default."
    )
    query_instruction: str | None = Field(
        default=None, description="What queries are to be represented for; by default the model's own."
    )
    text_instruction: str | None = Field(
        default=None,
        description="What documents, pictures and clips among them, are to be represented for; by default the model's.",
    )
    embed_batch_size: int = Field(
        default=32,
        gt=0,
        le=2048,
        description="Items that are read, and reported, at once; forward passes are cut by tokens instead.",
    )
    embeddings_cache: Any | None = Field(
        default=None,
        exclude=True,
        description="A `BaseKVStore` that keeps vectors, of media as well; by everything that they depend on.",
    )

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors of documents, for stores: they refuse vectors of another space.

        Raises:
            ModelError: The model cannot be found or loaded.
        """
        return self._identify("document")

    def _check_call_options(self) -> None:
        """Raises `ValueError` for options that the embedder does not take with its calls."""
        for role in get_args(Role):
            self._identify(role)

    def _embed_one(self, value: Any, build: Callable[[Any], Item], role: Role = "document") -> Embedding:
        try:
            return self._embed_batch(Work([value], build, role), 0)[0]
        except InputError as error:
            raise error.at(None, role="query" if role == "query" else "item") from error

    async def _aembed_one(self, value: Any, build: Callable[[Any], Item], role: Role = "document") -> Embedding:
        try:
            return (await self._aembed_batch(Work([value], build, role), 0))[0]
        except InputError as error:
            raise error.at(None, role="query" if role == "query" else "item") from error

    def _embed_all(self, work: Work, *, show_progress: bool = False) -> list[Embedding]:
        """The vectors of all values, in their order."""
        vectors: list[Embedding] = []
        starts = range(0, len(work.values), self.embed_batch_size)
        bar = cast("Iterable[int]", get_tqdm_iterable(starts, show_progress, "Generating embeddings"))
        for first in bar:
            vectors += self._embed_batch(work, first)
        return vectors

    async def _aembed_all(self, work: Work, *, show_progress: bool = False) -> list[Embedding]:
        """The same as `_embed_all`, in forward passes shared with concurrent callers."""
        limit = asyncio.Semaphore(_BATCHES_AT_ONCE if self.num_workers is None else max(1, self.num_workers))

        async def run(first: int) -> list[Embedding]:
            async with limit:
                return await self._aembed_batch(work, first)

        tasks = [asyncio.ensure_future(run(first)) for first in range(0, len(work.values), self.embed_batch_size)]
        try:
            batches = await _gather(tasks, show_progress=show_progress)
        finally:
            for task in tasks:
                task.cancel()
        return [vector for batch in batches for vector in batch]

    def _embed_batch(self, work: Work, first: int) -> list[Embedding]:
        with self._report(work, first) as report:
            report.items = self._build(work, first)
            cache = self._open_cache(work.role)
            keys = [None] * len(report.items) if cache is None else cache.list_keys(report.items)
            found = [None] * len(keys) if cache is None else cache.read(keys)
            missing = _list_missing(found)
            computed: list[Embedding] = []
            if missing:
                if self.rate_limiter is not None:
                    self.rate_limiter.acquire()
                with _place_errors(missing):
                    computed = self._compute([report.items[place] for place in missing], work.role)
                if cache is not None:
                    cache.write([keys[place] for place in missing], computed)
            report.vectors = _fill(found, missing, computed)
        return report.vectors

    async def _aembed_batch(self, work: Work, first: int) -> list[Embedding]:
        with self._report(work, first) as report:
            # In threads: pages are rendered, files are hashed, and the first use loads the model.
            report.items = await asyncio.to_thread(self._build, work, first)
            cache = await asyncio.to_thread(self._open_cache, work.role)
            keys = [None] * len(report.items)
            if cache is not None:
                keys = await asyncio.to_thread(cache.list_keys, report.items)
            found = [None] * len(keys) if cache is None else await cache.aread(keys)
            missing = _list_missing(found)
            computed: list[Embedding] = []
            if missing:
                if self.rate_limiter is not None:
                    await self.rate_limiter.async_acquire()
                with _place_errors(missing):
                    computed = await self._acompute([report.items[place] for place in missing], work.role)
                if cache is not None:
                    await cache.awrite([keys[place] for place in missing], computed)
            report.vectors = _fill(found, missing, computed)
        return report.vectors

    def _build(self, work: Work, first: int) -> list[Item]:
        items: list[Item] = []
        for place, value in enumerate(work.values[first : first + self.embed_batch_size]):
            with _place_errors([place]):
                items.append(work.build(value))
        return items

    @contextmanager
    def _report(self, work: Work, first: int) -> Generator[_Report]:
        """Start and end of a batch, as the events of LlamaIndex; errors are placed in the caller's list."""
        payload = self.to_payload()
        report = _Report()
        _DISPATCHER.event(EmbeddingStartEvent(model_dict=payload))
        with self.callback_manager.event(CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: payload}) as event:
            try:
                yield report
            except InputError as error:
                raise error.at(None if error.index is None else first + error.index, role=work.counted) from error
            chunks = [describe_item(item) for item in report.items]
            event.on_end(payload={EventPayload.CHUNKS: chunks, EventPayload.EMBEDDINGS: report.vectors})
        _DISPATCHER.event(EmbeddingEndEvent(chunks=chunks, embeddings=report.vectors))

    def _compute(self, items: list[Item], role: Role) -> list[Embedding]:
        return _to_lists(self.embedder.embed(items, input_type=role, **self._list_options(role)))

    async def _acompute(self, items: list[Item], role: Role) -> list[Embedding]:
        embedder = await asyncio.to_thread(lambda: self.embedder)
        return _to_lists(await embedder.aembed(items, input_type=role, **self._list_options(role)))

    def _list_options(self, role: Role) -> EmbedOptions:
        """What is passed with each call."""
        instruction = self.query_instruction if role == "query" else self.text_instruction
        return {"dimensions": self.dimensions, "instruction": instruction}

    def _identify(self, role: Role) -> Fingerprint:
        instruction = self.query_instruction if role == "query" else self.text_instruction
        return self.embedder.compute_fingerprint(input_type=role, dimensions=self.dimensions, instruction=instruction)

    def _open_cache(self, role: Role) -> VectorCache | None:
        if self.embeddings_cache is None:
            return None
        return VectorCache(
            self.embeddings_cache, role=role, fingerprint=self._identify(role), media_policy=self.media_policy
        )


@contextmanager
def _place_errors(places: Sequence[int]) -> Generator[None]:
    """Gives errors the positions that the items have in their batch."""
    try:
        yield
    except InputError as error:
        if error.index is None and len(places) > 1:
            raise
        raise error.at(places[0 if error.index is None else error.index]) from error


async def _gather(tasks: Sequence[asyncio.Future[list[Embedding]]], *, show_progress: bool) -> list[list[Embedding]]:
    if not show_progress:
        return list(await asyncio.gather(*tasks))
    from tqdm.asyncio import tqdm_asyncio

    gathering: Any = tqdm_asyncio
    return await gathering.gather(*tasks, desc="Generating embeddings")


def _list_missing(found: Sequence[Embedding | None]) -> list[int]:
    return [place for place, vector in enumerate(found) if vector is None]


def _fill(found: Sequence[Embedding | None], missing: Sequence[int], computed: Sequence[Embedding]) -> list[Embedding]:
    filled = dict(zip(missing, computed, strict=True))
    return [filled[place] if vector is None else vector for place, vector in enumerate(found)]


def _to_lists(vectors: npt.NDArray[Any]) -> list[Embedding]:
    """LlamaIndex has vectors as lists of Python floats."""
    return np.asarray(vectors, dtype=np.float32).tolist()
