from __future__ import annotations

import asyncio
import base64
import logging
import pickle
import shutil

import pytest
from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    TextNode,
)
from PIL import Image
from pydantic import ValidationError

from llama_index.indices.qwen3_vl.media_folders import MediaFolder
from llama_index.node_parser.qwen3_vl import (
    MediaNodeParser,
    PDFPageImageParser,
    VideoSegmenter,
    multimodal_ingestion_pipeline,
)
from llama_index_adapter.scripted_llms import open_images
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, MediaPolicyError
from qwen3_vl_retrieval.index import draw_document
from rounding import bound
from spoken_videos import hear_tones, write_spoken_video


def _hold_picture(kind: str, path) -> Document | ImageNode | Node:
    encoded = base64.b64encode(path.read_bytes()).decode()
    fields = {"metadata": {"shelf": "B"}}
    return {
        "document": lambda: Document(image_resource=MediaResource(path=path), text="a mug", **fields),
        "image document": lambda: ImageDocument(image_path=str(path), text="a mug", **fields),
        "image document of data": lambda: ImageDocument(image=encoded, text="a mug", **fields),
        "image node": lambda: ImageNode(image_path=str(path), text="a mug", **fields),
        "image node of a data URI": lambda: ImageNode(image=f"data:image/png;base64,{encoded}", text="a mug", **fields),
        "document of a data URI": lambda: Document(
            image_resource=MediaResource(url=f"data:image/png;base64,{encoded}"), text="a mug", **fields
        ),
        "image node of data": lambda: ImageNode(image=encoded, text="a mug", **fields),
        "node": lambda: Node(
            image_resource=MediaResource(path=path), text_resource=MediaResource(text="a mug"), **fields
        ),
        "node of bytes": lambda: Node(
            image_resource=MediaResource(data=path.read_bytes()), text_resource=MediaResource(text="a mug"), **fields
        ),
        "metadata": lambda: Document(text="a mug", metadata={**fields["metadata"], "image": str(path)}),
    }[kind]()


_HOLDERS = [
    "document",
    "image document",
    "image document of data",
    "image node",
    "image node of data",
    "image node of a data URI",
    "document of a data URI",
    "node",
    "node of bytes",
    "metadata",
]


@pytest.mark.parametrize("kind", _HOLDERS)
def test_every_holder_of_an_image_becomes_the_same_kind_of_node(kind, pictures, tmp_path):
    path = pictures / "picture-0.png"
    (node,) = MediaNodeParser(media_dir=tmp_path).get_nodes_from_documents([_hold_picture(kind, path)])
    assert type(node) is Node
    assert node.image_resource.path.read_bytes() == path.read_bytes()
    assert node.image_resource.data is None
    assert node.get_content(MetadataMode.NONE) == "a mug"
    about = node.metadata
    assert (about["media_type"], about["shelf"], about["mime_type"]) == ("mixed", "B", "image/png")
    assert about["image"] == str(node.image_resource.path)
    with Image.open(path) as picture:
        assert (about["width"], about["height"]) == picture.size
    assert len(about["sha256"]) == 64
    assert node.source_node is not None
    assert not any("base64" in str(value) for value in about.values())


def test_an_image_without_a_caption_is_an_image_and_is_not_dropped_by_an_index(pictures, embedding):
    document = Document(image_resource=MediaResource(path=pictures / "picture-0.png"))
    (node,) = MediaNodeParser().get_nodes_from_documents([document])
    assert node.metadata["media_type"] == "image"
    assert node.ref_doc_id == document.id_
    bare = Node(image_resource=MediaResource(path=pictures / "picture-0.png"))
    # LlamaIndex leaves out nodes of which nothing is to be embedded as text, and warns of it.
    assert len(VectorStoreIndex(nodes=[bare, node], embed_model=embedding).index_struct.nodes_dict) == 1
    assert embedding([node])[0].embedding == pytest.approx(embedding([bare])[0].embedding, abs=bound(1e-5))


