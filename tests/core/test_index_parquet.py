"""A store written as Parquet comes back as it was, and other tools can read and filter it."""

from __future__ import annotations

import json
import sys
import weakref
from dataclasses import replace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_vl_retrieval import Fingerprint, FingerprintMismatchError
from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.index.store.parquet import ROW_GROUP_ROWS, ExportBatch, read_parquet, write_parquet

FINGERPRINT = Fingerprint(
    model="Qwen/Qwen3-VL-Embedding-2B",
    revision="9f3c1e",
    dimensions=4,
    precision="float32",
    instruction="Represent the user's input.",
    pixel_budget="min_pixels=4096, max_pixels=1843200",
    frame_sampling="fps=1.0, max_frames=64",
    max_length=8192,
    prompt_version="8ce3aab",
)

PAGE = {
    "media_type": "page",
    "source": "/docs/invoice.pdf",
    "page": 3,
    "mime_type": "application/pdf",
    "sha256": "ab" * 32,
    "year": 2024,
    "is_paid": True,
    "客户": "Müller & Söhne",
}
CLIP = {"media_type": "video", "source": "/docs/clip.mp4", "start": 25.0, "end": 55.5, "width": 640, "height": 360}
NOTE = {"media_type": "text", "sha256": "cd" * 32}


def make_batch(metadata=(PAGE, CLIP, NOTE), *, dtype=np.float32, first=0):
    count = len(metadata)
    vectors = np.arange(first * 4, (first + count) * 4, dtype=dtype).reshape(count, 4)
    return ExportBatch(
        ids=[f"unit-{first + row}" for row in range(count)],
        metadata=list(metadata),
        texts=[None if row % 2 else f"text {first + row}" for row in range(count)],
        contents=[None if one.get("source") else '{"text": "a note"}' for one in metadata],
        sources=[[one["source"]] if isinstance(one.get("source"), str) else [] for one in metadata],
        vectors=vectors,
    )


def make_rows(count, *, first=0, dtype=np.float32):
    return make_batch([{"media_type": "text", "number": first + row} for row in range(count)], first=first, dtype=dtype)


def write(path, *batches, fingerprint=FINGERPRINT):
    return write_parquet(path, fingerprint, batches)


def read(path):
    fingerprint, batches = read_parquet(path)
    return fingerprint, list(batches)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_everything_comes_back_as_it_was(tmp_path, dtype):
    batch = make_batch(dtype=dtype)
    assert write(tmp_path / "store.parquet", batch) == 3
    fingerprint, (found,) = read(tmp_path / "store.parquet")
    assert fingerprint == FINGERPRINT
    for name in ("ids", "metadata", "texts", "contents", "sources"):
        assert list(getattr(found, name)) == list(getattr(batch, name))
    assert found.vectors.dtype == dtype
    np.testing.assert_array_equal(found.vectors, batch.vectors)
    assert [type(value) for value in found.metadata[0].values()] == [type(value) for value in PAGE.values()]


def test_what_stores_filter_by_has_a_column_of_its_own(tmp_path):
    write(tmp_path / "store.parquet", make_batch())
    table = pyarrow.parquet.read_table(tmp_path / "store.parquet")
    columns = ["id", "media_type", "source", "page", "start", "end", "width", "height", "mime_type", "sha256"]
    assert table.column_names == [*columns, "sources", "text", "content", "metadata", "vector"]
    pages = table.filter(pyarrow.compute.field("media_type") == "page")
    assert pages["page"].to_pylist() == [3]
    assert table["start"].to_pylist() == [None, 25.0, None]
    assert json.loads(pages["metadata"][0].as_py()) == {"year": 2024, "is_paid": True, "客户": "Müller & Söhne"}
    assert "客户" in pages["metadata"][0].as_py()
    assert table["vector"].type == pyarrow.list_(pyarrow.float32(), 4)


def test_the_fingerprint_is_in_the_metadata_of_the_file(tmp_path):
    write(tmp_path / "store.parquet", make_batch())
    head = pyarrow.parquet.read_metadata(tmp_path / "store.parquet").metadata
    assert json.loads(head[b"qwen3_vl_retrieval.fingerprint"]) == FINGERPRINT.to_dict()


def test_the_first_source_stands_where_the_metadata_name_none(tmp_path):
    batch = replace(make_batch([NOTE, PAGE, {"source": 7}]), sources=[["/a.txt", "/b.txt"], ["/other.pdf"], ["/c"]])
    write(tmp_path / "store.parquet", batch)
    _, (found,) = read(tmp_path / "store.parquet")
    assert list(found.metadata) == [{**NOTE, "source": "/a.txt"}, PAGE, {"source": 7}]
    assert found.sources == [["/a.txt", "/b.txt"], ["/other.pdf"], ["/c"]]


