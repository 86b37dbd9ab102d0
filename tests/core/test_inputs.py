"""What counts as an item, and what the errors say."""

from __future__ import annotations

import pickle
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qwen3_vl_retrieval import InputError, MultimodalInput
from qwen3_vl_retrieval.items import DocumentPage, ImagePart, TextPart, VideoPart, coerce_input, list_items

PICTURE = Image.new("RGB", (8, 8))


@pytest.mark.parametrize(
    "text", ["https://example.com/cat.png", "photo.png", "file:///etc/passwd", "data:image/png;base64,AA", ""]
)
def test_a_str_is_always_text(text):
    assert coerce_input(text).parts == (TextPart(text),)


def test_a_path_is_an_image_or_a_video_by_its_suffix():
    assert coerce_input(Path("a/photo.JPG")).parts == (ImagePart(Path("a/photo.JPG")),)
    assert coerce_input(Path("clip.mp4")).parts == (VideoPart(source=Path("clip.mp4")),)


@pytest.mark.parametrize(
    ("name", "advice"), [("x.pdf", "render_pdf_page"), ("x.txt", "read_text"), ("x.xyz", "say which")]
)
def test_other_paths_say_what_to_do_instead(name, advice):
    with pytest.raises(InputError, match=advice):
        coerce_input(Path(name))


def test_the_official_order_is_video_image_text():
    parts = coerce_input({"text": ["a", "b"], "image": "i.png", "video": "v.mp4"}).parts
    assert parts == (VideoPart(source="v.mp4"), ImagePart("i.png"), TextPart("a"), TextPart("b"))


def test_a_page_of_a_pdf_is_an_image():
    page = DocumentPage("a.pdf", 2)
    assert coerce_input({"image": page}).parts == (ImagePart(page),)
    assert coerce_input({"parts": ["before", {"image": page}]}).parts == (TextPart("before"), ImagePart(page))


def test_parts_keep_their_order():
    item = MultimodalInput(parts=["before", PICTURE, {"video": "v.mp4", "fps": 4, "end": 9.0}, "after"], max_frames=8)
    assert coerce_input(item).parts == (
        TextPart("before"),
        ImagePart(PICTURE),
        VideoPart(source="v.mp4", fps=4, max_frames=8, end=9.0),
        TextPart("after"),
    )


