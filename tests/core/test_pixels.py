"""Pixels that were let go are read again beside the forward pass, once each, and errors keep their place."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from qwen3_vl_retrieval import MediaError
from qwen3_vl_retrieval.engine.requests import media_reader

WAIT_SECONDS = 30


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return paths


@pytest.fixture
def embedder(make_embedder):
    """Holds no pixels, and computes image by image."""
    embedder = make_embedder(max_batch_tokens=1)
    embedder._engine.preparer.max_held_bytes = 0
    return embedder


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were decoded, with the thread that did."""
    done = []
    read = media_reader._read_image

    def read_and_note(part, *arguments):
        done.append((part.source.name, threading.current_thread().name))
        return read(part, *arguments)

    monkeypatch.setattr(media_reader, "_read_image", read_and_note)
    return done


def test_the_next_batch_is_read_while_one_is_computed(embedder, paths, reads, monkeypatch):
    second_was_read = threading.Event()
    waited = []

    def wait(*_):
        if not waited:
            waited.append(second_was_read.wait(WAIT_SECONDS))

    read = media_reader._read_image

    def read_and_tell(part, *arguments):
        if [name for name, _ in reads].count(paths[1].name) == 1:
            second_was_read.set()
        return read(part, *arguments)

    monkeypatch.setattr(media_reader, "_read_image", read_and_tell)
    hook = embedder.model.language_model.embed_tokens.register_forward_hook(wait)
    try:
        embedder.embed(paths)
    finally:
        hook.remove()
    assert waited == [True]


def test_each_image_is_read_once_to_be_checked_and_once_to_be_computed(embedder, make_embedder, paths, reads):
    vectors = embedder.embed(paths)
    names = [name for name, _ in reads]
    assert sorted(names) == sorted(2 * [path.name for path in paths])
    assert all(thread.startswith("read-media") for _, thread in reads)
    np.testing.assert_allclose(vectors, make_embedder().embed(paths), atol=2e-6)


def test_held_pixels_are_not_read_again(make_embedder, paths, reads):
    make_embedder(max_batch_tokens=1).embed(paths)
    assert len(reads) == len(paths)


def test_an_image_that_goes_meanwhile_is_named_and_the_others_are_embedded(embedder, paths):
    prepared = embedder.prepare(paths, on_error="return")
    paths[3].unlink()
    vectors = embedder.embed_prepared(prepared, on_error="return")
    assert isinstance(vectors[3], MediaError)
    assert vectors[3].index == 3
    assert sum(isinstance(vector, np.ndarray) for vector in vectors) == 5
