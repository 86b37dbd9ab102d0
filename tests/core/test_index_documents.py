from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, MediaPolicyError
from qwen3_vl_retrieval.documents.descriptions import find_media_type
from qwen3_vl_retrieval.index import (
    MultimodalIndex,
    Unit,
    build_item,
    describe_hit,
    describe_unit,
    draw_document,
    read_units,
)


@pytest.fixture
def folder(tmp_path, media):
    """An image, a PDF of two pages, a video and a note."""
    pages = [Image.new("RGB", (300, 400), color) for color in ("white", "navy")]
    pages[0].save(tmp_path / "paper.pdf", save_all=True, append_images=pages[1:])
    Image.new("RGB", (120, 80), "red").save(tmp_path / "red.png")
    (tmp_path / "note.txt").write_text("a note about a red square")
    return tmp_path


@pytest.fixture(scope="session")
def clip(media):
    return next(media.glob("*.mp4"))


# What a document is


@pytest.mark.parametrize(
    ("text", "metadata", "kind"),
    [
        ("words", {}, "text"),
        ("words", {"source": "notes.txt"}, "text"),
        ("", {"image": "a.png"}, "image"),
        ("caption", {"image": "a.png"}, "mixed"),
        ("caption", {"image": "a.png", "media_type": "image"}, "image"),
        ("", {"video": "a.mp4"}, "video"),
        ("", {"image_uri": "s3.png"}, "image"),
        ("", {"source": "a.jpg"}, "image"),
        ("", {"source": "a.bin", "mime_type": "video/mp4"}, "video"),
        ("text layer", {"source": "a.pdf", "page": 2, "media_type": "page"}, "page"),
    ],
)
def test_the_metadata_say_what_a_document_is(text, metadata, kind):
    assert find_media_type(text, metadata) == kind


def test_an_unknown_media_type_is_named():
    with pytest.raises(InputError, match=r"media_type='photo' is unknown; allowed are text, image"):
        build_item("", {"media_type": "photo", "image": "a.png"})


# What models are given


def test_captions_are_not_given_to_models_unless_the_document_is_mixed():
    picture = {"image": "a.png"}
    assert build_item("a caption", {**picture, "media_type": "image"}) == {"image": "a.png"}
    assert build_item("a caption", picture) == {"image": "a.png", "text": "a caption"}


def test_windows_of_videos_stay_windows():
    metadata = {"media_type": "video", "video": "a.mp4", "start": 5, "end": 35}
    assert build_item("a transcript", metadata) == {"video": "a.mp4", "start": 5.0, "end": 35.0}


def test_several_images_are_one_item():
    assert build_item("", {"image": ["a.png", "b.png"]}) == {"image": ["a.png", "b.png"]}


def test_any_metadatum_can_hold_the_media():
    assert build_item("", {"thumb": "a.png", "image": "b.png"}, media_key="thumb") == {"image": "a.png"}
    assert build_item("", {"clip": "a.mp4"}, media_key="clip") == {"video": "a.mp4"}
    assert build_item("words", {"image": "b.png"}, media_key="thumb") == "words"


def test_a_page_is_rendered(folder):
    page = build_item("its words", {"media_type": "page", "source": str(folder / "paper.pdf"), "page": 2})
    assert isinstance(page, Image.Image)
    assert np.asarray(page).mean(axis=(0, 1)) == pytest.approx([0, 0, 128], abs=8)


def test_a_page_may_be_left_to_the_model(folder, embedder):
    metadata = {"media_type": "page", "source": str(folder / "paper.pdf"), "page": 2}
    left = build_item("its words", metadata, render_pages=False)
    assert (left["image"].source, left["image"].page) == (folder / "paper.pdf", 2)
    assert np.array_equal(embedder.embed([left]), embedder.embed([build_item("its words", metadata)]))
    with pytest.raises(MediaError, match="there is no page 3"):
        build_item("its words", {**metadata, "page": 3}, render_pages=False)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"media_type": "image"}, "names no image or video; put a path or URI"),
        ({"media_type": "mixed", "source": "a.png"}, "names no image or video"),
        ({"media_type": "page", "source": "a.pdf"}, "has no 'page'"),
    ],
)
def test_what_is_missing_is_named(metadata, message):
    with pytest.raises(InputError, match=message):
        build_item("", metadata)


def test_pages_are_opened_under_the_policy(folder):
    metadata = {"media_type": "page", "source": str(folder / "paper.pdf"), "page": 1}
    with pytest.raises(MediaPolicyError):
        build_item("", metadata, policy=MediaPolicy(allow_dirs=(folder / "elsewhere",)))
    with pytest.raises(MediaPolicyError):
        build_item("", metadata, policy=MediaPolicy(allow_dirs=(folder / "elsewhere",)), render_pages=False)


# There and back


def test_units_described_are_built_again(folder, clip, embedder):
    paths = [folder / "red.png", folder / "paper.pdf", folder / "note.txt", clip]
    for unit in [unit for path in paths for unit in read_units(path, MediaPolicy())]:
        metadata = describe_unit(unit)
        assert all(isinstance(value, str | int | float) for value in metadata.values())
        assert metadata["source"] == str(unit.source)
        item = build_item("" if unit.text is None else unit.text, metadata)
        if unit.media_type == "page":
            assert isinstance(item, Image.Image)
        elif unit.media_type == "text":
            assert item == unit.text
        else:
            assert item == {unit.media_type: str(unit.source)}


def test_hits_described_have_both_scores_and_the_callers_metadata(folder, tmp_path, embedder, reranker):
    with MultimodalIndex.open(tmp_path / "store", embedder, reranker) as index:
        index.add([folder / "red.png"], metadata={"owner": "me"})
        index.add([{"text": "both", "image": Image.new("RGB", (64, 64), "blue")}])
        hits = {hit.media_type: hit for hit in index.search("a picture", k=2)}
    picture = describe_hit(hits["image"])
    assert picture["owner"] == "me"
    assert (picture["source"], picture["image"]) == (str(folder / "red.png"),) * 2
    assert picture["similarity_score"] == hits["image"].similarity_score
    assert picture["relevance_score"] == hits["image"].relevance_score
    mixed = describe_hit(hits["mixed"])
    assert mixed["media_type"] == "mixed"
    assert Path(str(mixed["image"])).is_file()
    assert "source" not in mixed


# What it looks like


def test_documents_are_drawn(folder, clip):
    (picture,) = draw_document("", {"image": str(folder / "red.png")})
    assert (picture.size, picture.getpixel((5, 5))) == ((120, 80), (255, 0, 0))
    (page,) = draw_document("words", describe_unit(Unit(source=folder / "paper.pdf", media_type="page", page=1)))
    assert page.getpixel((9, 9)) == (255, 255, 255)
    frames = draw_document("", {"video": str(clip)}, max_frames=3)
    assert len(frames) == 3
    assert draw_document("words alone", {}) == []


def test_an_image_that_is_gone_is_named(folder):
    with pytest.raises(MediaError, match=r"gone\.png"):
        draw_document("", {"image": str(folder / "gone.png")})
