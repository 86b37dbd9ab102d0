"""Stores in Chroma of both frameworks that an earlier version wrote: opened, searched, and bound as they were."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from llama_index_adapter.chroma_stores import KINDS, READINGS
from qwen3_vl_retrieval import FingerprintMismatchError

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def folder(kind, tmp_path):
    with tarfile.open(DATA / f"{kind}-chroma.tar.xz") as archive:
        archive.extractall(tmp_path / kind, filter="data")
    return tmp_path / kind


@pytest.mark.parametrize("reading", READINGS)
def test_a_store_of_before_gives_the_same_hits_in_the_same_order(kind, folder, reading):
    _, open_store, list_hits = KINDS[kind]
    expected = json.loads((folder / "expected.json").read_text())[reading]
    found = json.loads(json.dumps(list_hits(open_store(folder, reading, reading))))
    assert found.keys() == expected.keys()
    for query, hits in expected.items():
        assert [hit[:3] for hit in found[query]] == [hit[:3] for hit in hits]
        assert [hit[3] for hit in found[query]] == pytest.approx([hit[3] for hit in hits], abs=2e-6)


@pytest.mark.parametrize("reading", READINGS)
def test_a_store_of_before_refuses_another_reading_by_name(kind, folder, reading):
    _, open_store, _ = KINDS[kind]
    (other,) = set(READINGS) - {reading}
    with pytest.raises(FingerprintMismatchError, match=f"image_reading: stored '{reading}', now '{other}'"):
        open_store(folder, reading, other)
