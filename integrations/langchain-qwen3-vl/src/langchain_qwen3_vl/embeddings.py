"""Text, images, videos and mixtures of them to vectors, as LangChain asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, Unpack, cast, get_args, overload

import numpy as np
import numpy.typing as npt
from langchain_core.embeddings import Embeddings
from pydantic import Field, SecretStr, model_validator

from langchain_qwen3_vl.contents import (
    SINGLE_SOURCES,
    Item,
    LangChainItem,
    MediaSource,
    VideoOptions,
    coerce_each,
    coerce_item,
    coerce_items,
    wrap_media,
)
from langchain_qwen3_vl.models import MODEL_NAMES, NamedModel
from langchain_qwen3_vl.tracing import RecordVectors, trace_embedding
from qwen3_vl_retrieval import (
    Embedder,
    EmbedOptions,
    Fingerprint,
    InputError,
    InputType,
    ShareOptions,
    adapt_embedder,
)
from qwen3_vl_retrieval.errors import quote

__all__ = ["Qwen3VLEmbeddings", "VectorOrError"]

VectorOrError: TypeAlias = "npt.NDArray[np.float32] | InputError"


class Qwen3VLEmbeddings(NamedModel, Embeddings):
    """Embeds text, images, document pages, videos and any mixture of them in one vector space.

    Wherever a LangChain class passes text on, a `str` is text, and never opened as a path; everything else that
    `LangChainItem` names is embedded as what it is. Vectors are lists of Python floats of unit length.

    ```python
    from langchain_qwen3_vl import Qwen3VLEmbeddings

    embeddings = Qwen3VLEmbeddings(model="Qwen/Qwen3-VL-Embedding-2B")
    vectors = embeddings.embed_documents(["An invoice", {"image": "invoice.png", "text": "scan of May"}])
    query = embeddings.embed_query([{"type": "text", "text": "the same as this"}, {"type": "image", "url": data_uri}])
    images = embeddings.embed_image(uris=["invoice.png"])
    ```

    The `a…` methods share forward passes between concurrent callers.

    Raises:
        ValueError: An option is unknown or does not fit the model that was given.
    """

    model: Any = Field(
        default="Qwen/Qwen3-VL-Embedding-2B",
        validation_alias=MODEL_NAMES,
        description="Name on the hub, folder, `pocket`, or a ready object (`Qwen3VLEmbedder`, or any `Embedder`).",
    )
    dimensions: int | None = Field(
        default=None, description="Length of a vector, from 32 to the hidden size, which is the default."
    )
    query_instruction: str | None = Field(
        default=None, description="What queries are to be represented for; by default the model's own."
    )
    document_instruction: str | None = Field(
        default=None, description="What documents are to be represented for; by default the model's own."
    )
    media_key: str | None = Field(
        default=None, description="Name of a metadatum that holds the image or video of a `Document`."
    )
    show_progress: bool = Field(default=False, description="Show progress bars while documents are embedded.")
    tracing: bool = Field(
        default=False, description="Record calls in LangSmith, where it is switched on; media as short descriptions."
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            model: Any = ...,
            model_name: Any = ...,
            base_url: str | None = None,
            api_key: SecretStr | None = ...,
            dimensions: int | None = None,
            query_instruction: str | None = None,
            document_instruction: str | None = None,
            media_key: str | None = None,
            show_progress: bool = False,
            tracing: bool = False,
            **options: Unpack[ShareOptions],
        ) -> None: ...

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if not self._is_named:
            # What a ready embedder cannot do is said now.
            for kind in get_args(InputType):
                options = self._list_options(kind)
                self.embedder.compute_fingerprint(
                    input_type=kind, dimensions=options.get("dimensions"), instruction=options.get("instruction")
                )
        return self

    @property
    def model_name(self) -> str:
        """Name of the model, for reports and traces."""
        return str(self.model) if self._names_model else self.embedder.fingerprint.model

    @property
    def embedder(self) -> Embedder:
        """The embedder, loaded at first use; the same object for all who name the same model and options.

        Raises:
            ModelError: The model cannot be found or loaded.
        """
        # Two threads may both come here; they are given one object.
        if self._engine is None:
            self._engine = self._load()
        return self._engine

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors of documents, for stores, which refuse vectors of another space.

        Raises:
            ModelError: The model cannot be found or loaded.
        """
        return self.embedder.compute_fingerprint(dimensions=self.dimensions, instruction=self.document_instruction)

    def embed_documents(self, texts: Sequence[LangChainItem]) -> list[list[float]]:
        """Returns one vector per document, in their order.

        Args:
            texts: Texts, or any other items, see `LangChainItem`.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
        """
        return self.embed_documents_array(texts).tolist()

    def embed_query(self, text: LangChainItem) -> list[float]:
        """Returns the vector of a query.

        Args:
            text: A text, or any other item, see `LangChainItem`.

        Raises:
            InputError: The query cannot be embedded.
        """
        return self.embed_query_array(text).tolist()

    async def aembed_documents(self, texts: Sequence[LangChainItem]) -> list[list[float]]:
        """Returns the same as `embed_documents`, in forward passes shared with concurrent callers."""
        return (await self.aembed_documents_array(texts)).tolist()

    async def aembed_query(self, text: LangChainItem) -> list[float]:
        """Returns the same as `embed_query`, in forward passes shared with concurrent callers."""
        return (await self.aembed_query_array(text)).tolist()

    def embed_documents_array(self, items: Iterable[LangChainItem]) -> npt.NDArray[np.float32]:
        """Returns the vectors of `embed_documents` as an array, `(n, dimensions)`."""
        return self._embed(self._coerce(items), "document")

    def embed_each_document(self, items: Iterable[LangChainItem]) -> list[VectorOrError]:
        """Returns the vector of each document, or the `InputError` of one that cannot be embedded, in their order.

        The others are embedded once, in one call. Errors carry their position in `index`.
        """
        coerced = coerce_each(items, media_key=self.media_key, media_policy=self.media_policy)
        known = [item for item in coerced if not isinstance(item, InputError)]
        embedder = self.embedder
        with self._trace(known, "document") as record:
            embedded = embedder.embed(known, on_error="return", **self._list_options("document"))
            vectors = [outcome for outcome in embedded if not isinstance(outcome, InputError)]
            record(np.array(vectors))
        waiting = iter(embedded)
        outcomes = [item if isinstance(item, InputError) else next(waiting) for item in coerced]
        return [
            outcome.at(place) if isinstance(outcome, InputError) else outcome for place, outcome in enumerate(outcomes)
        ]

    def embed_query_array(self, item: LangChainItem) -> npt.NDArray[np.float32]:
        """Returns the vector of `embed_query` as an array, `(dimensions,)`."""
        try:
            return self._embed([self._coerce_query(item)], "query")[0]
        except InputError as error:
            raise error.at(None, role="query") from error

    async def aembed_documents_array(self, items: Iterable[LangChainItem]) -> npt.NDArray[np.float32]:
        """Returns the same as `embed_documents_array`, in forward passes shared with concurrent callers."""
        # In a thread: the page of a document is rendered here.
        return await self._aembed(await asyncio.to_thread(self._coerce, items), "document")

    async def aembed_query_array(self, item: LangChainItem) -> npt.NDArray[np.float32]:
        """Returns the same as `embed_query_array`, in forward passes shared with concurrent callers."""
        try:
            coerced = await asyncio.to_thread(self._coerce_query, item)
            return (await self._aembed([coerced], "query"))[0]
        except InputError as error:
            raise error.at(None, role="query") from error

    @overload
    def embed_image(self, uris: MediaSource, *, kind: InputType = "document") -> list[float]: ...

    @overload
    def embed_image(self, uris: Iterable[MediaSource], *, kind: InputType = "document") -> list[list[float]]: ...

    def embed_image(
        self, uris: MediaSource | Iterable[MediaSource], *, kind: InputType = "document"
    ) -> list[float] | list[list[float]]:
        """Returns one vector per image; of a single image, its vector.

        Args:
            uris: Images. A `str` is a path or URI here.
            kind: Whether they are to be found, or to find others.

        Raises:
            InputError: An image cannot be read; in a list, the message begins with its position.
        """
        return self._embed_media(uris, "image", {}, kind)

    embed_images = embed_image
    """The same: some vector stores ask by this name."""

    @overload
    def embed_video(
        self, uris: MediaSource, *, kind: InputType = "document", **options: Unpack[VideoOptions]
    ) -> list[float]: ...

    @overload
    def embed_video(
        self, uris: Iterable[MediaSource], *, kind: InputType = "document", **options: Unpack[VideoOptions]
    ) -> list[list[float]]: ...

    def embed_video(
        self,
        uris: MediaSource | Iterable[MediaSource],
        *,
        kind: InputType = "document",
        **options: Unpack[VideoOptions],
    ) -> list[float] | list[list[float]]:
        """Returns one vector per video; of a single video, its vector.

        Args:
            uris: Videos. A `str` is a path or URI here; a video in a list may be a list of images, its frames.
            kind: Whether they are to be found, or to find others.
            options: `fps`, `max_frames`, and `start` and `end` in seconds, of all of them.

        Raises:
            InputError: A video cannot be read; in a list, the message begins with its position.
        """
        return self._embed_media(uris, "video", options, kind)

    embed_videos = embed_video

    def embed_content_blocks(
        self, items: Iterable[LangChainItem], *, kind: InputType = "document"
    ) -> list[list[float]]:
        """Returns one vector per item, in their order.

        Args:
            items: Each a content block or a list of them in reading order, or any other item, see `LangChainItem`.
            kind: Whether they are to be found, or to find others.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
        """
        return self._embed(self._coerce(items), kind).tolist()

    async def aembed_content_blocks(
        self, items: Iterable[LangChainItem], *, kind: InputType = "document"
    ) -> list[list[float]]:
        """Returns the same as `embed_content_blocks`, in forward passes shared with concurrent callers."""
        return (await self._aembed(await asyncio.to_thread(self._coerce, items), kind)).tolist()

    def _load(self) -> Embedder:
        if not self._is_named:
            return adapt_embedder(self.model)
        if self.base_url is not None:
            from qwen3_vl_retrieval.remote import share_remote_embedder

            return share_remote_embedder(self.base_url, **self._list_remote_options())
        # Loads torch, which this module does not.
        from qwen3_vl_retrieval import share_embedder

        return share_embedder(self.model, **self._list_share_options())

    def _embed_media(
        self, uris: object, medium: Literal["image", "video"], options: VideoOptions, kind: InputType
    ) -> Any:
        if isinstance(uris, SINGLE_SOURCES):
            source = cast("object", uris)
            try:
                return self._embed([wrap_media(source, medium, options)], kind)[0].tolist()
            except InputError as error:
                raise error.at(None) from error
        sources = cast("Iterable[object]", uris)
        return self._embed([wrap_media(source, medium, options) for source in sources], kind).tolist()

    def _coerce(self, items: Iterable[object]) -> list[Item]:
        return coerce_items(items, media_key=self.media_key, media_policy=self.media_policy)

    def _coerce_query(self, item: object) -> Item:
        return coerce_item(item, media_key=self.media_key, media_policy=self.media_policy)

    def _embed(self, items: list[Item], kind: InputType) -> npt.NDArray[np.float32]:
        embedder = self.embedder
        with self._trace(items, kind) as record:
            vectors = np.asarray(embedder.embed(items, **self._list_options(kind), input_type=kind), dtype=np.float32)
            record(vectors)
        return vectors

    async def _aembed(self, items: list[Item], kind: InputType) -> npt.NDArray[np.float32]:
        # In a thread: the first use loads the model.
        embedder = await asyncio.to_thread(lambda: self.embedder)
        with self._trace(items, kind) as record:
            embedded = await embedder.aembed(items, **self._list_options(kind), input_type=kind)
            vectors = np.asarray(embedded, dtype=np.float32)
            record(vectors)
        return vectors

    def _list_options(self, kind: InputType) -> EmbedOptions:
        if kind not in get_args(InputType):
            raise ValueError(f'kind={quote(kind)} is unknown; allowed are "document" and "query"')
        return {
            "dimensions": self.dimensions,
            "instruction": self.query_instruction if kind == "query" else self.document_instruction,
            "show_progress": self.show_progress and kind == "document",
        }

    def _trace(self, items: list[Item], kind: InputType) -> AbstractContextManager[RecordVectors]:
        if not self.tracing:
            return nullcontext(lambda _: None)
        return trace_embedding(
            items, name=type(self).__name__, kind=kind, model=self.model_name, dimensions=self.dimensions
        )
