"""Documents of images and videos."""

from __future__ import annotations

import base64
import hashlib
import io
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from PIL import Image

from langchain_qwen3_vl.contents import coerce_item
from langchain_qwen3_vl.documents import (
    document_to_content_blocks,
    hit_to_document,
    image_document,
    media_key_encoder,
    video_document,
)
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, MediaPolicyError
from qwen3_vl_retrieval.index import Hit, Unit

MEDIA = Path(__file__).parents[1] / "core" / "reference" / "media"
PHOTO = MEDIA / "photo_500x333.jpg"
VIDEO = MEDIA / "clip_40f_8fps.mp4"


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def open_block(block) -> Image.Image:
    assert block["type"] == "image"
    assert block["mime_type"] == "image/jpeg"
    return Image.open(io.BytesIO(base64.b64decode(block["base64"])))


def test_the_document_of_a_local_image_tells_what_is_known_of_it():
    assert image_document(str(PHOTO), id="photo") == Document(
        id="photo",
        page_content="",
        metadata={
            "media_type": "image",
            "image": str(PHOTO),
            "source": str(PHOTO),
            "mime_type": "image/jpeg",
            "sha256": hash_of(PHOTO),
            "width": 500,
            "height": 333,
        },
    )


def test_an_image_with_a_text_is_a_mixture():
    document = image_document(PHOTO, text="on the beach")
    assert document.metadata["media_type"] == "mixed"
    assert coerce_item(document) == {"image": str(PHOTO), "text": "on the beach"}


def test_metadata_of_the_caller_go_first():
    document = image_document(PHOTO, text="caption", metadata={"media_type": "image", "source": "album", "year": 1999})
    assert coerce_item(document) == {"image": str(PHOTO)}
    assert (document.metadata["source"], document.metadata["year"]) == ("album", 1999)


def test_metadata_that_name_another_image_are_refused():
    with pytest.raises(InputError, match="'image_uri' of another image"):
        image_document(PHOTO, metadata={"image_uri": "b.png"})


def test_a_web_address_stays_one_and_is_not_downloaded():
    uri = "https://example.org/a/b.png?signature=1"
    document = image_document(uri)
    assert document.metadata == {"media_type": "image", "image": uri, "source": uri, "mime_type": "image/png"}


def test_a_file_uri_is_a_local_file():
    document = image_document(PHOTO.as_uri())
    assert document.metadata["image"] == PHOTO.as_uri()
    assert document.metadata["sha256"] == hash_of(PHOTO)


IMAGE = Image.new("CMYK", (7, 5))
GIVEN = {
    "bytes": (PHOTO.read_bytes(), ".jpg"),
    "image": (IMAGE, ".png"),
    "blob": (Blob.from_data(PHOTO.read_bytes(), mime_type="image/jpeg", metadata={"year": 1999}), ".jpg"),
    "data uri": ("data:image/jpeg;base64," + base64.b64encode(PHOTO.read_bytes()).decode(), ".jpg"),
}


@pytest.mark.parametrize(("given", "suffix"), GIVEN.values(), ids=GIVEN.keys())
def test_images_without_a_file_are_written_under_their_hash(given, suffix, tmp_path):
    folder = tmp_path / "new" / "media"
    document = image_document(given, media_dir=folder)
    [written] = folder.iterdir()
    assert written.name == hash_of(written) + suffix
    assert document.metadata["image"] == str(written)
    assert document.metadata["sha256"] == hash_of(written)
    with Image.open(written) as image:
        assert (document.metadata["width"], document.metadata["height"]) == image.size
    assert document.page_content == ""
    if isinstance(given, Blob):
        assert document.metadata["year"] == 1999


def test_equal_images_are_one_file_which_is_not_written_again(tmp_path):
    first = image_document(PHOTO.read_bytes(), media_dir=tmp_path)
    path = Path(first.metadata["image"])
    before = path.stat().st_mtime_ns
    assert image_document(PHOTO.read_bytes(), media_dir=tmp_path) == first
    assert path.stat().st_mtime_ns == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_image_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(self, target):
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="the disk is full"):
        image_document(PHOTO.read_bytes(), media_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [value[0] for value in GIVEN.values()], ids=GIVEN.keys())
def test_images_without_a_file_need_a_folder(given):
    with pytest.raises(InputError, match=r"bytes were given as image.*give media_dir"):
        image_document(given)


def test_a_blob_of_a_file_stays_that_file():
    assert image_document(Blob.from_path(PHOTO)).metadata["image"] == str(PHOTO)


def test_a_blob_of_nothing_is_refused():
    with pytest.raises(InputError, match="neither data nor path"):
        image_document(Blob.model_construct(data=None, path=None, metadata={}))


