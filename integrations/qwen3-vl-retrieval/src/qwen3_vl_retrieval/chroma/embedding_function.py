"""Qwen3-VL vectors in collections of plain Chroma, for programs that use chromadb without `MultimodalIndex`.

Importing this module imports chromadb and makes the function known to it, so that collections can be opened by their
names alone; torch is imported with the first vector.

What Chroma 1.5.9 does and does not do: a record is embedded from exactly one of `documents`, `images` and `uris`, and
captions go into the metadata; `upsert` refuses `uris` and `update` does not embed them; a data loader is not kept with
a collection; a function given to `get_collection` is compared by its name only, see `check_collection`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from chromadb.api.types import EmbeddingFunction, Space
from chromadb.utils.embedding_functions import (
    register_embedding_function,  # pyright: ignore[reportUnknownVariableType] - has no annotations
)

from qwen3_vl_retrieval.chroma.directory import read_stamp
from qwen3_vl_retrieval.errors import InputError, StoreError, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import ImageReading, Item
from qwen3_vl_retrieval.media.images import check_image_reading, read_image
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.prompting.prompts import DEFAULT_QUERY_INSTRUCTION, normalize_instruction
from qwen3_vl_retrieval.protocols import Embedder, PlainEmbedder, adapt_embedder

__all__ = ["DEFAULT_MODEL", "MediaUriLoader", "Qwen3VLEmbeddingFunction"]

DEFAULT_MODEL = "Qwen/Qwen3-VL-Embedding-2B"
_NAME = "qwen3_vl"
_CONFIG_NAMES = ("model", "revision", "model_hub", "dtype", "quantization", "query_instruction", "fingerprint")


class _Weights(NamedTuple):
    """What functions must have in common to share a model."""

    model: str = DEFAULT_MODEL
    revision: str | None = None
    model_hub: Literal["huggingface", "modelscope"] = "huggingface"
    device: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    image_reading: ImageReading = "viewer"


@register_embedding_function
class Qwen3VLEmbeddingFunction(EmbeddingFunction[Any]):
    """Embeds documents (texts), images (arrays) and what a loader makes of URIs; give it to a Chroma collection.

    The model is loaded when the first vector is asked for, or when a collection is created, because its fingerprint is
    kept with the collection. Functions of the same model, revision, device and dtype share one copy of it.

    A collection remembers the function by `get_config`: names, never a token or a device. Opened without a function, it
    loads the same model and refuses it if its vectors would be others, for instance because a ready embedder with other
    limits than its names give wrote them; then pass `embedding_function` again. If the model cannot be loaded while a
    collection is created, Chroma only warns, and the collection remembers nothing: `check_collection` finds out.

    Args:
        embedder: A ready embedder; excludes all other arguments but `fingerprint`.
        model: Hub id, folder, or `"pocket"`.
        revision: Commit, tag or branch of the hub; collections remember the commit.
        model_hub: `"huggingface"` or `"modelscope"`.
        token: Access token of the hub, for private models.
        device: As in `Qwen3VLEmbedder.from_pretrained`.
        dtype: Likewise; kept with a collection, as is `quantization`.
        quantization: Likewise, by name.
        dimensions: Length of a vector; `None` is the hidden size.
        document_instruction: Instruction of stored records; `None` is the embedder's own.
        query_instruction: Instruction of queries; `None` is the embedder's own.
        image_reading: As in `Qwen3VLEmbedder`; collections remember it with the fingerprint.
        fingerprint: What the vectors must be; `None` accepts any.

    Raises:
        ValueError: `embedder` is given with what it excludes.
        FingerprintMismatchError: `embedder` makes other vectors than `fingerprint` says.
    """

    def __init__(
        self,
        *,
        embedder: Embedder | PlainEmbedder | None = None,
        model: str = DEFAULT_MODEL,
        revision: str | None = None,
        model_hub: Literal["huggingface", "modelscope"] = "huggingface",
        token: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        quantization: str | None = None,
        dimensions: int | None = None,
        document_instruction: str | None = None,
        query_instruction: str | None = None,
        image_reading: ImageReading = "viewer",
        fingerprint: Fingerprint | None = None,
    ) -> None:
        self._weights = _Weights(model, revision, model_hub, device, dtype, quantization, image_reading)
        options = (token, dimensions, document_instruction, query_instruction)
        if embedder is not None and (self._weights, *options) != (_Weights(), None, None, None, None):
            raise ValueError("embedder was given together with arguments for loading another; leave those out")
        self._token, self._dimensions, self._document_instruction, self._query_instruction = options
        self._fingerprint = fingerprint
        self._is_ready = embedder is not None
        self._embedder = None if embedder is None else self._check_fingerprint(adapt_embedder(embedder))

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors of stored records; the model is loaded for it if it is not known yet."""
        if self._fingerprint is None:
            self._load()
        return cast("Fingerprint", self._fingerprint)

    def __call__(self, input: Sequence[str | npt.NDArray[Any] | None]) -> list[npt.NDArray[Any]]:  # noqa: A002 - Chroma's name
        """Returns one float32 vector per record, a text or an image as uint8 array (height, width, 3), in input order.

        Raises:
            InputError: A record cannot be embedded; the message begins with its position.
            ModelError: The model cannot be found or loaded.
            FingerprintMismatchError: It makes other vectors than those that are stored.
        """
        return self._embed(input, is_query=False)

    def embed_query(self, input: Sequence[str | npt.NDArray[Any] | None]) -> list[npt.NDArray[Any]]:  # noqa: A002 - Chroma's name
        """Returns and raises the same as calling the function, with the query instruction."""
        return self._embed(input, is_query=True)

    @staticmethod
    def name() -> str:
        """Returns the name that collections remember."""
        return _NAME

    def default_space(self) -> Space:
        """Returns the distance of new collections."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Returns all distances: they order vectors of unit length alike."""
        return ["cosine", "l2", "ip"]

    def is_legacy(self) -> bool:
        """Returns that collections can remember this function; Chroma's own answer would load the model to find out."""
        return False

    def get_config(self) -> dict[str, Any]:
        """Returns what a collection remembers, for JSON and without secrets; see `build_from_config`.

        Raises:
            ModelError: The model, whose fingerprint belongs to it, cannot be found or loaded.
        """
        fingerprint = self.fingerprint
        commit, _, quantization = fingerprint.revision.partition("+")
        query_instruction = normalize_instruction(self._query_instruction, default=DEFAULT_QUERY_INSTRUCTION)
        if self._embedder is not None:
            asked = self._embedder.compute_fingerprint(input_type="query", instruction=self._query_instruction)
            query_instruction = asked.instruction
        return {
            "model": fingerprint.model if self._is_ready else self._weights.model,
            # A hash of weights tells them apart, but no hub finds them by it.
            "revision": self._weights.revision if commit.startswith("sha256:") else commit,
            "model_hub": self._weights.model_hub,
            "dtype": self._weights.dtype,
            "quantization": quantization if quantization else None,
            "query_instruction": query_instruction,
            "fingerprint": fingerprint.to_dict(),
        }

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Qwen3VLEmbeddingFunction:
        """Returns the function that `get_config` describes; its model is loaded when the first vector is asked for.

        Raises:
            StoreError: The configuration is of another version, or not ours.
        """
        Qwen3VLEmbeddingFunction.validate_config(config)
        fingerprint = Fingerprint.from_dict(config["fingerprint"])
        names: dict[str, Any] = {**config, "fingerprint": fingerprint}
        return Qwen3VLEmbeddingFunction(
            **names,
            dimensions=fingerprint.dimensions,
            document_instruction=fingerprint.instruction,
            image_reading=check_image_reading(fingerprint.image_reading),
        )

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raises an error if anything in `config` is missing or unknown.

        Raises:
            StoreError: A name is missing or unknown.
        """
        if set(config) != set(_CONFIG_NAMES):
            raise StoreError(f"not a configuration of this version: got {list(config)}, expected {_CONFIG_NAMES}")
        Fingerprint.from_dict(config["fingerprint"])

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Raises an error unless vectors by the new configuration may be compared with those by the old one.

        Chroma 1.5.9 asks when `modify` has written the new one: after a refusal, give `modify` the old function again.

        Raises:
            FingerprintMismatchError: They come from different vector spaces.
        """
        stored, now = (Fingerprint.from_dict(config["fingerprint"]) for config in (old_config, new_config))
        now.require_match(stored)

    def check_collection(self, collection: Any) -> None:
        """Checks that vectors of `collection`, of chromadb, compare with this function's.

        A collection says so by the function that it remembers, or by the fingerprint that the adapters write.

        Raises:
            StoreError: if it remembers another function, or says nothing.
            FingerprintMismatchError: if its vectors come from another vector space.
        """
        stamp = read_stamp(collection)
        if stamp is not None:
            self.fingerprint.require_match(stamp)
            return
        stored: dict[str, Any] = collection.configuration_json.get("embedding_function") or {}
        if stored.get("name") != _NAME:
            raise StoreError(
                f"the collection {quote(collection.name)} remembers {stored} instead of this embedding "
                "function; create one with it, and add the records again"
            )
        self.validate_config_update(stored["config"], self.get_config())

    def _embed(self, records: Sequence[Any], *, is_query: bool) -> list[npt.NDArray[Any]]:
        items, embedder = [_read_record(record, index) for index, record in enumerate(records)], self._load()
        instruction = self._query_instruction if is_query else self._document_instruction
        input_type = "query" if is_query else "document"
        vectors = embedder.embed(items, input_type=input_type, dimensions=self._dimensions, instruction=instruction)
        return list(np.asarray(vectors, dtype=np.float32))

    def _load(self) -> Embedder:
        if self._embedder is None:
            # Loads torch, which this module does not.
            from qwen3_vl_retrieval.sharing import share_embedder

            named = self._weights._asdict()
            self._embedder = self._check_fingerprint(share_embedder(named.pop("model"), token=self._token, **named))
        return self._embedder

    def _check_fingerprint(self, embedder: Embedder) -> Embedder:
        found = embedder.compute_fingerprint(dimensions=self._dimensions, instruction=self._document_instruction)
        if self._fingerprint is None:
            self._fingerprint = found
        found.require_match(self._fingerprint)
        return embedder


