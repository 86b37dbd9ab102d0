"""Vectors of documents for any store: of what they show where the embeddings can see, else of their texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from langchain_qwen3_vl.contents import coerce_item
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings, VectorOrError
from qwen3_vl_retrieval import Fingerprint, InputError

__all__ = ["embed_documents", "embed_each_document", "find_fingerprint"]


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
        error = _check_text(document, embeddings)
        if error is not None:
            raise error.at(place)
    return _embed_texts(embeddings, documents)


def embed_each_document(embeddings: Embeddings, documents: Sequence[Document]) -> list[VectorOrError]:
    """Returns the vector of each document, or why it cannot be embedded; arguments as in `embed_documents`."""
    if not documents:
        return []
    if isinstance(embeddings, Qwen3VLEmbeddings):
        return embeddings.embed_each_document(documents)
    errors = [_check_text(document, embeddings) for document in documents]
    texts = [document for document, error in zip(documents, errors, strict=True) if error is None]
    vectors = iter(_embed_texts(embeddings, texts) if texts else ())
    return [next(vectors) if error is None else error for error in errors]


def _check_text(document: Document, embeddings: Embeddings) -> InputError | None:
    """Why embeddings of texts cannot embed a document; `None` if it is one."""
    try:
        # A page would be rendered.
        is_text = document.metadata.get("media_type") != "page" and isinstance(coerce_item(document), str)
    except InputError as error:
        return error
    if is_text:
        return None
    return InputError(
        f"the document shows media, and {type(embeddings).__name__} embeds texts alone; use Qwen3VLEmbeddings"
    )


def _embed_texts(embeddings: Embeddings, documents: Sequence[Document]) -> npt.NDArray[np.float32]:
    return np.asarray(embeddings.embed_documents([document.page_content for document in documents]), dtype=np.float32)