def test_ids_are_of_content_and_place(pictures, tmp_path):
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    shutil.copy(pictures / "picture-0.png", one)
    shutil.copy(pictures / "picture-0.png", other)

    def find_id(path, text="a mug"):
        (node,) = MediaNodeParser().get_nodes_from_documents([Document(text=text, metadata={"image": str(path)})])
        return node.id_

    first = find_id(one)
    assert find_id(one) == first
    assert find_id(other) != first
    assert find_id(one, text="a cup") != first
    shutil.copy(pictures / "picture-1.png", one)
    assert find_id(one) != first


def test_the_same_twice_in_one_call_is_one_node_and_parsing_again_changes_nothing(pictures):
    documents = [ImageDocument(image_path=str(pictures / "picture-0.png")) for _ in range(2)]
    nodes = MediaNodeParser().get_nodes_from_documents(documents)
    assert len(nodes) == 1
    again = MediaNodeParser().get_nodes_from_documents(nodes)
    assert [node.to_dict() for node in again] == [node.to_dict() for node in nodes]


def test_texts_and_other_documents_are_left_as_they_are(pictures):
    documents = [
        Document(text="words", metadata={"file_path": "notes.md"}),
        TextNode(text="of a PDF", metadata={"file_path": str(pictures / "paper.pdf")}),
        TextNode(text="about a picture", metadata={"file_path": str(pictures / "picture-0.png")}),
        Document(text="", metadata={"file_path": str(pictures / "paper.pdf")}),
        Document(text="looks like picture-0.png"),
    ]
    nodes = MediaNodeParser().get_nodes_from_documents(documents)
    assert [one is other for one, other in zip(nodes, documents, strict=True)] == [True] * 5


def test_data_needs_a_folder_to_be_written_to(pictures):
    document = _hold_picture("image document of data", pictures / "picture-0.png")
    with pytest.raises(InputError, match=r"document 0: .*media_dir"):
        MediaNodeParser().get_nodes_from_documents([document])
    clip = Document(video_resource=MediaResource(data=(pictures / "clip.mp4").read_bytes()))
    with pytest.raises(InputError, match="media_dir"):
        MediaNodeParser().get_nodes_from_documents([clip])


def test_a_data_uri_above_the_limit_is_refused(pictures, tmp_path):
    content = (pictures / "picture-0.png").read_bytes()
    encoded = base64.b64encode(content).decode()
    policy = MediaPolicy(max_bytes=len(content) - 1)
    parser = MediaNodeParser(media_dir=tmp_path, media_policy=policy)
    folder = MediaFolder(folder=tmp_path, policy=policy)
    for uri in (
        f"data:image/png;base64,{encoded}",
        "data:image/png," + "".join(f"%{byte:02x}" for byte in content),
    ):
        with pytest.raises(MediaPolicyError, match="above max_bytes"):
            parser.get_nodes_from_documents([Document(text="", metadata={"image": uri})])
        with pytest.raises(MediaPolicyError, match="above max_bytes"):
            parser.get_nodes_from_documents([ImageDocument(image=uri)])
        with pytest.raises(MediaPolicyError, match="above max_bytes"):
            folder.keep(uri, "image")
    with pytest.raises(MediaPolicyError, match="above max_bytes"):
        parser.get_nodes_from_documents([ImageDocument(image=encoded)])
    with pytest.raises(MediaPolicyError, match="above max_bytes"):
        folder.keep(content, "image")
    assert list(tmp_path.iterdir()) == []


def test_videos_of_data_are_written_and_named_by_their_hash(pictures, tmp_path):
    content = (pictures / "clip.mp4").read_bytes()
    (node,) = MediaNodeParser(media_dir=tmp_path / "new").get_nodes_from_documents(
        [Document(video_resource=MediaResource(data=content))]
    )
    assert node.video_resource.path.read_bytes() == content
    assert node.video_resource.path.name == f"{node.metadata['sha256']}.mp4"
    assert node.metadata["media_type"] == "video"