def test_values_of_another_type_than_their_column_are_kept_beside_it(tmp_path):
    odd = {"page": "iv", "width": True, "media_type": 5, "start": "later", "height": 1.5, "end": 2**53 + 1}
    write(tmp_path / "store.parquet", make_batch([odd]))
    _, (found,) = read(tmp_path / "store.parquet")
    assert list(found.metadata) == [odd]
    table = pyarrow.parquet.read_table(tmp_path / "store.parquet")
    assert [table[name][0].as_py() for name in odd] == [None] * 6


def test_whole_seconds_are_seconds(tmp_path):
    write(tmp_path / "store.parquet", make_batch([{"start": 25, "end": 55}]))
    assert pyarrow.parquet.read_table(tmp_path / "store.parquet")["start"].to_pylist() == [25.0]


scalars = st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
names = st.one_of(st.text(), st.sampled_from(["media_type", "source", "page", "start", "end", "width", "sha256"]))


@settings(max_examples=20, deadline=None)
@given(metadata=st.lists(st.dictionaries(names, st.one_of(scalars, st.booleans())), min_size=1, max_size=3))
def test_any_flat_metadata_come_back(tmp_path_factory, metadata):
    path = tmp_path_factory.mktemp("parquet") / "store.parquet"
    write(path, replace(make_batch(metadata), sources=[[] for _ in metadata]))
    _, (found,) = read(path)
    assert list(found.metadata) == metadata


def test_row_groups_have_one_size_whatever_the_batches_have(tmp_path):
    sizes = [1, 700, ROW_GROUP_ROWS, 3 * ROW_GROUP_ROWS + 5, 30]
    batches = [make_rows(size, first=sum(sizes[:place])) for place, size in enumerate(sizes)]
    assert write(tmp_path / "store.parquet", *batches) == sum(sizes)
    head = pyarrow.parquet.read_metadata(tmp_path / "store.parquet")
    groups = [head.row_group(place).num_rows for place in range(head.num_row_groups)]
    assert groups == [ROW_GROUP_ROWS] * 4 + [sum(sizes) - 4 * ROW_GROUP_ROWS]
    _, found = read(tmp_path / "store.parquet")
    assert max(len(batch.ids) for batch in found) <= ROW_GROUP_ROWS
    assert [unit for batch in found for unit in batch.ids] == [f"unit-{row}" for row in range(sum(sizes))]
    np.testing.assert_array_equal(
        np.concatenate([batch.vectors for batch in found]), np.concatenate([batch.vectors for batch in batches])
    )


def test_memory_does_not_grow_with_the_rows(tmp_path):
    alive: list[int] = []

    def make_many():
        made = []
        for first in range(0, 4 * ROW_GROUP_ROWS, 512):
            alive.append(sum(reference() is not None for reference in made))
            batch = make_rows(512, first=first)
            made.append(weakref.ref(batch.vectors))
            yield batch

    write_parquet(tmp_path / "store.parquet", FINGERPRINT, make_many())
    assert max(alive) <= ROW_GROUP_ROWS // 512 + 1


def test_no_rows_make_an_empty_file(tmp_path):
    assert write(tmp_path / "store.parquet") == 0
    assert read(tmp_path / "store.parquet") == (FINGERPRINT, [])


def test_empty_batches_add_nothing(tmp_path):
    assert write(tmp_path / "store.parquet", make_rows(0), make_rows(2)) == 2
    _, (found,) = read(tmp_path / "store.parquet")
    assert list(found.ids) == ["unit-0", "unit-1"]


def test_a_failure_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "store.parquet"
    write(path, make_rows(2))
    before = path.read_bytes()

    def fail():
        yield make_rows(ROW_GROUP_ROWS)
        raise OSError("the store's disk is gone")

    with pytest.raises(OSError, match=r"^the store's disk is gone$"):
        write_parquet(path, FINGERPRINT, fail())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "store.parquet"

    def look():
        for first in range(0, 2 * ROW_GROUP_ROWS, ROW_GROUP_ROWS):
            assert not path.exists()
            yield make_rows(ROW_GROUP_ROWS, first=first)

    write_parquet(path, FINGERPRINT, look())
    assert [one.name for one in tmp_path.iterdir()] == ["store.parquet"]


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"missing/store.parquet' cannot be written"):
        write(tmp_path / "missing/store.parquet", make_rows(1))