def test_a_missing_or_other_file_is_refused_by_name(tmp_path):
    with pytest.raises(MediaError, match=r"no such file: 'gone\.png'"):
        image_document("gone.png")
    note = tmp_path / "note.png"
    note.write_text("no image")
    with pytest.raises(MediaError, match=r"note\.png' is not an image that is understood"):
        image_document(note)
    with pytest.raises(MediaError, match="are no image"):
        image_document(b"no image", media_dir=tmp_path)
    with pytest.raises(MediaError, match="is no video"):
        video_document(PHOTO)
    with pytest.raises(MediaError, match="are no video"):
        video_document(PHOTO.read_bytes(), media_dir=tmp_path)


@pytest.mark.parametrize("uri", ["data:image/png;base64", "data:image/png;base64,§"])
def test_a_malformed_data_uri_is_refused(uri, tmp_path):
    with pytest.raises(InputError, match="malformed data: URI 'data:image/png;base64"):
        image_document(uri, media_dir=tmp_path)


@pytest.mark.parametrize("make", [image_document, video_document])
def test_a_data_uri_above_the_limit_is_refused(make, tmp_path):
    content = (PHOTO if make is image_document else VIDEO).read_bytes()
    for given in (
        "data:;base64," + base64.b64encode(content).decode(),
        "data:," + "".join(f"%{byte:02x}" for byte in content),
        content,
    ):
        with pytest.raises(MediaPolicyError, match="above max_bytes"):
            make(given, media_dir=tmp_path, media_policy=MediaPolicy(max_bytes=len(content) - 1))
    assert list(tmp_path.iterdir()) == []


def test_a_percent_encoded_data_uri_is_decoded(tmp_path):
    uri = "data:image/jpeg," + "".join(f"%{byte:02x}" for byte in PHOTO.read_bytes())
    assert image_document(uri, media_dir=tmp_path).metadata["sha256"] == hash_of(PHOTO)


def test_the_document_of_a_video_tells_its_window():
    document = video_document(VIDEO, start=1, end=2.5)
    assert document.metadata == {
        "media_type": "video",
        "video": str(VIDEO),
        "source": str(VIDEO),
        "mime_type": "video/mp4",
        "sha256": hash_of(VIDEO),
        "start": 1.0,
        "end": 2.5,
    }
    assert coerce_item(document) == {"video": str(VIDEO), "start": 1.0, "end": 2.5}


@pytest.mark.parametrize(("start", "end"), [(-1, None), (2, 2), (3, 1), (None, 0)])
def test_an_empty_window_is_refused(start, end):
    with pytest.raises(InputError, match="must not be negative"):
        video_document(VIDEO, start=start, end=end)


HEADERS = {
    ".mov": b"\x00\x00\x00\x14ftypqt  ",
    ".webm": b"\x1a\x45\xdf\xa3\x01\x00\x42\x82\x84webm",
    ".mkv": b"\x1a\x45\xdf\xa3\x01\x00\x42\x82\x88matroska",
    ".avi": b"RIFF\x00\x00\x00\x00AVI LIST",
    ".mpg": b"\x00\x00\x01\xba\x44\x00",
}


@pytest.mark.parametrize(("suffix", "content"), HEADERS.items(), ids=HEADERS.keys())
def test_videos_are_named_after_what_they_are(suffix, content, tmp_path):
    document = video_document(content, media_dir=tmp_path)
    assert Path(document.metadata["video"]).suffix == suffix


def test_an_image_in_the_container_of_mp4_is_no_video(tmp_path):
    with pytest.raises(MediaError, match="are no video"):
        video_document(b"\x00\x00\x00\x14ftypavif", media_dir=tmp_path)


def test_an_image_of_a_camera_with_a_second_one_inside_is_a_jpeg(tmp_path):
    stream = io.BytesIO()
    first, second = Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")
    first.save(stream, "MPO", save_all=True, append_images=[second])
    document = image_document(stream.getvalue(), media_dir=tmp_path)
    assert document.metadata["mime_type"] == "image/jpeg"


def test_a_chat_model_is_shown_text_and_image():
    text, image = document_to_content_blocks(image_document(PHOTO, text="on the beach"))
    assert (text["type"], text["text"]) == ("text", "on the beach")
    with Image.open(PHOTO) as photo:
        difference = np.asarray(open_block(image), dtype=int) - np.asarray(photo, dtype=int)
    assert np.abs(difference).mean() < 4


def test_a_document_without_a_text_has_no_text_block():
    assert [block["type"] for block in document_to_content_blocks(image_document(PHOTO))] == ["image"]
    assert document_to_content_blocks(Document("a"), with_text=False) == []


def test_images_for_chat_models_are_capped():
    [block] = document_to_content_blocks(image_document(MEDIA / "big_2200x1500.jpg"), max_pixels=100_000)
    image = open_block(block)
    assert 90_000 < image.width * image.height <= 100_000
    assert image.width / image.height == pytest.approx(2200 / 1500, rel=0.02)
    [block] = document_to_content_blocks(image_document(MEDIA / "big_2200x1500.jpg"), max_bytes=4_000)
    assert len(base64.b64decode(block["base64"])) <= 4_000