def test_an_image_and_a_video_of_one_document_stay_together(pictures):
    document = Document(
        image_resource=MediaResource(path=pictures / "picture-0.png"),
        video_resource=MediaResource(path=pictures / "clip.mp4"),
    )
    (node,) = MediaNodeParser().get_nodes_from_documents([document])
    assert node.image_resource.path.name == "picture-0.png"
    assert node.video_resource.path.name == "clip.mp4"
    assert node.metadata["media_type"] == "mixed"


def test_urls_stay_urls_and_are_not_opened(pictures):
    document = Document(image_resource=MediaResource(url="https://example.org/mug.png"))
    (node,) = MediaNodeParser().get_nodes_from_documents([document])
    assert str(node.image_resource.url) == "https://example.org/mug.png"
    assert node.metadata["image"] == "https://example.org/mug.png"


def test_broken_and_missing_files_are_named(pictures, tmp_path, caplog):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    good = ImageDocument(image_path=str(pictures / "picture-0.png"))
    for path in (broken, tmp_path / "gone.png", tmp_path / "gone.pdf", tmp_path / "gone.mp4"):
        documents = [good, Document(id_="bad", metadata={"file_path": str(path)})]
        parser = {".pdf": PDFPageImageParser, ".mp4": VideoSegmenter}.get(path.suffix, MediaNodeParser)
        with pytest.raises(MediaError, match=rf"document 1: .*{path.name}"):
            parser().get_nodes_from_documents(documents)
        with caplog.at_level(logging.WARNING):
            assert len(parser(on_error="skip").get_nodes_from_documents(documents)) == 1
        assert "bad" in caplog.text
        assert path.name in caplog.text
        caplog.clear()


def test_the_policy_holds(pictures, tmp_path):
    policy = MediaPolicy(allow_dirs=(tmp_path,))
    for name, parser in (
        ("picture-0.png", MediaNodeParser),
        ("paper.pdf", PDFPageImageParser),
        ("clip.mp4", VideoSegmenter),
    ):
        with pytest.raises(MediaError, match="document 0"):
            parser(media_policy=policy).get_nodes_from_documents(
                [Document(metadata={"file_path": str(pictures / name)})]
            )


def test_bytes_read_as_text_are_no_caption(pictures):
    # Without llama-index-readers-file that is what SimpleDirectoryReader makes of images.
    documents = SimpleDirectoryReader(
        input_files=[pictures / "picture-0.png", pictures / "clip.mp4"], file_extractor={}
    ).load_data()
    nodes = MediaNodeParser().get_nodes_from_documents(documents)
    assert [node.get_content(MetadataMode.NONE) for node in nodes] == ["", ""]
    assert [node.metadata["media_type"] for node in nodes] == ["image", "video"]
    assert [node.metadata["file_name"] for node in nodes] == ["picture-0.png", "clip.mp4"]


def test_relationships_metadata_and_settings_are_kept(pictures):
    parent = Document(text="parent").as_related_node_info()
    node = ImageNode(
        image_path=str(pictures / "picture-0.png"),
        relationships={NodeRelationship.PARENT: parent, NodeRelationship.SOURCE: parent},
        excluded_llm_metadata_keys=["secret"],
        metadata={"secret": 1, "media_type": "image"},
        text="told to language models alone",
    )
    (parsed,) = MediaNodeParser().get_nodes_from_documents([node])
    assert parsed.relationships == node.relationships
    assert parsed.metadata["media_type"] == "image"
    shown = parsed.get_metadata_str(MetadataMode.LLM)
    assert "secret" not in shown
    assert str(pictures) not in shown
    assert "file_name: picture-0.png" in shown
    assert parsed.get_metadata_str(MetadataMode.EMBED) == "media_type: image\nsecret: 1"
    (bare,) = MediaNodeParser(include_metadata=False).get_nodes_from_documents([node])
    assert "secret" not in bare.metadata


