"""Documents in an index: split or kept whole, replaced when they come again, known by the content of their files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, Document

from llama_index.indices.qwen3_vl.documents import aparse_documents, hash_document, parse_documents
from llama_index.indices.qwen3_vl.node_insertion import NodeInsertion
from llama_index.indices.qwen3_vl.stores import list_document_ids
from qwen3_vl_retrieval.paths import encode_name

__all__ = ["DocumentInsertion"]


class DocumentInsertion(NodeInsertion):
    """A `VectorStoreIndex` whose documents may be pictures and clips."""

    def insert_documents(self, documents: Sequence[Document], **insert_kwargs: Any) -> None:
        """Adds documents; the nodes of those that were there by the same id are replaced.

        Args:
            documents: Those with a picture or clip become one node each, others are transformed.
            insert_kwargs: For the `add` of the store.

        Raises:
            InputError: One of them cannot be read; see `insert_nodes`.
        """
        nodes = parse_documents(documents, self._transformations, show_progress=self._show_progress)
        self.insert_nodes(nodes, **insert_kwargs)
        self._finish(documents, nodes)

    async def ainsert_documents(self, documents: Sequence[Document], **insert_kwargs: Any) -> None:
        """Does the same as `insert_documents`."""
        nodes = await aparse_documents(documents, self._transformations, show_progress=self._show_progress)
        await self.ainsert_nodes(nodes, **insert_kwargs)
        await asyncio.to_thread(self._finish, documents, nodes)

    def insert(self, document: Document, **insert_kwargs: Any) -> None:
        """Does the same as `insert_documents` for one."""
        self.insert_documents([document], **insert_kwargs)

    async def ainsert(self, document: Document, **insert_kwargs: Any) -> None:
        """Does the same as `insert`."""
        await self.ainsert_documents([document], **insert_kwargs)

    def delete_ref_doc(self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Removes the nodes of a document; it is inserted again when `refresh_ref_docs` is given it."""
        ref_doc_id = encode_name(ref_doc_id)
        super().delete_ref_doc(ref_doc_id, delete_from_docstore=delete_from_docstore, **delete_kwargs)
        self._forget(ref_doc_id)

    async def adelete_ref_doc(
        self,
        ref_doc_id: str,
        delete_from_docstore: bool = False,
        **delete_kwargs: Any,
    ) -> None:
        """Does the same as `delete_ref_doc`."""
        ref_doc_id = encode_name(ref_doc_id)
        await super().adelete_ref_doc(ref_doc_id, delete_from_docstore=delete_from_docstore, **delete_kwargs)
        self._forget(ref_doc_id)

    def refresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Inserts documents that are new or have changed, also in the content of their files.

        Returns:
            For each whether it was inserted.
        """
        changed = [self._has_changed(document) for document in documents]
        waiting = [document for document, has_changed in zip(documents, changed, strict=True) if has_changed]
        self.insert_documents(waiting, **update_kwargs.get("insert_kwargs", {}))
        return changed

    async def arefresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Does the same as `refresh_ref_docs`."""
        changed = await asyncio.to_thread(lambda: [self._has_changed(document) for document in documents])
        waiting = [document for document, has_changed in zip(documents, changed, strict=True) if has_changed]
        await self.ainsert_documents(waiting, **update_kwargs.get("insert_kwargs", {}))
        return changed

    def remove_stale(self, ref_doc_id: str, kept: set[str]) -> int:
        """Removes the nodes of a document other than those of the ids `kept`, and returns how many that were."""
        stale = [row for row in list_document_ids(self._vector_store, ref_doc_id) if row not in kept]
        if stale:
            self.delete_nodes(stale, delete_from_docstore=True)
        return len(stale)

    def _finish(self, documents: Sequence[Document], nodes: Sequence[BaseNode]) -> None:
        kept = {node.node_id for node in nodes}
        for document in documents:
            self.remove_stale(document.node_id, kept)
            self.docstore.set_document_hash(document.node_id, hash_document(document))

    def _has_changed(self, document: Document) -> bool:
        return self.docstore.get_document_hash(document.node_id) != hash_document(document)

    def _forget(self, ref_doc_id: str) -> None:
        # LlamaIndex keeps the hash where the store keeps the nodes, and would take the document for unchanged.
        self.docstore.delete_document(ref_doc_id, raise_error=False)
