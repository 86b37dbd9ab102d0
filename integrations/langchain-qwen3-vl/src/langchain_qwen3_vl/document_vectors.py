"""Vectors of documents for any store: of what they show where the embeddings can see, else of their texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from qwen3_vl_retrieval import Fingerprint, InputError
from qwen3_vl_retrieval.index import build_item

__all__ = ["embed_documents", "find_fingerprint"]


def find_fingerprint(embeddings: Embeddings | None) -> Fingerprint | None:
    """Returns the identity of the vector space, for which the model is loaded; `None` for embeddings without one."""
    return embeddings.fingerprint if isinstance(embeddings, Qwen3VLEmbeddings) else None


def embed_documents(embeddings: Embeddings, documents: Sequence[Document]) -> npt.NDArray[np.float32]:
    """Returns one vector per document, `(n, dimensions)`; for none, the embeddings are not asked.

    Args:
        embeddings: `Qwen3VLEmbeddings`, or any that embed texts, for documents that are texts.
        documents: See `qwen3_vl_retrieval.index.build_item` for what their metadata say.

    Raises:
        InputError: A document cannot be embedded, or not by these embeddings; the message begins with its position.
    """
    if not documents:
        return np.empty((0, 0), dtype=np.float32)
    if isinstance(embeddings, Qwen3VLEmbeddings):
        return embeddings.embed_documents_array(documents)
    for place, document in enumerate(documents):
        if document.metadata.get("media_type") == "page" or not isinstance(
            build_item(document.page_content, document.metadata), str
        ):
            raise InputError(
                f"the document shows media, and {type(embeddings).__name__} embeds texts alone; use Qwen3VLEmbeddings",
                index=place,
            )
    return np.asarray(embeddings.embed_documents([document.page_content for document in documents]), dtype=np.float32)
