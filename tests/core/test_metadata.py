"""Metadata that would damage a store are refused by name, and what one has done to a folder of Chroma is mended."""

from __future__ import annotations

import enum
import json
import math
import os
import shutil
from functools import partial
from pathlib import Path

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from qwen3_vl_retrieval import InputError, PixelBudget, StoreError
from qwen3_vl_retrieval.chroma import ChromaDirectory
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import MultimodalIndex, repair_chroma
from qwen3_vl_retrieval.items import check_text
from qwen3_vl_retrieval.metadata import check_metadata

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=8)
ANY_SCALAR = st.one_of(
    ANY_TEXT,
    st.integers(-(2**70), 2**70),
    st.floats(width=64),
    st.booleans(),
    st.none(),
    st.floats(width=32).map(np.float32),
    st.integers(-(2**31), 2**31 - 1).map(np.int64),
)


class Colour(enum.StrEnum):
    RED = "red"


@given(st.dictionaries(ANY_TEXT, st.one_of(ANY_SCALAR, st.lists(ANY_SCALAR, max_size=3)), max_size=4))
def test_what_passes_is_json_of_finite_numbers_and_valid_unicode_and_what_does_not_is_named(metadata):
    checked, refusal = {}, None
    try:
        checked = check_metadata(metadata, allow_lists=True)
    except InputError as error:
        refusal = error
    if refusal is not None:
        assert any(quote(name) in refusal.reason for name in metadata)
        assert str(refusal).encode("utf-8")
        return
    told = json.dumps(checked, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert json.loads(told) == checked
    assert set(checked) == {name for name, value in metadata.items() if value is not None}


@pytest.mark.parametrize(
    "value",
    [
        *(math.nan, math.inf, -math.inf, np.float32("nan"), np.float16("inf")),
        *(2**63, -(2**63) - 1, 10**5000, "half \ud83d", {"a": 1}, ["a"], b"bytes", 1j, object(), np.datetime64("2026")),
    ],
    ids=lambda value: quote(value)[:30].encode("ascii", "replace").decode(),
)
def test_a_value_that_flat_stores_cannot_hold_is_refused_by_the_name_of_its_key(value):
    with pytest.raises(InputError, match="'price'") as caught:
        check_metadata({"fine": 1, "price": value})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", [[], [1, "a"], [1.0, math.nan], [[1]], [None], ["\udc80"], [True, 1], [2**64]])
def test_a_list_that_chroma_cannot_hold_is_refused_by_the_name_of_its_key(value):
    with pytest.raises(InputError, match="'price'"):
        check_metadata({"price": value}, allow_lists=True)


@pytest.mark.parametrize("name", [1, None, "", "$and", "#document", "chroma:document", "half \udc80", ("a",)])
def test_a_name_that_a_store_cannot_hold_or_means_otherwise_is_refused(name):
    with pytest.raises(InputError):
        check_metadata({name: 1})


def test_numbers_of_numpy_paths_and_members_of_enumerations_become_plain_values():
    given_ = {
        "count": np.int32(3),
        "price": np.float32(0.5),
        "is_new": np.bool_(True),
        "colour": Colour.RED,
        "name": np.str_("mug"),
        "file": Path("/data/mug.png"),
        "odd": Path(os.fsdecode(b"/data/caf\xe9.png")),
        "source": os.fsdecode(b"/data/caf\xe9.png"),
        "nothing": None,
        "sizes": (np.int64(1), 2),
        "largest": 2**63 - 1,
    }
    checked = check_metadata(given_, allow_lists=True)
    assert checked == {
        "count": 3,
        "price": 0.5,
        "is_new": True,
        "colour": "red",
        "name": "mug",
        "file": "/data/mug.png",
        "odd": "file:///data/caf%E9.png",
        "source": "file:///data/caf%E9.png",
        "sizes": [1, 2],
        "largest": 2**63 - 1,
    }
    assert {type(value) for value in checked.values()} == {int, float, bool, str, list}


def test_stores_of_json_hold_nested_values_and_none_that_json_cannot_write():
    assert check_metadata({"a": {"b": [1, {"c": np.float64(2)}]}}, allow_nested=True) == {"a": {"b": [1, {"c": 2.0}]}}
    endless: dict[str, object] = {}
    endless["self"] = endless
    for value in ({"b": [math.nan]}, {"\udc80": 1}, ["\udc80"], endless):
        with pytest.raises(InputError, match="'a'"):
            check_metadata({"a": value}, allow_nested=True)


def test_a_text_is_told_from_what_is_none():
    assert check_text(Colour.RED, "the id") == "red"
    for value in (3, None, b"text", "half \ud83d"):
        with pytest.raises(InputError, match="the id"):
            check_text(value, "the id")


@pytest.mark.parametrize("value", [math.nan, [1.0], 2**64, "half \ud83d", {"a": 1}])
def test_an_index_refuses_such_metadata_before_it_embeds_and_its_filters_go_on_working(tmp_path, make_embedder, value):
    small = PixelBudget(min_pixels=4096, max_pixels=4096, frame_min_pixels=4096, frame_max_pixels=4096)
    with MultimodalIndex.open(tmp_path / "store", make_embedder(pixel_budget=small)) as index:
        index.add(["a mug"], metadata={"price": np.float64(2.5), "shelf": np.int64(3), "note": None})
        with pytest.raises(ValueError, match="'price'"):
            index.add(["a cup"], metadata={"price": value})
        assert len(index) == 1
        [hit] = index.search("mug", where={"price": {"$lt": 3}, "shelf": 3})
        assert hit.metadata == {"price": 2.5, "shelf": 3}


def open_client(folder):
    return chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))


