"""Ingestion whose cache and docstore know images by what is in them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.node_parser import NodeParser, SentenceSplitter
from llama_index.core.schema import BaseNode, Document, ImageNode, MediaResource, MetadataMode, Node, TransformComponent
from llama_index.core.storage.docstore import BaseDocumentStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from pydantic import ConfigDict, Field, SerializeAsAny

from llama_index.node_parser.qwen3_vl.base import MediaNodeParser
from llama_index.node_parser.qwen3_vl.document_files import DocumentFile, list_document_files
from llama_index.node_parser.qwen3_vl.pages import PDFPageImageParser
from llama_index.node_parser.qwen3_vl.segments import VideoSegmenter
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.index import TranscribeSpeech

__all__ = ["MultiModalIngestionPipeline", "TextDocumentSplitter", "multimodal_ingestion_pipeline"]

_logger = logging.getLogger(__name__)


class TextDocumentSplitter(TransformComponent):
    """Cuts the texts among the nodes, and leaves images, pages and videos as they are.

    LlamaIndex's splitters lose the image of a document, and raise for a `Node`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    splitter: SerializeAsAny[NodeParser] = Field(description="What cuts the texts.")

    @classmethod
    def class_name(cls) -> str:
        """Returns the name of the class, by which it is serialised."""
        return "TextDocumentSplitter"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Returns the nodes in their order, each document of text as its parts."""
        parsed: list[BaseNode] = []
        for node in nodes:
            parsed += self.splitter([node], **kwargs) if _is_text(node) else [node]
        return parsed


class MultiModalIngestionPipeline(IngestionPipeline):
    """An `IngestionPipeline` whose cache and docstore tell images apart.

    LlamaIndex's cache knows nodes by their texts: of two images without a caption the second comes back as the first.
    Its docstore knows images by their paths: one that was replaced is not embedded again. Here the SHA-256 of each
    image, video and PDF is put into the metadata of its document before anything else, where both see it. Documents
    are copied for that, never changed. What is behind a URL is not read, and is known by the URL.
    """

    def _prepare_inputs(
        self, documents: Sequence[Document] | None, nodes: Sequence[BaseNode] | None
    ) -> Sequence[BaseNode]:
        return [stamp_content(node) for node in super()._prepare_inputs(documents, nodes)]


def multimodal_ingestion_pipeline(
    *,
    embed_model: BaseEmbedding | None = None,
    transformations: Sequence[TransformComponent] | None = None,
    text_splitter: NodeParser | None = None,
    media_dir: str | Path | None = None,
    media_policy: MediaPolicy | None = None,
    segment_seconds: float = 30.0,
    overlap_seconds: float = 5.0,
    asr: TranscribeSpeech | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    vector_store: BasePydanticVectorStore | None = None,
    docstore: BaseDocumentStore | None = None,
    docstore_strategy: DocstoreStrategy = DocstoreStrategy.UPSERTS,
    cache: IngestionCache | None = None,
    disable_cache: bool = False,
) -> MultiModalIngestionPipeline:
    """Returns a pipeline from documents of texts, images, PDFs and videos to nodes, or into a vector store.

    ```python
    pipeline = multimodal_ingestion_pipeline(
        embed_model=Qwen3VLEmbedding(), vector_store=store, docstore=SimpleDocumentStore()
    )
    pipeline.run(documents=SimpleDirectoryReader("folder", filename_as_id=True).load_data())
    ```

    With a docstore and a vector store, documents with ids that stay the same are updated: unchanged ones are skipped,
    and an image that was replaced behind the same path is embedded again, and its old vector deleted.

    Args:
        embed_model: Last of the transformations, such as `Qwen3VLEmbedding`; `None` leaves embedding to an index.
        transformations: In place of `MediaNodeParser`, `PDFPageImageParser`, `VideoSegmenter` and the splitter.
        text_splitter: Cuts texts; `None` is a `SentenceSplitter`.
        media_dir: Folder for media that are given as data, and for the images of pages; `None` writes nothing.
        media_policy: What may be opened; `None` is any local file, and no URL.
        segment_seconds: Length of a window of a video.
        overlap_seconds: What a window shares with the one before.
        asr: Transcribes what is said in videos, see `VideoSegmenter`; `None` leaves them unheard.
        on_error: What becomes of a document whose file cannot be read: `"raise"` names it, `"skip"` leaves it out. A
            docstore remembers a document that was left out until its file changes.
        vector_store: As in LlamaIndex.
        docstore: As in LlamaIndex.
        docstore_strategy: As in LlamaIndex.
        cache: As in LlamaIndex.
        disable_cache: As in LlamaIndex.

    Raises:
        ValueError: The windows would not advance.
    """
    if transformations is None:
        splitter = SentenceSplitter() if text_splitter is None else text_splitter
        transformations = [
            MediaNodeParser(media_dir=media_dir, media_policy=media_policy, on_error=on_error),
            PDFPageImageParser(media_dir=media_dir, media_policy=media_policy, on_error=on_error),
            VideoSegmenter(
                segment_seconds=segment_seconds,
                overlap_seconds=overlap_seconds,
                asr=asr,
                media_policy=media_policy,
                on_error=on_error,
            ),
            TextDocumentSplitter(splitter=splitter),
        ]
    return MultiModalIngestionPipeline(
        transformations=[*transformations, *([] if embed_model is None else [embed_model])],
        readers=None,
        documents=None,
        vector_store=vector_store,
        docstore=docstore,
        docstore_strategy=docstore_strategy,
        cache=IngestionCache() if cache is None else cache,
        disable_cache=disable_cache,
    )


def stamp_content(node: BaseNode) -> BaseNode:
    """Returns a copy of a document of media that has the SHA-256 of its content among its metadata.

    What is in no file of this machine is told by its address. The copy has a text too, if only an empty one: without,
    LlamaIndex leaves the metadata out of what the cache sees. Texts, and files that cannot be read, are returned as
    they are; whoever opens them says what is wrong.
    """
    try:
        files = list_document_files(node)
        stamps = [_stamp_file(file, "sha256" if place == 0 else "video_sha256") for place, file in enumerate(files)]
    except (InputError, OSError) as error:
        _logger.debug("the content of document %s is not hashed: %s", node.node_id, error)
        return node
    metadata = dict(node.metadata)
    for stamp in stamps:
        metadata |= stamp
    if files and isinstance(node, ImageNode):
        return _build_document(node, metadata)
    if not files or not isinstance(node, Node):
        return node
    text = node.text_resource if node.text_resource is not None else MediaResource(text="")
    return node.model_copy(update={"metadata": metadata, "text_resource": text})


def _stamp_file(file: DocumentFile, name: str) -> dict[str, Any]:
    sha256 = file.hash_content()
    if sha256 is not None:
        return {name: sha256}
    return {} if file.kind == "pdf" else {file.kind: str(file.source)}


def _build_document(node: ImageNode, metadata: dict[str, Any]) -> Document:
    """A document in place of an image node, of whose hash LlamaIndex leaves the metadata out."""
    file = list_document_files(node)[0]
    name = "data" if isinstance(file.source, bytes) else "path" if isinstance(file.source, Path) else "url"
    resource = MediaResource.model_validate({name: file.source, "mimetype": file.mime_type})
    return Document(
        id_=node.id_,
        text_resource=MediaResource(text=node.text),
        image_resource=resource,
        metadata=metadata,
        relationships=dict(node.relationships),
        excluded_embed_metadata_keys=list(node.excluded_embed_metadata_keys),
        excluded_llm_metadata_keys=list(node.excluded_llm_metadata_keys),
    )


def _is_text(node: BaseNode) -> bool:
    """Whether a node is a text: of media there is more to keep than words."""
    if isinstance(node, ImageNode) or node.metadata.get("media_type") in ("image", "page", "video", "mixed"):
        return False
    if isinstance(node, Node) and not isinstance(node, Document):
        return False
    return bool(node.get_content(metadata_mode=MetadataMode.NONE).strip()) and not list_document_files(node)
