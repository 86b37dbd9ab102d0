"""Documents that readers of others make: a text is a text, whatever the file is called that it comes from."""

from __future__ import annotations

import shutil

import pytest
from llama_index.core import SimpleDirectoryReader
from llama_index.core.schema import Document, ImageDocument, ImageNode, NodeWithScore, TextNode

from llama_index.indices.qwen3_vl.documents import hash_document
from llama_index.node_parser.qwen3_vl import MediaNodeParser
from llama_index.node_parser.qwen3_vl.document_files import list_document_files
from llama_index.schema.qwen3_vl.node_media import list_node_media
from llama_index.schema.qwen3_vl.nodes import build_node_item

TEXTS = {
    "a drawing": {"file_path": "logo.svg", "file_name": "logo.svg", "file_type": "image/svg+xml"},
    "a transcript": {"source": "talk.mp4", "start": 1.0, "end": 4.0},
    "a page of the web": {"source": "https://example.org/photo.jpg"},
    "words of a scan": {"file_path": "gone/scan.png", "file_type": "image/png"},
    "a MIME type": {"source": "gone/scan", "mime_type": "image/tiff"},
}


@pytest.mark.parametrize("kind", [Document, TextNode])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_stays_a_text_whatever_its_source_is(name, kind):
    node = kind(text=name, metadata=TEXTS[name], excluded_embed_metadata_keys=list(TEXTS[name]))
    assert build_node_item(NodeWithScore(node=node)) == name
    assert list_document_files(node) == []
    assert list_node_media(node) == []
    (parsed,) = MediaNodeParser().get_nodes_from_documents([node])
    assert parsed is node


def test_the_file_of_a_text_is_not_seen_where_it_exists(pictures):
    node = TextNode(text="words", metadata={"source": str(pictures / "picture-0.png"), "kind": "ocr"})
    assert isinstance(build_node_item(node), str)
    assert list_node_media(node) == []


def test_a_drawing_that_a_reader_has_read_is_its_text(tmp_path):
    (tmp_path / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><title>Ducks</title></svg>")
    (document,) = SimpleDirectoryReader(str(tmp_path)).load_data()
    assert "Ducks" in build_node_item(document)
    assert list_document_files(document) == []


@pytest.mark.parametrize("name", ["source", "file_path"])
def test_what_has_no_text_is_what_its_source_names(pictures, name):
    path = pictures / "picture-0.png"
    document = Document(text="", metadata={name: str(path)})
    assert [(file.kind, file.source) for file in list_document_files(document)] == [("image", path)]
    assert build_node_item(document) == {"image": str(path)}


def test_what_was_meant_to_be_an_image_is_found_by_its_source(pictures):
    path = str(pictures / "picture-0.png")
    node = ImageNode(text="a mug", metadata={"source": path})
    assert build_node_item(node) == {"image": path, "text": "a mug"}
    assert [str(medium.path) for medium in list_node_media(node)] == [path]
    document = ImageDocument(image_path=path, text="a mug", metadata={"source": "elsewhere.jpg"})
    assert [str(file.source) for file in list_document_files(document)] == [path]


@pytest.mark.parametrize(
    "told",
    [
        lambda path: {"metadata": {"image": path}, "text": "a mug"},
        lambda path: {"metadata": {"image_uri": path}, "text": "a mug"},
        lambda path: {"metadata": {"media_type": "image", "file_path": path}, "text": "a mug"},
        lambda path: {"metadata": {"file_path": path}},
        lambda path: {"metadata": {"media_type": "page", "page": 1, "source": path.replace("png", "pdf")}},
    ],
)
def test_the_hash_of_a_document_changes_with_the_file_that_its_metadata_name(told, pictures, tmp_path):
    path = tmp_path / "one.png"
    for suffix, name in (("png", "picture-0.png"), ("pdf", "paper.pdf")):
        shutil.copy(pictures / name, path.with_suffix(f".{suffix}"))
    document = Document(id_="a", **told(str(path)))
    before = hash_document(document)
    assert hash_document(document) == before
    shutil.copy(pictures / "picture-1.png", path)
    path.with_suffix(".pdf").write_bytes((pictures / "paper.pdf").read_bytes() + b"\n%")
    assert hash_document(document) != before


def test_the_hash_of_a_text_is_not_that_of_the_file_it_comes_from(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"one")
    document = Document(id_="a", text="about a photo", metadata={"source": str(path)})
    before = hash_document(document)
    path.write_bytes(b"two")
    assert hash_document(document) == before