@pytest.fixture(scope="module")
def broken_folder(tmp_path_factory):
    """Two collections of plain Chroma; into one of them somebody has added lists with NaN and infinity."""
    folder = tmp_path_factory.mktemp("chroma")
    client = open_client(folder)
    other = client.create_collection("other", embedding_function=None)
    other.add(ids=["x"], embeddings=[[1.0, 0.0]], metadatas=[{"sizes": [1.0]}])
    papers = client.create_collection("papers", embedding_function=None)
    papers.add(ids=["a", "b"], embeddings=[[1.0, 0.0], [0.0, 1.0]], metadatas=[{"year": 1}, {"year": 2}])
    with pytest.raises(chromadb.errors.ChromaError):
        papers.add(
            ids=["c", "d", "e"],
            embeddings=[[1.0, 1.0]] * 3,
            metadatas=[{"sizes": [1.0, math.nan], "year": 3}, {"sizes": [math.inf]}, {"year": 5}],
            documents=["c", "d", "e"],
        )
    with pytest.raises(chromadb.errors.ChromaError):
        papers.get()
    client.close()
    return folder


def copy_folder(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_folder_of_chroma_with_an_unreadable_log_is_mended_and_no_row_is_lost(broken_folder, tmp_path):
    folder = copy_folder(broken_folder, tmp_path)
    repaired = repair_chroma(folder)
    assert [(row.collection, row.id, row.lost) for row in repaired] == [
        ("papers", "c", ("sizes",)),
        ("papers", "d", ("sizes",)),
    ]
    client = open_client(folder)
    papers = client.get_collection("papers", embedding_function=None)
    found = papers.get()
    assert found["ids"] == ["a", "b", "c", "d", "e"]
    assert found["metadatas"] == [{"year": 1}, {"year": 2}, {"year": 3}, None, {"year": 5}]
    assert found["documents"] == [None, None, "c", "d", "e"]
    assert set(papers.query(query_embeddings=[[1.0, 1.0]], n_results=3)["ids"][0]) == {"c", "d", "e"}
    papers.add(ids=["f"], embeddings=[[1.0, 0.0]])
    assert papers.count() == 6
    assert client.get_collection("other", embedding_function=None).get()["metadatas"] == [{"sizes": [1.0]}]
    client.close()
    assert repair_chroma(folder) == []


def test_the_command_line_mends_a_folder_of_chroma_and_names_the_rows(broken_folder, tmp_path):
    folder = copy_folder(broken_folder, tmp_path)
    mended = CliRunner().invoke(app, ["repair", str(folder)])
    assert mended.exit_code == 0, mended.output
    assert "papers, c: without sizes" in mended.stdout
    assert "2 rows of the log can be read again" in mended.stdout


def test_the_command_line_does_not_mend_a_folder_of_chroma_that_is_being_written(broken_folder, tmp_path, monkeypatch):
    folder = copy_folder(broken_folder, tmp_path)
    impatient = partial(ChromaDirectory, lock_timeout_seconds=0.1)
    monkeypatch.setattr("qwen3_vl_retrieval.cli.stores.ChromaDirectory", impatient)
    with ChromaDirectory(folder).hold_writer():
        refused = CliRunner().invoke(app, ["repair", str(folder)])
    assert refused.exit_code == 1
    assert "is being written by another process" in " ".join(refused.output.split())
    assert "papers, c: without sizes" in CliRunner().invoke(app, ["repair", str(folder)]).stdout


def test_a_folder_without_a_database_of_chroma_is_left_alone(tmp_path):
    with pytest.raises(StoreError, match="no Chroma folder"):
        repair_chroma(tmp_path)
    (tmp_path / "chroma.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="cannot be repaired"):
        repair_chroma(tmp_path)
    assert (tmp_path / "chroma.sqlite3").read_bytes() == b"no database" * 100