def test_ids_may_be_the_callers(pictures):
    parser = PDFPageImageParser(id_func=lambda number, document: f"{document.id_}-{number}")
    document = Document(id_="paper", metadata={"file_path": str(pictures / "paper.pdf")})
    assert [node.id_ for node in parser.get_nodes_from_documents([document])] == ["paper-0", "paper-1"]


def test_every_page_of_a_pdf_is_a_node(pictures, embedding):
    document = Document(id_="paper", text="%PDF-1.7 …", metadata={"file_path": str(pictures / "paper.pdf"), "year": 1})
    pages = PDFPageImageParser().get_nodes_from_documents([document])
    assert [page.metadata["page"] for page in pages] == [1, 2]
    assert {page.metadata["media_type"] for page in pages} == {"page"}
    assert {page.ref_doc_id for page in pages} == {"paper"}
    assert {page.metadata["year"] for page in pages} == {1}
    assert {page.get_content(MetadataMode.NONE) for page in pages} == {""}
    assert pages[0].next_node.node_id == pages[1].id_
    assert pages[1].prev_node.node_id == pages[0].id_
    assert len({page.id_ for page in pages}) == 2
    rendered = [draw_document("", page.metadata)[0] for page in pages]
    wanted = embedding.embedder.embed_documents([{"image": picture} for picture in rendered])
    for page, vector in zip(embedding(pages), wanted, strict=True):
        assert page.embedding == pytest.approx(vector.tolist(), abs=bound(1e-5))


def test_pages_are_written_as_images_where_wanted(pictures, tmp_path):
    document = Document(metadata={"source": str(pictures / "paper.pdf")})
    pages = PDFPageImageParser(media_dir=tmp_path / "pages").get_nodes_from_documents([document])
    (shown,) = open_images(pages[1].get_content_blocks(MetadataMode.LLM))
    assert shown.tobytes() == draw_document("", pages[1].metadata)[0].tobytes()
    assert len(list((tmp_path / "pages").iterdir())) == 2
    lazy = PDFPageImageParser().get_nodes_from_documents([document])
    assert [page.id_ for page in lazy] == [page.id_ for page in pages]


def test_documents_of_one_page_become_that_page(pictures):
    # What LlamaIndex's readers of PDFs give: the words of a page, and its label.
    documents = [
        Document(text=f"words {label}", metadata={"file_path": str(pictures / "paper.pdf"), "page_label": label})
        for label in ("1", "2")
    ]
    pages = PDFPageImageParser().get_nodes_from_documents(documents)
    assert [page.metadata["page"] for page in pages] == [1, 2]
    assert PDFPageImageParser().get_nodes_from_documents(pages) == pages


def test_a_video_becomes_windows(pictures):
    document = Document(id_="clip", metadata={"file_path": str(pictures / "clip.mp4")})
    segments = VideoSegmenter(segment_seconds=1.0, overlap_seconds=0.25).get_nodes_from_documents([document])
    assert len(segments) >= 2
    assert segments[0].metadata["start"] == 0.0
    assert segments[1].metadata["start"] == pytest.approx(0.75)
    assert {segment.video_resource.path for segment in segments} == {pictures / "clip.mp4"}
    assert {segment.ref_doc_id for segment in segments} == {"clip"}
    assert len({segment.id_ for segment in segments}) == len(segments)
    assert segments[0].next_node.node_id == segments[1].id_
    after_media = VideoSegmenter(segment_seconds=1.0, overlap_seconds=0.25)(MediaNodeParser()([document]))
    assert [segment.id_ for segment in after_media] == [segment.id_ for segment in segments]
    assert [segment.ref_doc_id for segment in after_media] == ["clip"] * len(segments)
    assert VideoSegmenter(segment_seconds=1.0, overlap_seconds=0.25)(segments) == segments


