"""Documents of images and videos as nodes that every store of LlamaIndex gives back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core.schema import BaseNode, Node
from pydantic import Field

from llama_index.node_parser.qwen3_vl.document_files import DocumentFile, find_text, list_document_files
from llama_index.node_parser.qwen3_vl.file_parsers import FileParser, name_file
from llama_index.node_parser.qwen3_vl.media_nodes import build_media_node, build_node_id
from qwen3_vl_retrieval import InputError, MediaError
from qwen3_vl_retrieval.errors import explain, quote
from qwen3_vl_retrieval.index import Medium, describe_unit, draw_document, hash_file, keep_media, read_units
from qwen3_vl_retrieval.paths import encode_path, show_path

__all__ = ["MediaNodeParser"]

_WHOLE_VIDEO_SECONDS = 1e9
"""Longer than any video: one window."""


class MediaNodeParser(FileParser):
    """Makes a `Node` of every document, `ImageDocument` and `ImageNode` of an image or video.

    Stores give an `ImageDocument` back as a text node without the image, and splitters lose it; a `Node` keeps
    caption and image, and both reach the embedding, the reranker and the language model.

    ```python
    nodes = MediaNodeParser().get_nodes_from_documents(SimpleDirectoryReader("photos").load_data())
    ```

    The media are held by path, the caption as text. The metadata are the document's, with `media_type` (`"mixed"` with
    a caption), `image` or `video`, `source`, `sha256`, `mime_type`, `width`, `height` and `file_name`; those that are
    for programs are kept from embeddings and language models. The relationships are kept, and the document is the
    source where there is none. Of a document without text, the file that its metadata name (`source`, `file_path`)
    counts as well; with a text only one that they call an image or video (`image`, `video`, `media_type`). Documents of
    texts and PDFs are left as they are.
    """

    media_dir: str | Path | None = Field(
        default=None,
        description="Folder for images and videos that are given as data, named by their hash; stores lose data.",
    )

    def _parse_document(self, document: BaseNode) -> list[Node] | None:
        files = [one for one in list_document_files(document, media_policy=self.media_policy) if one.kind != "pdf"]
        if not files or document.metadata.get("media_type") == "page":
            return None
        text = find_text(document)
        own = self._read_own_metadata(document)
        about: dict[str, Any] = {"media_type": "mixed" if text.strip() or len(files) > 1 else files[0].kind}
        fixed: dict[str, Any] = {}
        media: dict[str, Path | str] = {}
        contents: list[str] = []
        for file in files:
            source = self._locate(file)
            media[file.kind] = source
            described = self._describe(file, source)
            contents.append(str(described.get("sha256", source)))
            about = {**described, **about}
            # Of two files the image is the one that is named.
            fixed = {**{name: described[name] for name in (file.kind, "sha256") if name in described}, **fixed}
        metadata = {**about, **own, **fixed}
        mime_types = {file.kind: file.mime_type for file in files}
        id_ = build_node_id(contents, text, metadata)
        return [build_media_node(document, id_=id_, text=text, media=media, metadata=metadata, mime_types=mime_types)]

    def _locate(self, file: DocumentFile) -> Path | str:
        if not isinstance(file.source, bytes):
            return file.source
        # PDFs are left to another parser.
        medium: Medium = "video" if file.kind == "video" else "image"
        return keep_media(file.source, medium, self.media_dir, policy=self.media_policy)

    def _describe(self, file: DocumentFile, source: Path | str) -> dict[str, Any]:
        """What the metadata say of a file. It is read here: a broken one is better found now than while embedding."""
        if isinstance(source, str):
            return {file.kind: source, "source": source}
        try:
            units = read_units(source, self._policy, window_seconds=_WHOLE_VIDEO_SECONDS, overlap_seconds=0.0)
            described = describe_unit(units[0]) if units and units[0].media_type == file.kind else {}
            if not described:
                # A name that says something else, or nothing.
                draw_document("", {"media_type": file.kind, file.kind: source}, policy=self._policy, max_frames=1)
                described = {file.kind: encode_path(source), "source": encode_path(source)}
        except InputError as error:
            raise name_file(error, source) from error
        except OSError as error:
            raise MediaError(f"{quote(source)} cannot be read: {explain(error)}") from error
        described.pop("media_type", None)
        return {**described, "sha256": hash_file(source), "file_name": show_path(Path(source.name))}
