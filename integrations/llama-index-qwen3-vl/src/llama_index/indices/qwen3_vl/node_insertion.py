"""Nodes on their way into an index: made fit for the store, embedded with their pixels, written in place of others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import BaseNode

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.indices.qwen3_vl.media_folders import MediaFolder
from llama_index.indices.qwen3_vl.stored_nodes import is_blank, prepare_node
from llama_index.indices.qwen3_vl.stores import areplace_nodes, replace_nodes, split_rows
from llama_index.retrievers.qwen3_vl.multimodal_index_stores import MultimodalIndexStore
from qwen3_vl_retrieval import InputError, StoreError

__all__ = ["NodeInsertion"]

_LOGGER = logging.getLogger(__name__)

_Placed: TypeAlias = "tuple[int, BaseNode]"
"""A node, with its place in the list of the caller."""


class NodeInsertion(VectorStoreIndex):
    """A `VectorStoreIndex` that embeds nodes of any type, loses none of them, and replaces those that it has."""

    _embed_model: Qwen3VLEmbedding
    _media_folder: MediaFolder

    def build_index_from_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> IndexDict:
        """Returns the structure of an index of nodes; what has no text is kept."""
        self._validate_serializable(nodes)
        return self._build_index_from_nodes(nodes, **insert_kwargs)

    def insert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Embeds nodes and writes them, in place of those of the same ids.

        Args:
            nodes: Of any type. Those that have an `embedding` are not embedded; empty ones are left out, with a warning
                in the log.
            insert_kwargs: For the `add` of the store.

        Raises:
            InputError: A node cannot be read, or its data cannot be kept; the message begins with its position.
            StoreError: The index is a read-only view.
        """
        super().insert_nodes(nodes, **insert_kwargs)

    def _add_nodes_to_index(
        self, index_struct: IndexDict, nodes: Sequence[BaseNode], show_progress: bool = False, **insert_kwargs: Any
    ) -> None:
        for batch in _split(self._prepare(nodes), self._insert_batch_size):
            waiting = [placed for placed in batch if placed[1].embedding is None]
            with _place_errors(waiting):
                vectors = self._embed_model.get_node_embeddings(
                    [node for _, node in waiting], show_progress=show_progress
                )
            embedded = _add_vectors(batch, waiting, vectors)
            new_ids = replace_nodes(self._vector_store, embedded, **insert_kwargs)
            if self._keeps_nodes:
                stripped = _register(index_struct, embedded, new_ids)
                self._docstore.add_documents(stripped, allow_update=True)

    async def _async_add_nodes_to_index(
        self, index_struct: IndexDict, nodes: Sequence[BaseNode], show_progress: bool = False, **insert_kwargs: Any
    ) -> None:
        # In a thread: files are hashed, and data are written.
        prepared = await asyncio.to_thread(self._prepare, nodes)
        for batch in _split(prepared, self._insert_batch_size):
            waiting = [placed for placed in batch if placed[1].embedding is None]
            with _place_errors(waiting):
                vectors = await self._embed_model.aget_node_embeddings(
                    [node for _, node in waiting], show_progress=show_progress
                )
            embedded = _add_vectors(batch, waiting, vectors)
            new_ids = await areplace_nodes(self._vector_store, embedded, **insert_kwargs)
            if self._keeps_nodes:
                stripped = _register(index_struct, embedded, new_ids)
                await self._docstore.async_add_documents(stripped, allow_update=True)

    def delete_nodes(self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Removes nodes, however many; what does not exist is no error."""
        for some in split_rows(node_ids):
            super().delete_nodes(list(some), delete_from_docstore=delete_from_docstore, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Does the same as `delete_nodes`."""
        for some in split_rows(node_ids):
            await super().adelete_nodes(list(some), delete_from_docstore=delete_from_docstore, **delete_kwargs)

    @property
    def _keeps_nodes(self) -> bool:
        """Whether nodes are in the docstore, because the store keeps vectors alone."""
        return not self._vector_store.stores_text or self._store_nodes_override

    def _prepare(self, nodes: Sequence[BaseNode]) -> list[_Placed]:
        """The nodes as they are stored; of several with one id the last, as if they had come one after the other."""
        if nodes and isinstance(self._vector_store, MultimodalIndexStore):
            raise StoreError(
                "an index of the command line is read-only here; add files with MultimodalIndex.add or `qwen3vl index`"
            )
        prepared: dict[str, _Placed] = {}
        blank = 0
        is_flat = bool(getattr(self._vector_store, "flat_metadata", False))
        for place, node in enumerate(nodes):
            if is_blank(node):
                blank += 1
                continue
            try:
                one = prepare_node(
                    node, self._media_folder, caption_mode=self._embed_model.caption_mode, is_flat=is_flat
                )
            except InputError as error:
                raise error.at(place, role="node") from error
            prepared.pop(one.node_id, None)
            prepared[one.node_id] = (place, one)
        if blank:
            _LOGGER.warning("%d of %d nodes are left out: they have neither text nor media", blank, len(nodes))
        return list(prepared.values())


def _split(nodes: Sequence[_Placed], size: int) -> Iterator[Sequence[_Placed]]:
    for first in range(0, len(nodes), size):
        yield nodes[first : first + size]


@contextmanager
def _place_errors(waiting: Sequence[_Placed]) -> Generator[None, None, None]:
    """Errors name the position in the list of the caller, some of which is not embedded."""
    try:
        yield
    except InputError as error:
        if error.index is None:
            raise
        raise error.at(waiting[error.index][0], role="node") from error


def _add_vectors(
    batch: Sequence[_Placed], waiting: Sequence[_Placed], vectors: Sequence[list[float]]
) -> list[BaseNode]:
    for (_, node), vector in zip(waiting, vectors, strict=True):
        node.embedding = vector
    return [node for _, node in batch]


def _register(index_struct: IndexDict, nodes: Sequence[BaseNode], new_ids: Sequence[str]) -> list[BaseNode]:
    """Notes the nodes in the structure of the index, and returns them without their vectors, which the store has."""
    stripped = [node.model_copy(update={"embedding": None}) for node in nodes]
    for node, new_id in zip(stripped, new_ids, strict=True):
        index_struct.add_node(node, text_id=new_id)
    return stripped
