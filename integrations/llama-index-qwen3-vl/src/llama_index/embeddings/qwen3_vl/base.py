"""Text, images, pages, videos, mixtures and nodes of them to vectors of one space, as LlamaIndex asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self, Unpack, cast, get_args

import numpy as np
import numpy.typing as npt
from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.instrumentation import get_dispatcher  # pyright: ignore[reportPrivateImportUsage] - as its own modules
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.schema import BaseNode, QueryBundle
from llama_index.core.utils import get_tqdm_iterable  # pyright: ignore[reportUnknownVariableType] - items of any type
from pydantic import Field

from llama_index.embeddings.qwen3_vl.caching import VectorCache
from llama_index.embeddings.qwen3_vl.model_component import ModelComponent, ModelOptions
from llama_index.schema.qwen3_vl.contents import describe_item
from llama_index.schema.qwen3_vl.nodes import CaptionMode, build_node_item
from llama_index.schema.qwen3_vl.queries import Query, list_query_items
from llama_index.schema.qwen3_vl.sources import ImageSource, Item, VideoSource, coerce_image, coerce_video
from qwen3_vl_retrieval import (
    Embedder,
    EmbedOptions,
    Fingerprint,
    InputError,
    InputType,
    PlainEmbedder,
    adapt_embedder,
)
from qwen3_vl_retrieval.errors import quote

__all__ = ["EmbeddingOptions", "Qwen3VLEmbedding", "require_embedding"]

_DEFAULT = "Qwen/Qwen3-VL-Embedding-2B"

_BATCHES_AT_ONCE = 2
"""Batches of one awaited call: one is read while another is computed."""

_DISPATCHER = get_dispatcher(__name__)


class EmbeddingOptions(ModelOptions, total=False):
    """The options of `Qwen3VLEmbedding` besides the model; its fields describe them, and any other fails."""

    dimensions: int | None
    query_instruction: str | None
    text_instruction: str | None
    caption_mode: CaptionMode
    embed_batch_size: int
    num_workers: int | None
    embeddings_cache: Any
    rate_limiter: Any


class _Work(NamedTuple):
    """What is to be embedded.

    Attributes:
        values: The values as the caller gave them.
        build: Makes the item of a value; called batch by batch, because it renders pages.
        role: What the vectors are for.
        counted: What a position counts, in messages.
    """

    values: Sequence[Any]
    build: Callable[[Any], Item]
    role: InputType = "document"
    counted: str = "item"


@dataclass(slots=True)
class _Report:
    """What an event says at its end."""

    items: Sequence[Item] = ()
    vectors: list[Embedding] = field(default_factory=list[Embedding])


class Qwen3VLEmbedding(ModelComponent, MultiModalEmbedding):
    """Embeds text, images, document pages, videos and any mixture of them in one vector space.

    Wherever LlamaIndex passes text on, a `str` is text, and never opened as a path. As a transformation it embeds every
    type of node by what it shows, so that it works in an `IngestionPipeline`; `VectorStoreIndex` itself only ever asks
    for texts, and takes what was embedded before: `index.insert_nodes(embedding(nodes))`. Vectors have unit length.

    ```python
    from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle, Qwen3VLEmbedding

    embedding = Qwen3VLEmbedding("Qwen/Qwen3-VL-Embedding-2B")
    photo = embedding.get_image_embedding("mug.jpg")
    mixture = embedding.get_multimodal_embedding(image="mug.jpg", text="sold out")
    query = embedding.get_query_bundle_embedding(MultiModalQueryBundle("the same in blue", images=["mug.jpg"]))
    nodes = embedding(nodes)
    ```

    The `a…` methods share forward passes between concurrent callers. `IngestionPipeline(num_workers=…)` starts
    processes, each of which loads the model again: one process is enough for one GPU.

    Args:
        model_name: Name on the hub, folder, or `pocket`.
        embedder: A ready object (`Qwen3VLEmbedder`, or any `Embedder`) in place of a name; `api_base` is the address of
            a server that has the model.
        options: The fields below, the loading options of `ModelOptions`, and those of LlamaIndex's `BaseEmbedding`.

    Raises:
        ValueError: An option is unknown or does not fit the model that was given.
    """

    model_name: str = Field(default=_DEFAULT, description="Name on the hub, folder, or `pocket`; see `embedder`.")
    dimensions: int | None = Field(
        default=None, description="Length of a vector, from 32 to the hidden size, which is the default."
    )
    query_instruction: str | None = Field(
        default=None, description="What queries are to be represented for; by default the model's own."
    )
    text_instruction: str | None = Field(
        default=None,
        description="What documents, images and videos among them, are to be represented for; by default the model's.",
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
    caption_mode: CaptionMode = Field(
        default="fuse",
        description="Whether the text of a node with an image or video is embedded with it (`fuse`), or left to "
        "language models (`image_only`). A `media_type` among its metadata goes first.",
    )

    _ready_name = "embedder"

    def __init__(
        self,
        model_name: str | Path = _DEFAULT,
        *,
        embedder: Embedder | PlainEmbedder | None = None,
        **options: Unpack[EmbeddingOptions],
    ) -> None:
        is_elsewhere = embedder is not None or options.get("api_base") is not None
        is_named = not is_elsewhere or model_name != _DEFAULT
        values: dict[str, Any] = {**options, **({"model_name": str(model_name)} if is_named else {})}
        super().__init__(**values)
        if embedder is not None:
            try:
                adapted = adapt_embedder(embedder)
            except TypeError as error:
                raise ValueError(f"{error}; give one, a name, or a folder") from error
            self._accept_ready(embedder, adapted, field="model_name", name=adapted.fingerprint.model)
            # Raises for options that the embedder does not take with its calls.
            for role in get_args(InputType):
                self._identify(role)

    @classmethod
    def class_name(cls) -> str:
        """Returns the name in serialised forms."""
        return "Qwen3VLEmbedding"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Returns everything that changes vectors, without secrets; of a ready object its fingerprint."""
        values = super().to_dict(**kwargs)
        return values if self._ready is None else values | {"fingerprint": self.fingerprint.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Returns the embedding that `to_dict` described.

        Args:
            data: As `to_dict` returned it.
            kwargs: Options that go before; `embedder` for one that was made of a ready object.

        Raises:
            ValueError: It was made of a ready object, and none is given.
            FingerprintMismatchError: The one that is given makes other vectors.
        """
        values = {**data, **kwargs}
        values.pop("class_name", None)
        stored = values.pop("fingerprint", None)
        if stored is None:
            return cls(**values)
        if values.get("embedder") is None:
            raise ValueError(
                f"this embedding was made of a ready {quote(values['model_name'])}, which is not serialised; give it: "
                "from_dict(data, embedder=…)"
            )
        made = cls(**values)
        made.fingerprint.require_match(Fingerprint.from_dict(stored))
        return made

    @property
    def embedder(self) -> Embedder:
        """The embedder, loaded at first use; the same object for all who name the same model and options.

        Raises:
            ModelError: The model cannot be found or loaded.
        """
        # Of two threads that come here both get one object.
        if self._engine is None and self.api_base is not None:
            from qwen3_vl_retrieval.remote import share_remote_embedder

            self._engine = share_remote_embedder(self.api_base, **self._list_remote_options("model_name"))
        elif self._engine is None:
            # Loads torch, which this module does not.
            from qwen3_vl_retrieval import share_embedder

            self._engine = share_embedder(self.model_name, **self._list_share_options())
        return self._engine

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the document vectors; stores refuse vectors of another space.

        Raises:
            ModelError: The model cannot be found or loaded.
        """
        return self._identify("document")

    def get_query_embedding(self, query: str) -> Embedding:
        """Returns the vector of a text that is to find others; for other queries see `get_query_bundle_embedding`."""
        return self._embed_one(query, _pass_text, "query")

    async def aget_query_embedding(self, query: str) -> Embedding:
        """Returns the same as `get_query_embedding`, in forward passes shared with concurrent callers."""
        return await self._aembed_one(query, _pass_text, "query")

    def get_text_embedding(self, text: str) -> Embedding:
        """Returns the vector of a text; one that looks like a path or URL is a text, too."""
        return self._embed_one(text, _pass_text)

    async def aget_text_embedding(self, text: str) -> Embedding:
        """Returns the same as `get_text_embedding`, in forward passes shared with concurrent callers."""
        return await self._aembed_one(text, _pass_text)

    def get_text_embedding_batch(
        self,
        texts: Sequence[str],
        show_progress: bool = False,
        **kwargs: Any,  # noqa: ARG002 - of the interface
    ) -> list[Embedding]:
        """Returns the vectors of texts, in their order.

        Raises:
            InputError: A text cannot be embedded; the message begins with its position.
        """
        return self._embed_all(_Work(texts, _pass_text), show_progress=show_progress)

    async def aget_text_embedding_batch(
        self,
        texts: Sequence[str],
        show_progress: bool = False,
        **kwargs: Any,  # noqa: ARG002 - of the interface
    ) -> list[Embedding]:
        """Returns the same as `get_text_embedding_batch`, in forward passes shared with concurrent callers."""
        return await self._aembed_all(_Work(texts, _pass_text), show_progress=show_progress)

    def get_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        """Returns the vector of an image that is to be found.

        Args:
            img_file_path: A path, URL or `data:` URI (`str`), `Path`, bytes, `BytesIO`, PIL image or array.

        Raises:
            InputError: It cannot be read, or the `MediaPolicy` refuses it.
        """
        return self._embed_one(img_file_path, _wrap_image)

    async def aget_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        """Returns the same as `get_image_embedding`, in forward passes shared with concurrent callers."""
        return await self._aembed_one(img_file_path, _wrap_image)

    def get_image_embedding_batch(
        self, img_file_paths: Sequence[ImageSource], show_progress: bool = False
    ) -> list[Embedding]:
        """Returns the vectors of images, in their order; errors begin with the position."""
        return self._embed_all(_Work(img_file_paths, _wrap_image), show_progress=show_progress)

    async def aget_image_embedding_batch(
        self, img_file_paths: Sequence[ImageSource], show_progress: bool = False
    ) -> list[Embedding]:
        """Returns the same as `get_image_embedding_batch`, in forward passes shared with concurrent callers."""
        return await self._aembed_all(_Work(img_file_paths, _wrap_image), show_progress=show_progress)

    def get_video_embedding(self, video_path: VideoSource) -> Embedding:
        """Returns the vector of a video that is to be found.

        Args:
            video_path: As an image, or the list of its frames. For a window of a video, embed a node with `start` and
                `end` among its metadata.

        Raises:
            InputError: It cannot be read, or the `MediaPolicy` refuses it.
        """
        return self._embed_one(video_path, _wrap_video)

    async def aget_video_embedding(self, video_path: VideoSource) -> Embedding:
        """Returns the same as `get_video_embedding`, in forward passes shared with concurrent callers."""
        return await self._aembed_one(video_path, _wrap_video)

    def get_video_embeddings(self, video_paths: Sequence[VideoSource], show_progress: bool = False) -> list[Embedding]:
        """Returns the vectors of videos, in their order; errors begin with the position."""
        return self._embed_all(_Work(video_paths, _wrap_video), show_progress=show_progress)

    async def aget_video_embeddings(
        self, video_paths: Sequence[VideoSource], show_progress: bool = False
    ) -> list[Embedding]:
        """Returns the same as `get_video_embeddings`, in forward passes shared with concurrent callers."""
        return await self._aembed_all(_Work(video_paths, _wrap_video), show_progress=show_progress)

    def get_multimodal_embedding(
        self,
        *,
        text: str | None = None,
        image: ImageSource | Sequence[ImageSource] | None = None,
        video: VideoSource | None = None,
        instruction: str | None = None,
    ) -> Embedding:
        """Returns one vector of all that is given, which is to be found.

        Args:
            text: Text.
            image: An image or a list of them, see `get_image_embedding`.
            video: A video, see `get_video_embedding`.
            instruction: What this is to be represented for; goes before `text_instruction`.

        Raises:
            InputError: Nothing is given, or it cannot be read.
        """
        mixture = {"text": text, "image": image, "video": video, "instruction": instruction}
        return self._embed_one(mixture, _wrap_mixture)

    async def aget_multimodal_embedding(
        self,
        *,
        text: str | None = None,
        image: ImageSource | Sequence[ImageSource] | None = None,
        video: VideoSource | None = None,
        instruction: str | None = None,
    ) -> Embedding:
        """Returns the same as `get_multimodal_embedding`, in forward passes shared with concurrent callers."""
        mixture = {"text": text, "image": image, "video": video, "instruction": instruction}
        return await self._aembed_one(mixture, _wrap_mixture)

    def get_multimodal_embedding_batch(
        self, items: Sequence[Mapping[str, Any] | Item], show_progress: bool = False
    ) -> list[Embedding]:
        """Returns the vectors of mixtures, in their order; errors begin with the position.

        Args:
            items: Dicts with the arguments of `get_multimodal_embedding`, or any other items of the core.
            show_progress: Show a progress bar.
        """
        return self._embed_all(_Work(items, _wrap_mixture), show_progress=show_progress)

    async def aget_multimodal_embedding_batch(
        self, items: Sequence[Mapping[str, Any] | Item], show_progress: bool = False
    ) -> list[Embedding]:
        """Returns the same as `get_multimodal_embedding_batch`, in forward passes shared with concurrent callers."""
        return await self._aembed_all(_Work(items, _wrap_mixture), show_progress=show_progress)

    def get_query_bundle_embedding(self, bundle: Query) -> Embedding:
        """Returns the vector of a query of text, images and videos.

        If it has an `embedding` already, that is returned; of several `custom_embedding_strs` it is their mean, as in
        LlamaIndex, at unit length.

        Args:
            bundle: A `QueryBundle` with or without `image_path`, a `MultiModalQueryBundle`, or see `Query`.

        Raises:
            InputError: The query is empty, or cannot be read.
        """
        known = _find_known(bundle)
        if known is not None:
            return known
        items = self._list_items(bundle)
        if len(items) == 1:
            return self._embed_one(items[0], _pass_item, "query")
        return _average(self._embed_all(_Work(items, _pass_item, "query", "query")))

    async def aget_query_bundle_embedding(self, bundle: Query) -> Embedding:
        """Returns the same as `get_query_bundle_embedding`, in forward passes shared with concurrent callers."""
        known = _find_known(bundle)
        if known is not None:
            return known
        # In a thread: a node that is a page is rendered here.
        items = await asyncio.to_thread(self._list_items, bundle)
        if len(items) == 1:
            return await self._aembed_one(items[0], _pass_item, "query")
        return _average(await self._aembed_all(_Work(items, _pass_item, "query", "query")))

    def get_node_embeddings(self, nodes: Sequence[BaseNode], show_progress: bool = False) -> list[Embedding]:
        """Returns the vectors of nodes of any type by what they show, in their order; the nodes are left alone.

        What is seen of each type is said at `build_node_item`.

        Raises:
            InputError: A node cannot be embedded; the message begins with its position.
        """
        return self._embed_all(_Work(nodes, self._wrap_node, "document", "node"), show_progress=show_progress)

    async def aget_node_embeddings(self, nodes: Sequence[BaseNode], show_progress: bool = False) -> list[Embedding]:
        """Returns the same as `get_node_embeddings`, in forward passes shared with concurrent callers."""
        return await self._aembed_all(_Work(nodes, self._wrap_node, "document", "node"), show_progress=show_progress)

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Sets the `embedding` of each node, see `get_node_embeddings`, and returns the nodes."""
        # Indexes pass all of their options on to every transformation.
        show_progress = kwargs.get("show_progress", False)
        return _set_embeddings(nodes, self.get_node_embeddings(nodes, show_progress))

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Does the same, in forward passes shared with concurrent callers."""
        show_progress = kwargs.get("show_progress", False)
        return _set_embeddings(nodes, await self.aget_node_embeddings(nodes, show_progress))

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._compute([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._acompute([query], "query"))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._compute([text], "document")[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._acompute([text], "document"))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._compute([*texts], "document")

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._acompute([*texts], "document")

    def _get_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        return self._compute([_wrap_image(img_file_path)], "document")[0]

    async def _aget_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        return (await self._acompute([_wrap_image(img_file_path)], "document"))[0]

    def _get_image_embeddings(self, img_file_paths: Sequence[ImageSource]) -> list[Embedding]:
        return self._compute([_wrap_image(source) for source in img_file_paths], "document")

    async def _aget_image_embeddings(self, img_file_paths: Sequence[ImageSource]) -> list[Embedding]:
        return await self._acompute([_wrap_image(source) for source in img_file_paths], "document")

    def _wrap_node(self, node: BaseNode) -> Item:
        return build_node_item(node, caption_mode=self.caption_mode, media_policy=self.media_policy)

    def _list_items(self, query: Query) -> list[Item]:
        return list_query_items(query, media_policy=self.media_policy)

    def _embed_one(self, value: Any, build: Callable[[Any], Item], role: InputType = "document") -> Embedding:
        try:
            return self._embed_batch(_Work([value], build, role), 0)[0]
        except InputError as error:
            raise error.at(None, role="query" if role == "query" else "item") from error

    async def _aembed_one(self, value: Any, build: Callable[[Any], Item], role: InputType = "document") -> Embedding:
        try:
            return (await self._aembed_batch(_Work([value], build, role), 0))[0]
        except InputError as error:
            raise error.at(None, role="query" if role == "query" else "item") from error

    def _embed_all(self, work: _Work, *, show_progress: bool = False) -> list[Embedding]:
        """The vectors of all values, in their order."""
        vectors: list[Embedding] = []
        starts = range(0, len(work.values), self.embed_batch_size)
        bar = cast("Iterable[int]", get_tqdm_iterable(starts, show_progress, "Generating embeddings"))
        for first in bar:
            vectors += self._embed_batch(work, first)
        return vectors

    async def _aembed_all(self, work: _Work, *, show_progress: bool = False) -> list[Embedding]:
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

    def _embed_batch(self, work: _Work, first: int) -> list[Embedding]:
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

    async def _aembed_batch(self, work: _Work, first: int) -> list[Embedding]:
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

    def _build(self, work: _Work, first: int) -> list[Item]:
        items: list[Item] = []
        for place, value in enumerate(work.values[first : first + self.embed_batch_size]):
            with _place_errors([place]):
                items.append(work.build(value))
        return items

    @contextmanager
    def _report(self, work: _Work, first: int) -> Generator[_Report]:
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

    def _compute(self, items: list[Item], role: InputType) -> list[Embedding]:
        return _to_lists(self.embedder.embed(items, input_type=role, **self._list_options(role)))

    async def _acompute(self, items: list[Item], role: InputType) -> list[Embedding]:
        embedder = await asyncio.to_thread(lambda: self.embedder)
        return _to_lists(await embedder.aembed(items, input_type=role, **self._list_options(role)))

    def _list_options(self, role: InputType) -> EmbedOptions:
        """What is passed with each call."""
        instruction = self.query_instruction if role == "query" else self.text_instruction
        return {"dimensions": self.dimensions, "instruction": instruction}

    def _identify(self, role: InputType) -> Fingerprint:
        instruction = self.query_instruction if role == "query" else self.text_instruction
        return self.embedder.compute_fingerprint(input_type=role, dimensions=self.dimensions, instruction=instruction)

    def _open_cache(self, role: InputType) -> VectorCache | None:
        if self.embeddings_cache is None:
            return None
        return VectorCache(
            self.embeddings_cache, role=role, fingerprint=self._identify(role), media_policy=self.media_policy
        )


def _pass_text(text: str) -> Item:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not use a type checker
        raise InputError(
            f"got {type(text).__name__} where only text is taken; images go to get_image_embedding, bundles to "
            "get_query_bundle_embedding, nodes to get_node_embeddings"
        )
    return text


def _wrap_image(source: ImageSource) -> Item:
    return {"image": coerce_image(source)}


def _pass_item(item: Item) -> Item:
    return item


def _wrap_video(source: VideoSource) -> Item:
    return {"video": coerce_video(source)}


def _wrap_mixture(item: Mapping[str, Any] | Item) -> Item:
    """The item of a dict of the arguments, where images and videos may be streams; of any other item that."""
    if not isinstance(item, Mapping):
        return item
    given = {name: value for name, value in item.items() if value is not None}
    if "image" in given:
        images = given["image"]
        is_list = isinstance(images, (list, tuple))
        given["image"] = [coerce_image(image) for image in cast("Any", images)] if is_list else coerce_image(images)
    if "video" in given:
        given["video"] = coerce_video(given["video"])
    return given


def _find_known(query: Query) -> Embedding | None:
    return query.embedding if isinstance(query, QueryBundle) else None


def _average(vectors: Sequence[Embedding]) -> Embedding:
    mean = np.mean(np.asarray(vectors, dtype=np.float32), axis=0)
    return (mean / np.linalg.norm(mean)).tolist()


def _set_embeddings(nodes: Sequence[BaseNode], vectors: Sequence[Embedding]) -> Sequence[BaseNode]:
    for node, vector in zip(nodes, vectors, strict=True):
        node.embedding = vector
    return nodes


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


def require_embedding(embed_model: Any) -> Qwen3VLEmbedding:
    """Returns the embedding.

    Raises:
        ValueError: It is missing or of another kind.
    """
    if isinstance(embed_model, Qwen3VLEmbedding):
        return embed_model
    got = "embed_model is missing" if embed_model is None else f"embed_model is {type(embed_model).__name__}"
    raise ValueError(
        f"{got}: images, videos and texts share one vector space through a Qwen3VLEmbedding; give "
        "embed_model=Qwen3VLEmbedding(…), or set Settings.embed_model to one"
    )
