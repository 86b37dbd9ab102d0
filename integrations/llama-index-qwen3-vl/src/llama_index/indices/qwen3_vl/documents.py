"""Documents on their way to becoming nodes: texts are split, images and videos stay whole, and each is known again."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.ingestion import arun_transformations, run_transformations
from llama_index.core.node_parser import NodeParser
from llama_index.core.node_parser.node_utils import default_id_func
from llama_index.core.schema import BaseNode, Document, MediaResource, MetadataMode, Node, TransformComponent

from llama_index.indices.qwen3_vl.stored_nodes import convert_document, holds_media
from llama_index.node_parser.qwen3_vl.document_files import list_document_files
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.errors import quote

__all__ = ["aparse_documents", "hash_document", "number_parts", "parse_documents"]


def parse_documents(
    documents: Sequence[BaseNode], transformations: Sequence[TransformComponent], *, show_progress: bool = False
) -> list[BaseNode]:
    """Returns the nodes of documents, in their order: what holds an image or video as it is, text transformed.

    Splitters would make text of a `Document` with an image, and fail for a `Node`. What parsers split has ids that are
    the same whenever the same document is parsed.

    Raises:
        InputError: A reader has read a file of another kind as text.
    """
    texts, media = _divide(documents)
    parts: Sequence[BaseNode] = (
        run_transformations(texts, number_parts(transformations), show_progress=show_progress) if texts else ()
    )
    return [*parts, *media]


async def aparse_documents(
    documents: Sequence[BaseNode], transformations: Sequence[TransformComponent], *, show_progress: bool = False
) -> list[BaseNode]:
    """Returns the same as `parse_documents`."""
    texts, media = await asyncio.to_thread(_divide, documents)
    if not texts:
        return media
    parts = await arun_transformations(texts, number_parts(transformations), show_progress=show_progress)
    return [*parts, *media]


def number_parts(transformations: Sequence[TransformComponent]) -> list[TransformComponent]:
    """Returns the transformations with ids that follow from the document, where they would be random."""
    return [
        one.model_copy(update={"id_func": _name_part})
        if isinstance(one, NodeParser) and one.id_func is default_id_func
        else one
        for one in transformations
    ]


def hash_document(document: Document) -> str:
    """Returns a hash of a document that changes with the content of its files; LlamaIndex's own knows their names."""
    digest = hashlib.sha256(document.hash.encode())
    for file in list_document_files(document):
        # A text that a reader made of a PDF is embedded as that text.
        if file.kind == "pdf" and document.metadata.get("media_type") != "page":
            continue
        try:
            content = file.hash_content()
        except OSError:
            # Whoever embeds it says what is wrong with it.
            content = None
        digest.update(repr(content).encode())
    return digest.hexdigest()


def _divide(documents: Sequence[BaseNode]) -> tuple[list[BaseNode], list[BaseNode]]:
    texts: list[BaseNode] = []
    media: list[BaseNode] = []
    for place, document in enumerate(documents):
        try:
            recovered = _recover(document)
        except InputError as error:
            raise error.at(place, role="document") from error
        if not (holds_media(recovered) or recovered.metadata.get("media_type") in ("image", "page", "video")):
            texts.append(recovered)
        elif isinstance(recovered, Document):
            media.append(convert_document(recovered, node_id=_name_part(0, recovered)))
        else:
            media.append(recovered)
    return texts, media


def _recover(document: BaseNode) -> BaseNode:
    """The document of an image or video that a reader without the right parser has read as text."""
    if not isinstance(document, Document) or holds_media(document):
        return document
    name = document.metadata.get("file_path")
    text = document.get_content(metadata_mode=MetadataMode.NONE)
    if not isinstance(name, str) or "\0" not in text:
        return document
    medium = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
    if medium not in ("image", "video"):
        raise InputError(
            f"the text of {quote(Path(name).name)} is its bytes: the reader has no parser for it; read it by "
            "UnifiedMultiModalIndex.from_files, or install llama-index-readers-file"
        )
    fields: dict[str, Any] = {name: getattr(document, name) for name in Node.model_fields}
    fields |= {"text_resource": None, f"{medium}_resource": MediaResource(path=Path(name))}
    return Document(**fields)


def _name_part(number: int, document: BaseNode) -> str:
    return hashlib.sha256(f"{document.node_id}\0{number}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
