"""Whatever is given, a message stays short, valid Unicode, and on one line; what holds bytes is media."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qwen3_vl_retrieval import InputError, MediaPolicy, RetrievalError, StoreError
from qwen3_vl_retrieval.errors import explain, quote, shorten
from qwen3_vl_retrieval.index import build_item
from qwen3_vl_retrieval.index.store.filters import compile_filter
from qwen3_vl_retrieval.items import ImagePart, TextPart, VideoPart, coerce_input, list_items
from qwen3_vl_retrieval.media import count_pdf_pages, read_image
from qwen3_vl_retrieval.media.container import read_index
from qwen3_vl_retrieval.media.policy import open_source
from qwen3_vl_retrieval.metadata import check_metadata
from qwen3_vl_retrieval.outputs.vectors import check_precision

LONG = "A" * 3_200_000
"""An image as base64, where a path belongs."""


@dataclass
class Holder:
    text: str


HUGE = [
    LONG,
    f"data:image/png;base64,{LONG}",
    f"http://{LONG}",
    f"file:///{LONG}",
    "\x1b[31m\n\ud83d" * 100_000,
    LONG.encode(),
    bytearray(LONG.encode()),
    Path(LONG),
    Path("\udcff" * 5_000),
    [LONG] * 3,
    {LONG: [LONG]},
    (LONG,),
    {LONG},
    10**6000,
    np.zeros((2000, 2000)),
    Holder(LONG),
    object(),
    float("nan"),
    1j,
    type("Long" * 1000, (), {})(),
]

ENTRIES = {
    "item": coerce_input,
    "items": list_items,
    "image": lambda value: coerce_input({"image": value}),
    "video": lambda value: coerce_input({"video": value}),
    "text": lambda value: coerce_input({"text": value}),
    "parts": lambda value: coerce_input({"parts": value}),
    "part": lambda value: coerce_input({"parts": [value]}),
    "key": lambda value: coerce_input({value: 1}),
    "instruction": lambda value: coerce_input({"text": "a", "instruction": value}),
    "fps": lambda value: coerce_input({"video": "a.mp4", "fps": value}),
    "opened image": lambda value: read_image(value, MediaPolicy()),
    "opened video": lambda value: read_index(open_source(value, MediaPolicy()), MediaPolicy()),
    "opened pdf": lambda value: count_pdf_pages(value, MediaPolicy()),
    "policy": lambda value: MediaPolicy(max_bytes=value),
    "policy hosts": lambda value: MediaPolicy(allow_hosts=(value,)),
    "policy folders": lambda value: read_image("a.png", MediaPolicy(allow_dirs=(value,) * 6)),
    "filter": compile_filter,
    "filter name": lambda value: compile_filter({value: {"$in": 1}}),
    "filter value": lambda value: compile_filter({"page": {"$gt": value}}),
    "metadata": lambda value: check_metadata({"a": value}, reserved=("a",)),
    "metadata value": lambda value: check_metadata({"a": [value]}),
    "metadata name": lambda value: check_metadata({value: object()}),
    "document": lambda value: build_item("", {"media_type": value}),
    "page": lambda value: build_item("", {"media_type": "page", "source": value, "page": 1}),
    "precision": lambda value: check_precision(value, dimensions=64, normalize=True),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_message_is_short_and_valid_unicode_whatever_was_given(entry):
    for value in HUGE:
        try:
            ENTRIES[entry](value)
        except (RetrievalError, ValueError, TypeError) as error:
            message = str(error)
        else:
            continue
        assert len(message) < 2_000, (entry, type(value), message[:200])
        assert message.encode("utf-8")
        assert message.replace("\n", "").isprintable()


ANYTHING = st.recursive(
    st.one_of(st.text(st.characters(exclude_categories=[])), st.binary(), st.integers(), st.floats(), st.none()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner, inner)),
)


@given(ANYTHING, st.integers(20, 300), st.booleans())
def test_a_quotation_is_printable_and_no_longer_than_was_asked_for(value, most_characters, with_type):
    shown = quote(value, with_type=with_type, most_characters=most_characters)
    assert len(shown) <= most_characters
    assert shown.isprintable()


@pytest.mark.parametrize("value", ["red mug", 3, 2.5, None, True, [1, "a"], {"a": [1]}, (1, 2), Path("a/b.png")])
def test_a_short_value_is_quoted_as_python_writes_it(value):
    assert quote(value) == repr(str(value) if isinstance(value, Path) else value)


def test_a_long_path_keeps_its_beginning_and_its_end_and_data_their_beginning():
    path = "/data/" + "folder/" * 500 + "invoice.pdf"
    assert quote(Path(path)).startswith("'/data/folder/")
    assert quote(path).endswith("folder/invoice.pdf'")
    assert shorten("data:image/png;base64," + LONG) == "data:image/png;base64," + "A" * 37 + "…"


def test_an_error_of_the_system_is_explained_without_the_name_that_it_repeats():
    with pytest.raises(OSError, match="File name too long") as caught:
        Path(LONG).read_bytes()
    assert explain(caught.value) == "File name too long"
    assert explain(ValueError()) == "ValueError"


def test_an_error_of_this_package_is_never_longer_than_a_screen():
    assert len(str(StoreError(LONG))) < 2_000
    assert len(str(InputError(LONG, index=3))) < 2_000
    assert str(InputError("half \udc80", index=3)) == "item 3: half ?"


def encode_thumbnail():
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(stream, "PNG")
    return stream.getvalue()


PICTURE = encode_thumbnail()


@pytest.mark.parametrize("hold", [bytes, bytearray, memoryview, io.BytesIO], ids=lambda hold: hold.__name__)
def test_whatever_holds_the_bytes_of_an_image_or_video_is_one(hold):
    assert coerce_input({"image": hold(PICTURE)}).parts == (ImagePart(PICTURE),)
    assert coerce_input({"image": [hold(PICTURE), hold(PICTURE)]}).parts == (ImagePart(PICTURE), ImagePart(PICTURE))
    assert coerce_input({"video": hold(b"clip")}).parts == (VideoPart(source=b"clip"),)
    assert coerce_input({"video": [hold(b"clip"), hold(b"clip")]}).parts == (VideoPart(source=b"clip"),) * 2
    assert coerce_input({"video": [hold(PICTURE), hold(PICTURE)]}).parts == (VideoPart(source=(PICTURE, PICTURE)),)
    assert coerce_input({"parts": [{"image": hold(PICTURE)}]}).parts == (ImagePart(PICTURE),)
    with pytest.raises(InputError, match="wrap a single item"):
        list_items(hold(PICTURE))


def test_a_file_object_is_read_from_its_beginning_and_left_where_it_was(tmp_path):
    (tmp_path / "a.png").write_bytes(PICTURE)
    with (tmp_path / "a.png").open("rb") as file:
        file.seek(5)
        item = {"image": file}
        assert coerce_input(item).parts == coerce_input(item).parts == (ImagePart(PICTURE),)
        assert file.tell() == 5
    with pytest.raises(InputError, match="closed file"):
        coerce_input({"image": file})
    with (tmp_path / "a.png").open(encoding="latin-1") as text, pytest.raises(InputError, match="open it for bytes"):
        coerce_input({"image": text})


def test_tensors_are_images_and_videos_of_the_shapes_of_arrays():
    tensor = torch.zeros((6, 8, 3), dtype=torch.uint8)
    [part] = coerce_input({"image": tensor}).parts
    assert (part.source.shape, part.source.dtype) == ((6, 8, 3), np.uint8)
    [clip] = coerce_input({"video": torch.zeros((2, 6, 8, 3), dtype=torch.uint8)}).parts
    assert clip.source.shape == (2, 6, 8, 3)
    [frames] = coerce_input({"video": [tensor, tensor]}).parts
    assert len(frames.source) == 2
    for wrong in (tensor.permute(2, 0, 1), tensor.float()):
        with pytest.raises(InputError, match="channels come last"):
            coerce_input({"image": wrong})
    with pytest.raises(InputError, match="wrap a single item"):
        list_items(tensor)


@pytest.mark.parametrize("dtype", [str, object])
def test_an_array_of_texts_or_paths_is_a_list_of_them(dtype):
    texts = np.array(["red", "blue"], dtype=dtype)
    assert list_items(texts) == ["red", "blue"]
    assert coerce_input({"text": texts}).parts == (TextPart("red"), TextPart("blue"))
    assert coerce_input(texts[0]).parts == (TextPart("red"),)
    assert type(coerce_input(texts[0]).parts[0].text) is str
    assert json.dumps(list_items(texts))
    names = np.array(["a.png", "b.png"], dtype=dtype)
    assert coerce_input({"image": names}).parts == (ImagePart("a.png"), ImagePart("b.png"))
    assert coerce_input({"video": names}).parts == (VideoPart(source=("a.png", "b.png")),)
    with pytest.raises(InputError, match="wrap a single item"):
        list_items(np.zeros((2, 2)))
