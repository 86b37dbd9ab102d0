"""Media that are kept as files: named by content, written whole, of a known type, and no larger than allowed."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, MediaPolicyError
from qwen3_vl_retrieval.documents.kept_media import encode_item
from qwen3_vl_retrieval.index import (
    decode_data_uri,
    encode_jpeg,
    find_local_file,
    hash_file,
    identify_media,
    keep_file,
    keep_media,
)
from viewed_images import draw_corners, encode

CONTENT = encode(draw_corners(), "PNG")
SMALL = MediaPolicy(max_bytes=len(CONTENT) - 1)
URIS = {
    "base64": "data:image/png;base64," + base64.b64encode(CONTENT).decode(),
    "percent": "data:image/png," + "".join(f"%{byte:02x}" for byte in CONTENT),
}

BEGINNINGS = {
    ".mp4": b"\x00\x00\x00\x14ftypisom",
    ".3gp": b"\x00\x00\x00\x14ftyp3gp5",
    ".mov": b"\x00\x00\x00\x14ftypqt  ",
    ".webm": b"\x1a\x45\xdf\xa3\x01\x00\x42\x82\x84webm",
    ".mkv": b"\x1a\x45\xdf\xa3\x01\x00\x42\x82\x88matroska",
    ".avi": b"RIFF\x00\x00\x00\x00AVI LIST",
    ".mpg": b"\x00\x00\x01\xba\x44\x00",
    ".flv": b"FLV\x01\x05",
    ".wmv": bytes.fromhex("3026b2758e66cf11a6d9"),
    ".ts": (b"G" + bytes(187)) * 2,
}


@pytest.mark.parametrize("uri", URIS.values(), ids=URIS.keys())
def test_a_data_uri_holds_no_more_than_the_policy_allows(uri, tmp_path):
    assert decode_data_uri(uri) == CONTENT
    for refuse in (decode_data_uri, lambda uri, policy: encode_item({"image": uri}, tmp_path, policy)):
        with pytest.raises(MediaPolicyError, match="above max_bytes"):
            refuse(uri, SMALL)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_data_uri_is_not_opened():
    with pytest.raises(ValueError, match="is no data: URI"):
        decode_data_uri("/etc/passwd")


def test_data_larger_than_the_policy_allows_is_not_kept(tmp_path):
    with pytest.raises(MediaPolicyError, match="above max_bytes"):
        keep_media(CONTENT, "image", tmp_path, policy=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_kept_once_under_its_hash(tmp_path):
    path = keep_media(CONTENT, "image", tmp_path / "new")
    assert path == tmp_path / "new" / f"{hashlib.sha256(CONTENT).hexdigest()}.png"
    assert path.read_bytes() == CONTENT
    before = path.stat().st_mtime_ns
    assert keep_media(CONTENT, "image", tmp_path / "new") == path
    assert path.stat().st_mtime_ns == before
    assert hash_file(path) == path.stem


def test_an_image_in_a_store_has_the_suffix_of_its_format(tmp_path):
    encode_item({"image": CONTENT}, tmp_path, MediaPolicy())
    (kept,) = tmp_path.iterdir()
    assert kept.suffix == ".png"


def test_what_is_kept_has_to_be_what_it_is_given_as(tmp_path):
    with pytest.raises(MediaError, match="no video that is understood"):
        keep_media(CONTENT, "video", tmp_path)
    with pytest.raises(MediaError, match="no image that is understood"):
        keep_media(b"nothing", "image", tmp_path)
    with pytest.raises(MediaError):
        keep_media(CONTENT[:20], "image", tmp_path)
    with pytest.raises(InputError, match="give media_dir"):
        keep_media(CONTENT, "image", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "beginning"), BEGINNINGS.items(), ids=BEGINNINGS.keys())
def test_a_video_is_named_after_what_it_is(suffix, beginning, tmp_path):
    found = identify_media(beginning)
    assert (found.medium, found.suffix) == ("video", suffix)
    assert keep_media(beginning, "video", tmp_path).suffix == suffix


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(self, target):
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="the disk is full"):
        keep_file(CONTENT, tmp_path, suffix=".png")
    assert list(tmp_path.iterdir()) == []


def test_a_path_or_file_uri_is_local_and_no_other_uri_is():
    assert find_local_file("a:b.png") == Path("a:b.png")
    assert find_local_file("file:///a%20b.png") == Path("/a b.png")
    for uri in ("data:,x", "https://example.org/a.png", "s3://bucket/a.png"):
        assert find_local_file(uri) is None


def test_a_file_beyond_the_policy_is_not_hashed(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(CONTENT)
    with pytest.raises(MediaPolicyError, match="above max_bytes"):
        hash_file(path, SMALL)
    with pytest.raises(MediaError, match="no such file"):
        hash_file(tmp_path / "gone.png")


def test_a_jpeg_fits_its_limits():
    picture = draw_corners().convert("RGB").resize((400, 300))
    assert len(encode_jpeg(picture, max_pixels=10_000, max_bytes=1_100)) <= 1_100
    assert encode_jpeg(picture).startswith(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match="max_bytes=5"):
        encode_jpeg(picture, max_bytes=5)