def test_a_short_video_is_one_node(pictures):
    document = Document(metadata={"file_path": str(pictures / "clip.mp4")})
    (segment,) = VideoSegmenter().get_nodes_from_documents([document])
    assert "start" not in segment.metadata
    (parsed,) = MediaNodeParser().get_nodes_from_documents([document])
    assert VideoSegmenter().get_nodes_from_documents([parsed])[0] is parsed
    assert parsed.id_ == segment.id_


def test_what_is_said_in_a_window_follows_its_caption(tmp_path):
    path = write_spoken_video(tmp_path / "talk.mkv", {(0.5, 1.5): "apple", (4.5, 5.5): "cherry"}, seconds=8)
    segmenter = VideoSegmenter(segment_seconds=4.0, overlap_seconds=0.0, asr=hear_tones)
    plain = Document(metadata={"file_path": str(path)})
    heard = segmenter.get_nodes_from_documents([plain])
    assert [(node.metadata["media_type"], node.text_resource.text) for node in heard] == [
        ("video", "apple"),
        ("video", "cherry"),
    ]
    captioned = segmenter.get_nodes_from_documents([Document(text="a talk", metadata={"video": str(path)})])
    assert [(node.metadata["media_type"], node.text_resource.text) for node in captioned] == [
        ("mixed", "a talk\n\napple"),
        ("mixed", "a talk\n\ncherry"),
    ]
    # In a pipeline another parser has made a node of the whole video before.
    pipeline = multimodal_ingestion_pipeline(segment_seconds=30.0, asr=hear_tones)
    (whole,) = pipeline.run(documents=[plain])
    assert whole.text_resource.text == "apple cherry"


def test_what_no_segmenter_can_cut_is_left_or_named(pictures):
    picture = ImageDocument(image_path=str(pictures / "picture-0.png"))
    url = Document(video_resource=MediaResource(url="https://example.org/clip.mp4"))
    assert VideoSegmenter().get_nodes_from_documents([picture, url]) == [picture, url]
    data = Document(video_resource=MediaResource(data=(pictures / "clip.mp4").read_bytes()))
    with pytest.raises(InputError, match="MediaNodeParser"):
        VideoSegmenter().get_nodes_from_documents([data])


@pytest.mark.parametrize(
    "parser",
    [
        MediaNodeParser(media_dir="media", media_policy=MediaPolicy(max_pixels=10)),
        PDFPageImageParser(on_error="skip"),
        VideoSegmenter(segment_seconds=3.0, overlap_seconds=1.0),
    ],
)
def test_parsers_are_told_by_their_options_and_can_be_pickled(parser):
    assert pickle.loads(pickle.dumps(parser)).to_dict() == parser.to_dict()  # noqa: S301 - our own
    assert type(parser).from_dict({**parser.to_dict(), "id_func": None}).to_dict() == parser.to_dict()
    assert parser.class_name() == type(parser).__name__
    with pytest.raises(ValidationError):
        type(parser)(media_folder="media")


def test_windows_that_would_not_advance_are_refused():
    with pytest.raises(ValidationError, match="overlap_seconds"):
        VideoSegmenter(segment_seconds=5.0, overlap_seconds=5.0)


def test_parsing_async_gives_the_same(pictures):
    documents = [ImageDocument(image_path=str(pictures / "picture-0.png"))]
    (node,) = asyncio.run(MediaNodeParser().acall(documents))
    assert node.to_dict() == MediaNodeParser()(documents)[0].to_dict()


def test_splitters_of_llama_index_lose_the_image_or_raise(pictures):
    # Why texts alone are given to them.
    document = Document(text="a mug", image_resource=MediaResource(path=pictures / "picture-0.png"))
    assert type(SentenceSplitter()([document])[0]) is TextNode
    with pytest.raises(ValueError, match="Unknown document type"):
        SentenceSplitter()(MediaNodeParser()([document]))