class MediaUriLoader:
    """Reads the images of records that are given by `uris`, in place of Chroma's `ImageLoader`, which opens anything.

    Images come as the model is to see them: in RGB, read as `image_reading` says. All of a call are in memory at once,
    with three bytes a pixel: add records in batches.

    Args:
        policy: What may be opened; by default local files, no URLs.
        max_workers: Images that are read at a time.
        image_reading: As in `Qwen3VLEmbedder`; give both the same.
    """

    def __init__(
        self, *, policy: MediaPolicy | None = None, max_workers: int = 4, image_reading: ImageReading = "viewer"
    ) -> None:
        self._policy = MediaPolicy() if policy is None else policy
        self._max_workers = max_workers
        self._image_reading: ImageReading = check_image_reading(image_reading)

    def __call__(self, uris: Sequence[str | None]) -> list[npt.NDArray[Any] | None]:
        """Returns one uint8 array of shape (height, width, 3) per path or URL, and `None` for `None`.

        Raises:
            MediaError: An image cannot be read, or the policy refuses it; the message begins with its position.
        """
        with ThreadPoolExecutor(self._max_workers) as workers:
            return list(workers.map(self._read, uris, range(len(uris))))

    def _read(self, uri: str | None, index: int) -> npt.NDArray[Any] | None:
        try:
            return None if uri is None else np.array(read_image(uri, self._policy, reading=self._image_reading))
        except InputError as error:
            raise error.at(index) from error


def _read_record(record: object, index: int) -> Item:
    if isinstance(record, str):
        return record
    if isinstance(record, np.ndarray):
        return {"image": cast("npt.NDArray[Any]", record)}
    raise InputError(
        f"got {type(record).__name__}; allowed are documents (str) and images (uint8 arrays), or a URI of an image"
    ).at(index)