@pytest.mark.parametrize(
    ("video", "clips"),
    [
        ("a.mp4", 1),
        (["a.mp4", "b.mp4"], 2),
        (["0.png", "1.png", "2.png"], 1),
        (["https://example.com/0.png?x=1.mp4"], 1),
        ([PICTURE, PICTURE], 1),
        ([[PICTURE], ["a.png"]], 2),
        ([["0.png"], "b.mp4"], 2),
        (np.zeros((3, 8, 8, 3), np.uint8), 1),
        ([np.zeros((8, 8, 3), np.uint8)] * 4, 1),
        ([np.zeros((2, 8, 8, 3), np.uint8)] * 4, 4),
        ([b"\x89PNG...", b"\x89PNG..."], 1),
        ([b"RIFF....AVI ", b"....ftyp"], 2),
        ([b"RIFF....WEBPVP8 "], 1),
        ([Path("0.jpg"), Path("1.jpg")], 1),
        ([DocumentPage("a.pdf", 1), DocumentPage("a.pdf", 2)], 1),
        (["DATA:image/png;base64,AA", "DATA:image/png;base64,AA"], 1),
    ],
)
def test_a_list_that_begins_with_an_image_is_one_video(video, clips):
    assert len(coerce_input({"video": video}).parts) == clips


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({}, "empty item"),
        ({"text": None, "image": []}, "empty item"),
        (MultimodalInput(), "empty item"),
        ({"imgae": "x.png"}, "unknown key 'imgae'; allowed are text, image"),
        ({"text": 3}, "text must be a str"),
        ({"text": "a", "instruction": 3}, "instruction must be a str"),
        ({"image": 3}, "image is int 3"),
        ({"image": np.zeros((8, 8, 3))}, "uint8"),
        ({"image": np.zeros((8, 8, 7), np.uint8)}, r"\(8, 8, 7\)"),
        ({"video": []}, "at least one frame"),
        ({"video": np.zeros((8, 8, 3), np.float32)}, "uint8 of shape"),
        ({"video": 3}, "video is int 3"),
        ({"video": "v.mp4", "fps": 0}, "fps must be a positive number, got 0"),
        ({"video": "v.mp4", "fps": float("nan")}, "fps must be a positive number"),
        ({"video": "v.mp4", "max_frames": True}, "max_frames must be a positive number"),
        ({"video": "v.mp4", "start": -1}, "start must be a non-negative number"),
        ({"video": "v.mp4", "start": 5, "end": 5}, "start must be before end"),
        (MultimodalInput(text="a", parts=["b"]), "either parts"),
        (MultimodalInput(parts=[{"text": "a", "image": "b"}]), "part 0 must have exactly one"),
        (MultimodalInput(parts=[3]), "part 0 is int 3"),
        (MultimodalInput(parts="abc"), "parts must be a list, got str 'abc'"),
        ({"parts": {"image": "a.png"}}, "parts must be a list, got dict"),
        ({"parts": 5}, "parts must be a list, got int 5"),
        (MultimodalInput(parts=[{"text": ["a", "b"]}]), "the text of part 0 must be one str"),
        (MultimodalInput(parts=[TextPart(5)]), "text must be a str"),
        (MultimodalInput(parts=[ImagePart(None)]), "image is NoneType"),
        (MultimodalInput(parts=[VideoPart(source="v.mp4", fps=-1)]), "fps must be a positive number, got -1"),
        (MultimodalInput(parts=[VideoPart(source="v.mp4", end=2.0)], start=3.0), "start must be before end"),
        ({"video": "v.mp4", "max_frames": 2.5}, "max_frames must be a whole number, got 2.5"),
        ({"video": "v.mp4", "fps": 10**400}, "fps must be a positive number"),
        ({"video": "v.mp4", "fps": np.array([2.0])}, "fps must be a positive number"),
        ("x\ud83d", "half of a surrogate pair .* at position 1"),
        ({"text": "a", "instruction": "\ud83d"}, "instruction holds half of a surrogate pair"),
        (3.5, "got float 3.5; allowed are str"),
        (None, "got NoneType None"),
    ],
)
def test_what_cannot_be_embedded_says_what_was_given_and_what_is_allowed(item, message):
    with pytest.raises(InputError, match=message):
        coerce_input(item)


@pytest.mark.parametrize(
    "part", [Path("v.mp4"), {"video": "v.mp4"}, VideoPart(source="v.mp4")], ids=["path", "dict", "VideoPart"]
)
def test_videos_among_parts_have_the_options_of_their_item(part):
    (clip,) = coerce_input(MultimodalInput(parts=[part], fps=2, max_frames=np.int64(4), start=50)).parts
    assert (clip.fps, clip.max_frames, clip.start, clip.end) == (2.0, 4, 50.0, None)
    assert [type(value) for value in (clip.fps, clip.max_frames)] == [float, int]


def test_numbers_may_be_of_any_kind():
    (clip,) = coerce_input({"video": "v.mp4", "fps": Fraction(3, 2), "start": Decimal("0.5"), "max_frames": 8.0}).parts
    assert (clip.fps, clip.start, clip.max_frames) == (1.5, 0.5, 8)


def test_a_malformed_url_is_left_to_its_opening():
    (clip,) = coerce_input({"video": ["http://[::1/x.png"]}).parts
    assert clip.source == ("http://[::1/x.png",)


def test_an_empty_text_is_not_an_empty_item():
    assert coerce_input({"text": ""}).parts == (TextPart(""),)


@pytest.mark.parametrize(
    "single", ["text", b"bytes", {"text": "a"}, PICTURE, Path("a.png"), MultimodalInput(text="a"), 3]
)
def test_a_single_item_is_not_taken_for_a_list(single):
    with pytest.raises(InputError, match="wrap a single item in a list"):
        list_items(single)


def test_items_may_come_from_a_generator():
    assert list_items(text for text in "ab") == ["a", "b"]


def test_errors_survive_pickling_with_their_position():
    error = pickle.loads(pickle.dumps(InputError("broken").at(7, role="document")))  # noqa: S301 - our own bytes
    assert (error.index, error.role, str(error)) == (7, "document", "document 7: broken")
