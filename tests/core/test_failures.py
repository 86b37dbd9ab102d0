"""Item 7 of 10 is broken: what is said, and what happens to the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from qwen3_vl_retrieval import InputError, MediaError
from qwen3_vl_retrieval.media import DocumentPage


@pytest.fixture
def broken_picture(tmp_path, media):
    path = tmp_path / "broken.png"
    path.write_bytes((media / "rgb_320x240.png").read_bytes()[:2000])
    return path


@pytest.fixture
def items(broken_picture, media):
    return ["a", {"image": str(broken_picture)}, "b", {}, {"image": media / "small_20x17.png"}]


class ForwardCounter:
    def __init__(self, model):
        self.count = 0
        self.handle = model.language_model.embed_tokens.register_forward_pre_hook(self.hook)

    def hook(self, *_):
        self.count += 1


@pytest.fixture
def forward_passes(embedder):
    counter = ForwardCounter(embedder.model)
    yield counter
    counter.handle.remove()


def test_the_first_bad_item_is_raised_with_its_position_before_any_forward_pass(embedder, items, forward_passes):
    with pytest.raises(MediaError, match=r"^item 1: .*broken\.png") as caught:
        embedder.embed(items)
    assert caught.value.index == 1
    assert caught.value.__notes__ == ['1 more failed: 3. Use on_error="return" to compute the others.']
    assert forward_passes.count == 0


def test_errors_can_be_returned_in_the_place_of_the_vectors(embedder, items):
    rows = embedder.embed(items, on_error="return")
    assert len(rows) == 5
    assert [type(row) for row in rows] == [np.ndarray, MediaError, np.ndarray, InputError, np.ndarray]
    assert [rows[1].index, rows[3].index] == [1, 3]
    good = embedder.embed([items[0], items[2], items[4]])
    assert np.abs(np.stack([rows[0], rows[2], rows[4]]) - good).max() < 2e-5


def test_scores_can_be_returned_around_a_bad_document(reranker, items):
    scores = reranker.score("query", items, on_error="return")
    assert [isinstance(score, float) for score in scores] == [True, False, True, False, True]
    assert str(scores[3]).startswith("document 3: empty item")


def test_a_bad_query_is_raised_as_such(reranker, broken_picture):
    with pytest.raises(MediaError, match=r"^query: .*broken\.png"):
        reranker.score({"image": broken_picture}, ["document"], on_error="return")


def test_a_missing_file_is_named(embedder, tmp_path):
    with pytest.raises(MediaError, match=r"item 0: .*nowhere\.png"):
        embedder.embed([tmp_path / "nowhere.png"])


@pytest.fixture
def forgetful_embedder(make_embedder):
    """Keeps no decoded pixels between reading and computing, as a call with very many images."""
    embedder = make_embedder()
    embedder._engine.preparer.max_held_bytes = 0
    return embedder


def test_released_pixels_are_read_again(embedder, forgetful_embedder, media):
    item = {"image": media / "photo_500x333.jpg", "text": "photo"}
    (request,) = forgetful_embedder.prepare([item])
    assert request.media[0].held_bytes == 0
    assert np.abs(forgetful_embedder.embed([item, item]) - embedder.embed([item, item])).max() < 2e-5


def test_a_file_that_vanishes_between_reading_and_computing_is_a_failure_of_its_item(
    forgetful_embedder, media, tmp_path
):
    path = tmp_path / "vanishing.png"
    path.write_bytes((media / "small_20x17.png").read_bytes())
    prepared = forgetful_embedder.prepare(["text", path])
    path.unlink()
    outcome = forgetful_embedder._engine.run(prepared)
    assert list(outcome.failures) == [1]
    assert str(outcome.failures[1]).startswith("item 1: ")
    assert "vanishing.png" in str(outcome.failures[1])
    assert abs(outcome.values[0]).sum() > 0


def test_a_file_that_changes_in_between_is_named(forgetful_embedder, media, tmp_path):
    path = tmp_path / "changing.png"
    path.write_bytes((media / "small_20x17.png").read_bytes())
    prepared = forgetful_embedder.prepare([path])
    path.write_bytes((media / "gray_140x200.png").read_bytes())
    with pytest.raises(MediaError, match=r"item 0: the file '.*changing\.png' changed"):
        forgetful_embedder._engine.run(prepared).raise_failures("raise")


def test_a_pdf_that_changes_in_between_is_named(forgetful_embedder, tmp_path):
    path = tmp_path / "changing.pdf"
    Image.new("RGB", (300, 400), "red").save(path)
    prepared = forgetful_embedder.prepare([{"image": DocumentPage(path, 1)}])
    Image.new("RGB", (300, 400), "navy").save(path)
    with pytest.raises(MediaError, match=r"item 0: the file '.*changing\.pdf' changed"):
        forgetful_embedder._engine.run(prepared).raise_failures("raise")


def test_the_pixels_of_a_querys_image_are_not_counted_once_per_document(make_reranker, media):
    reranker = make_reranker()
    query = {"image": media / "small_20x17.png"}
    request, *_ = reranker._prepare(query, ["a", "b"], None, "raise", False)
    reranker._engine.preparer.max_held_bytes = request.media[0].held_bytes - 1
    requests = reranker._prepare(query, ["a", "b"], None, "raise", False)
    assert [row.media[0].key for row in requests] == [request.media[0].key] * 2
    assert all(row.media[0].held_bytes > 0 for row in requests)


class MemoryLimit:
    """A device whose memory holds so many tokens: the model raises as CUDA does."""

    def __init__(self, model, tokens):
        self.tokens = tokens
        self.refused = 0
        self.handle = model.language_model.embed_tokens.register_forward_pre_hook(self.hook)

    def hook(self, _module, args):
        if args[0].numel() > self.tokens:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.fixture
def limit_memory(embedder):
    limits = []

    def limit(tokens):
        limits.append(MemoryLimit(embedder.model, tokens))
        return limits[-1]

    yield limit
    for one in limits:
        one.handle.remove()


def test_a_batch_too_large_for_the_memory_is_split_and_the_lesson_kept(make_embedder, limit_memory):
    texts = [f"text number {number}" for number in range(40)]
    embedder = make_embedder(max_batch_tokens=100_000)
    expected = embedder.embed(texts)
    limit = limit_memory(200)
    assert np.abs(embedder.embed(texts) - expected).max() < 2e-5
    assert limit.refused > 0
    assert embedder.max_batch_tokens <= 400
    refused_before = limit.refused
    embedder.embed(texts)
    embedder.embed(texts)
    assert limit.refused - refused_before <= 2


def test_one_item_too_large_for_the_memory_is_an_error(make_embedder, limit_memory):
    limit_memory(5)
    with pytest.raises(torch.OutOfMemoryError):
        make_embedder().embed(["text"])


def test_other_errors_of_the_model_are_not_taken_for_lack_of_memory(make_embedder):
    embedder = make_embedder()

    def fail(*_):
        raise RuntimeError("shape mismatch")

    handle = embedder.model.language_model.embed_tokens.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="shape mismatch"):
            embedder.embed(["a", "b"])
    finally:
        handle.remove()