def test_a_name_that_is_taken_by_a_folder_is_refused(tmp_path):
    (tmp_path / "store.parquet").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path / "store.parquet", make_rows(1))
    assert [one.name for one in tmp_path.iterdir()] == ["store.parquet"]


def with_vectors(vectors):
    return replace(make_rows(len(vectors)), vectors=np.array(vectors))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([with_vectors(np.zeros((1, 3), np.float32))], "vectors of 3 dimensions"),
        ([make_rows(1), make_rows(1, dtype=np.float16)], "in float16 among those of 4 in float32"),
        ([with_vectors(np.zeros((1, 4)))], "the vectors are float64; allowed are float32 and float16"),
        ([with_vectors(np.float32([[0, 1, 2, 3], [0, np.nan, 2, 3]]))], "'unit-1' is not finite"),
        ([make_batch([{"price": float("inf")}])], "ValueError: Out of range float values"),
        ([make_batch([{"when": object()}])], "TypeError: Object of type object"),
        ([replace(make_rows(1), texts=["\ud800"])], "surrogates not allowed"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path, batches, message):
    with pytest.raises(StoreError, match=message):
        write(tmp_path / "store.parquet", *batches)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_has_one_entry_per_row_in_everything():
    with pytest.raises(ValueError, match="'texts': 1"):
        replace(make_rows(2), texts=["one"])


def rewrite(path, *, head=None, table=None):
    """The file as another tool might leave it."""
    found = pyarrow.parquet.read_table(path) if table is None else table
    known = {key: value for key, value in found.schema.metadata.items() if key.startswith(b"qwen3")}
    pyarrow.parquet.write_table(found.replace_schema_metadata({**known, **({} if head is None else head)}), path)


def test_files_of_others_are_refused(tmp_path):
    path = tmp_path / "store.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"id": ["a"]}), path)
    with pytest.raises(StoreError, match="does not say where its vectors come from"):
        read(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(StoreError, match="cannot be read"):
        read(path)
    with pytest.raises(StoreError, match="cannot be read"):
        read(tmp_path / "missing.parquet")


@pytest.mark.parametrize(
    ("head", "error", "message"),
    [
        ({b"qwen3_vl_retrieval.export_version": b"2"}, StoreError, "version b'2', and this package reads 1"),
        ({b"qwen3_vl_retrieval.fingerprint": b"{"}, StoreError, "damaged fingerprint"),
        ({b"qwen3_vl_retrieval.fingerprint": b'{"model": "x"}'}, FingerprintMismatchError, "not a fingerprint"),
        (
            {b"qwen3_vl_retrieval.fingerprint": json.dumps(FINGERPRINT.to_dict() | {"dimensions": 8}).encode()},
            StoreError,
            "other columns",
        ),
    ],
)
def test_a_head_that_does_not_fit_is_refused(tmp_path, head, error, message):
    write(tmp_path / "store.parquet", make_batch())
    rewrite(tmp_path / "store.parquet", head=head)
    with pytest.raises(error, match=message):
        read(tmp_path / "store.parquet")


def test_a_file_whose_columns_were_changed_is_refused(tmp_path):
    path = tmp_path / "store.parquet"
    write(path, make_batch())
    rewrite(path, table=pyarrow.parquet.read_table(path).drop_columns(["sha256"]))
    with pytest.raises(StoreError, match="other columns than an export"):
        read(path)


def test_damage_in_the_middle_is_reported_while_reading(tmp_path):
    path = tmp_path / "store.parquet"
    write(path, make_rows(2 * ROW_GROUP_ROWS))
    offset = pyarrow.parquet.read_metadata(path).row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[offset : offset + 400] = b"\xff" * 400
    path.write_bytes(content)
    _, batches = read_parquet(path)
    assert len(next(batches).ids) == ROW_GROUP_ROWS
    with pytest.raises(StoreError, match="is damaged; export the store again"):
        next(batches)


def test_metadata_that_are_no_json_are_damage(tmp_path):
    path = tmp_path / "store.parquet"
    write(path, make_rows(1))
    table = pyarrow.parquet.read_table(path)
    place = table.column_names.index("metadata")
    rewrite(path, table=table.set_column(place, table.schema.field("metadata"), [["{"]]))
    with pytest.raises(StoreError, match="is damaged"):
        read(path)


def test_a_missing_pyarrow_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StoreError, match=r'pip install "qwen3-vl-retrieval\[parquet\]"'):
        write(tmp_path / "store.parquet")
    with pytest.raises(StoreError, match=r'pip install "qwen3-vl-retrieval\[parquet\]"'):
        read_parquet(tmp_path / "store.parquet")