def test_a_small_image_is_not_enlarged():
    [block] = document_to_content_blocks(image_document(MEDIA / "small_20x17.png"))
    assert open_block(block).size == (20, 17)


@pytest.mark.parametrize("limits", [{"max_pixels": 0}, {"max_bytes": 1_000}, {"max_frames": 0}])
def test_limits_that_allow_nothing_are_refused(limits):
    with pytest.raises(ValueError, match=f"{next(iter(limits))}={next(iter(limits.values()))}"):
        document_to_content_blocks(image_document(PHOTO), **limits)


def test_a_video_is_shown_as_frames_of_its_window():
    blocks = document_to_content_blocks(video_document(VIDEO, start=1, end=3), max_frames=3)
    assert [block["type"] for block in blocks] == ["image"] * 3
    assert len({block["base64"] for block in blocks}) == 3


def test_a_page_is_rendered_for_chat_models(images):
    page = {"media_type": "page", "source": str(images / "paper.pdf")}
    first, second = (document_to_content_blocks(Document("", metadata={**page, "page": number})) for number in (1, 2))
    assert len(first) == len(second) == 1
    assert first[0]["base64"] != second[0]["base64"]


def test_each_of_several_images_is_shown():
    document = Document("", metadata={"image": [str(PHOTO), str(MEDIA / "small_20x17.png")]})
    assert [open_block(block).size for block in document_to_content_blocks(document)] == [(500, 333), (20, 17)]


def test_the_policy_and_the_key_of_the_caller_hold_for_what_is_shown(tmp_path):
    document = Document("", metadata={"scan": str(PHOTO)})
    assert len(document_to_content_blocks(document, media_key="scan")) == 1
    with pytest.raises(MediaPolicyError):
        document_to_content_blocks(document, media_key="scan", media_policy=MediaPolicy(allow_dirs=(tmp_path,)))


def test_the_key_of_a_document_changes_with_the_bytes_behind_the_name(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8), "red").save(path)
    document = image_document(path)
    before = media_key_encoder(document)
    assert media_key_encoder(document.model_copy(deep=True)) == before
    Image.new("RGB", (8, 8), "blue").save(path)
    assert media_key_encoder(document) != before


@pytest.mark.parametrize(
    "metadata",
    [
        {"media_type": "image", "source": "{path}"},
        {"video": "file://{path}"},
        {"image": ["{path}", "b.png"]},
        {"image_url": "{path}"},
    ],
    ids=["source", "file uri", "list", "other key"],
)
def test_the_key_reads_the_file_wherever_it_is_named(metadata, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")

    def fill(value):
        return [fill(one) for one in value] if isinstance(value, list) else value.replace("{path}", str(path))

    document = Document("", metadata={key: fill(value) for key, value in metadata.items()})
    before = media_key_encoder(document)
    path.write_bytes(b"two")
    assert media_key_encoder(document) != before


def test_the_key_of_a_text_is_of_text_and_metadata_alone(tmp_path):
    source = tmp_path / "note.txt"
    source.write_text("one")
    document = Document("a", metadata={"source": str(source), "media_type": "text"})
    before = media_key_encoder(document)
    source.write_text("two")
    assert media_key_encoder(document) == before
    assert media_key_encoder(Document("b", metadata=document.metadata)) != before
    assert media_key_encoder(Document("a", metadata={**document.metadata, "n": 1})) != before


def test_the_key_of_a_file_that_is_gone_is_of_its_metadata():
    gone = Document("", metadata={"image": "gone.png", "sha256": "a"})
    other = Document("", metadata={"image": "gone.png", "sha256": "b"})
    assert media_key_encoder(gone) != media_key_encoder(other)


def test_the_key_takes_paths_dates_and_numbers_and_no_other_object():
    metadata = {"path": Path("a"), "day": date(2026, 1, 2), "count": np.int64(3)}
    plain = {"path": "a", "day": "2026-01-02", "count": 3}
    assert media_key_encoder(Document("", metadata=metadata)) == media_key_encoder(Document("", metadata=plain))
    with pytest.raises(InputError, match="object is no JSON"):
        media_key_encoder(Document("", metadata={"thing": object()}))


def test_a_hit_becomes_a_document_with_both_scores():
    hit = Hit(
        rank=1,
        id="h",
        unit=Unit(source=PHOTO, media_type="image"),
        sources=(str(PHOTO),),
        similarity_score=0.5,
        relevance_score=0.75,
        keyword_rank=None,
        metadata={"year": 1999},
        stored_item=None,
        policy=MediaPolicy(),
    )
    document = hit_to_document(hit)
    assert (document.id, document.page_content) == ("h", "")
    expected = {"media_type": "image", "image": str(PHOTO), "similarity_score": 0.5, "relevance_score": 0.75}
    assert expected.items() <= document.metadata.items()
    assert document.metadata["year"] == 1999
