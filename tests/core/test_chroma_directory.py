"""A directory of Chroma that several objects, processes and programs use."""

from __future__ import annotations

import copy
import os
import pickle
from contextlib import ExitStack
from dataclasses import replace

import chromadb
import numpy as np
import pytest
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.config import Settings

from forked_children import run_in_fork
from made_up_embedder import MadeUpEmbedder
from qwen3_vl_retrieval import FingerprintMismatchError, StoreError
from qwen3_vl_retrieval.chroma import (
    ChromaDirectory,
    Qwen3VLEmbeddingFunction,
    SharedCollection,
    read_stamp,
    stamp_metadata,
)

FINGERPRINT = MadeUpEmbedder.fingerprint
VECTORS = np.eye(8, dtype=np.float32)


def open_collection(folder, name="things", **options):
    return SharedCollection(ChromaDirectory(folder, lock_timeout_seconds=0.0), name, **options)


def add(shared, number):
    with shared.write_batch():
        shared.refresh().add(ids=[str(number)], embeddings=[VECTORS[number]])


def add_by_another_program(folder, number):
    client = chromadb.PersistentClient(str(folder))
    client.get_collection("things", embedding_function=None).add(ids=[str(number)], embeddings=[VECTORS[number]])
    client.close()


def find(shared, number):
    return shared.refresh().query(query_embeddings=[VECTORS[number]], n_results=1)["ids"][0][0]


def test_objects_of_one_process_share_a_client_and_see_each_other(tmp_path):
    first, second = open_collection(tmp_path), open_collection(tmp_path)
    for number in range(4):
        add((first, second)[number % 2], number)
        assert find(first, number) == find(second, number) == str(number)
    assert first.client is second.client


def test_what_a_program_without_marks_adds_is_found(tmp_path):
    first, second = open_collection(tmp_path), open_collection(tmp_path)
    add(first, 0)
    assert find(second, 0) == "0"
    add_by_another_program(tmp_path, 1)
    third = open_collection(tmp_path)
    assert [find(shared, 1) for shared in (third, second, first)] == ["1", "1", "1"]
    assert len({shared.client for shared in (first, second, third)}) == 1


def test_a_collection_that_is_made_anew_is_seen_by_all(tmp_path):
    first, second = open_collection(tmp_path), open_collection(tmp_path)
    add(first, 0)
    first.reset()
    assert second.refresh().count() == 0
    add(second, 1)
    assert find(first, 1) == "1"
    first.drop()
    assert first.refresh() is None
    with pytest.raises(chromadb.errors.NotFoundError):
        open_collection(tmp_path, must_exist=True)
    first.reset()
    assert find_ids(second) == find_ids(first) == []


def find_ids(shared):
    return shared.refresh().get()["ids"]


def test_one_object_writes_at_a_time(tmp_path):
    first, second = open_collection(tmp_path), open_collection(tmp_path, "others")
    with first.write():
        with pytest.raises(StoreError, match="is being written by another process, or by another object"):
            add(second, 0)
        add(first, 0)
    add(second, 0)


def test_a_collection_is_bound_to_one_space(tmp_path):
    shared = open_collection(tmp_path, metadata={"owner": "me"})
    shared.bind(FINGERPRINT)
    add(shared, 0)
    opened = open_collection(tmp_path)
    assert read_stamp(opened.collection) == FINGERPRINT
    assert opened.collection.metadata["owner"] == "me"
    with pytest.raises(FingerprintMismatchError, match="image_reading: stored 'reference', now 'viewer'"):
        opened.bind(replace(FINGERPRINT, image_reading="viewer"))
    with pytest.raises(FingerprintMismatchError, match="do not say"):
        opened.bind(None)
    unknown = open_collection(tmp_path, "unknown")
    add(unknown, 0)
    with pytest.raises(FingerprintMismatchError, match="1 vectors of an unknown space"):
        unknown.bind(FINGERPRINT)


def test_the_space_is_checked_again_when_others_made_the_collection_anew(tmp_path):
    shared, other = open_collection(tmp_path), open_collection(tmp_path)
    shared.bind(FINGERPRINT)
    other.drop()
    changed = replace(FINGERPRINT, revision="2")
    open_collection(tmp_path, metadata=stamp_metadata(None, changed))
    with pytest.raises(FingerprintMismatchError, match="revision: stored '2', now '1'"):
        shared.refresh()


def test_the_embedding_function_knows_the_space_of_a_shared_collection(tmp_path):
    function = Qwen3VLEmbeddingFunction(embedder=MadeUpEmbedder())
    function.check_collection(open_collection(tmp_path, metadata=stamp_metadata(None, FINGERPRINT)).collection)
    other = open_collection(tmp_path, "other", metadata=stamp_metadata(None, replace(FINGERPRINT, revision="2")))
    with pytest.raises(FingerprintMismatchError, match="revision: stored '2', now '1'"):
        function.check_collection(other.collection)


def test_settings_of_the_caller_are_used_and_their_client_is_not_shared(tmp_path):
    own = SharedCollection(ChromaDirectory(tmp_path, settings=Settings(anonymized_telemetry=True)), "things")
    plain = open_collection(tmp_path)
    assert own.client.get_settings().anonymized_telemetry
    assert not plain.client.get_settings().anonymized_telemetry
    add(plain, 0)
    assert find(own, 0) == "0"


def test_a_client_is_closed_when_nothing_needs_it(tmp_path):
    before = len(SharedSystemClient._identifier_to_system)
    first, second = open_collection(tmp_path), open_collection(tmp_path)
    add(first, 0)
    assert find(second, 0) == "0"
    assert len(SharedSystemClient._identifier_to_system) == before + 1
    collection = second.collection
    del first, second
    # A query may still run on it.
    assert collection.count() == 1
    del collection
    assert len(SharedSystemClient._identifier_to_system) == before


def test_a_collection_is_not_copied_and_not_pickled(tmp_path):
    shared = open_collection(tmp_path)
    assert copy.deepcopy(shared) is copy.copy(shared) is shared
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(shared)


def test_nothing_is_made_where_a_directory_cannot_be(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match="cannot be made"):
        open_collection(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match="no Chroma folder"):
        ChromaDirectory(tmp_path / "none").repair()
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_forked_child_is_told_to_open_its_own(tmp_path):
    shared = open_collection(tmp_path / "store")
    add(shared, 0)

    def use_that_of_the_parent():
        errors = []
        for use in (shared.refresh, lambda: add(shared, 1), lambda: open_collection(tmp_path / "store")):
            with pytest.raises(StoreError) as raised:
                use()
            errors.append(str(raised.value))
        return errors

    def use_its_own():
        nonlocal shared
        # What it inherited is left alone.
        shared = open_collection(tmp_path / "of the child")
        add(shared, 1)
        return find(shared, 1)

    assert all("'spawn'" in error for error in run_in_fork(use_that_of_the_parent))
    assert run_in_fork(use_its_own) == "1"
    with ExitStack() as held:
        held.enter_context(shared.write())
        assert len(run_in_fork(use_that_of_the_parent)) == 3
        add(shared, 2)
    assert find(shared, 2) == "2"
