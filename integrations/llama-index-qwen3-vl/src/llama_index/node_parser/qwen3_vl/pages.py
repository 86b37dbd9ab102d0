"""PDFs as the images of their pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core.schema import BaseNode, Document, Node
from pydantic import Field

from llama_index.node_parser.qwen3_vl.document_files import is_unit, list_document_files
from llama_index.node_parser.qwen3_vl.file_parsers import FileParser, name_file
from llama_index.node_parser.qwen3_vl.media_nodes import build_media_node, build_node_id
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import Unit, describe_unit, draw_document, encode_png, hash_file, keep_file, read_units
from qwen3_vl_retrieval.paths import show_path

__all__ = ["PDFPageImageParser"]


class PDFPageImageParser(FileParser):
    """Makes a node of every page of a PDF: an image for the models, with the text layer for language models.

    A document stands for a PDF if its metadata name one, as `source` or `file_path`; what text it has, which is what a
    reader made of the file, is dropped. Of the documents that LlamaIndex's readers make of a PDF, one a page with its
    `page_label`, each becomes the node of its page.

    ```python
    document = Document(id_="manual.pdf", metadata={"file_path": "manual.pdf"})
    pages = PDFPageImageParser(media_dir="pages").get_nodes_from_documents([document])
    ```

    The metadata of a page are `media_type="page"`, `source`, `page` (from 1), `sha256` of the PDF, and the document's.
    Pages are rendered when they are embedded, judged or shown (`MediaGuard`, `MultiModalQueryEngine` and
    `multimodal_retriever_tool` do); with `media_dir` they are rendered here too, so that `get_content_blocks` has the
    image, for code that knows nothing of pages. Other documents are left as they are.
    """

    media_dir: str | Path | None = Field(
        default=None, description="Folder for the images of the pages, as PNG; by default they are not written."
    )

    def _parse_document(self, document: BaseNode) -> list[Node] | None:
        if not isinstance(document, Document) or is_unit(document.metadata):
            return None
        files = [one for one in list_document_files(document, media_policy=self.media_policy) if one.kind == "pdf"]
        if not files:
            return None
        path = files[0].source
        if not isinstance(path, Path):
            raise InputError(f"{quote(path)} is a PDF that is no local file; download it first")
        try:
            units = read_units(path, self._policy)
            sha256 = hash_file(path)
            wanted = [unit for unit in units if _is_wanted(unit, document)]
            return [self._build_page(unit, document, path, sha256) for unit in wanted]
        except InputError as error:
            raise name_file(error, path) from error

    def _build_page(self, unit: Unit, document: BaseNode, path: Path, sha256: str) -> Node:
        own = self._read_own_metadata(document)
        own.pop("media_type", None)
        # The document's `source` may be the address where the file was found; pages are rendered from the file.
        about = {**describe_unit(unit), "sha256": sha256}
        metadata: dict[str, Any] = {"file_name": show_path(Path(path.name)), **own, **about}
        text = "" if unit.text is None else unit.text
        media: dict[str, Path | str] = {}
        if self.media_dir is not None:
            media["image"] = self._keep_page(about, Path(self.media_dir))
        id_ = build_node_id([sha256], text, metadata)
        return build_media_node(document, id_=id_, text=text, media=media, metadata=metadata)

    def _keep_page(self, about: dict[str, Any], folder: Path) -> Path:
        name = f"{about['sha256']}-page-{about['page']}"
        path = folder / f"{name}.png"
        if path.is_file():
            return path
        return keep_file(encode_png(draw_document("", about, policy=self._policy)[0]), folder, name=name, suffix=".png")


def _is_wanted(unit: Unit, document: BaseNode) -> bool:
    """Whether a document is of this page: of all, or of the one that a reader counted."""
    label = str(document.metadata.get("page_label", ""))
    return not label.isdecimal() or int(label) == unit.page
