"""A server, a notebook or a test session opens stores all day: each lets go of all that it has opened."""

from __future__ import annotations

import itertools

import pytest

from open_files import count_left_open, needs_proc
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.testing import FakeEmbedder

pytestmark = needs_proc


@pytest.fixture
def documents(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.txt").write_text("a text")
    return folder


@pytest.fixture
def make_store(tmp_path):
    """Returns the name of a store that does not exist yet."""
    numbers = itertools.count()
    return lambda: tmp_path / f"store{next(numbers)}"


def test_a_new_index_that_is_closed_leaves_nothing_open(make_store, documents):
    def work():
        with MultimodalIndex.open(make_store(), FakeEmbedder()) as index:
            index.add([documents])
            assert index.search("a text")

    assert count_left_open(work) <= 0


def test_a_new_index_that_is_forgotten_leaves_nothing_open(make_store, documents):
    def work():
        index = MultimodalIndex.open(make_store(), FakeEmbedder())
        index.add([documents])
        assert index.search("a text")

    assert count_left_open(work) <= 0


def test_an_index_that_is_opened_again_leaves_nothing_open(make_store, documents):
    store = make_store()
    with MultimodalIndex.open(store, FakeEmbedder()) as index:
        index.add([documents])

    def work():
        with MultimodalIndex.open(store, FakeEmbedder()) as index:
            assert index.search("a text")

    assert count_left_open(work) <= 0


def test_an_index_that_cannot_be_opened_leaves_nothing_open(make_store, documents):
    store = make_store()
    with MultimodalIndex.open(store, FakeEmbedder()) as index:
        index.add([documents])

    def work():
        with pytest.raises(Exception, match="another vector space"):
            MultimodalIndex.open(store, FakeEmbedder(dimensions=32))

    assert count_left_open(work) <= 0


def test_repairing_and_compacting_leave_nothing_open(make_store, documents):
    store = make_store()
    with MultimodalIndex.open(store, FakeEmbedder()) as index:
        index.add([documents])

    def work():
        with MultimodalIndex.open(store, FakeEmbedder()) as index:
            index.compact()
            index.store.repair()
            assert index.search("a text")

    assert count_left_open(work) <= 0
