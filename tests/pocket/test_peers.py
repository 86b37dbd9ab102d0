"""sentence-transformers loads the checkpoints unchanged and computes what the core computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from qwen3_vl_pocket import checkpoint_folder
from qwen3_vl_pocket.training.model import MAX_PIXELS
from qwen3_vl_retrieval import PixelBudget, Qwen3VLEmbedder, Qwen3VLReranker

TEXTS = ("a red circle above a blue square", "Größe 42", "红色的圆形在左边", "zebra " * 20, "", "INVOICE\n7?")
QUERY_INSTRUCTION = "Retrieve images or text relevant to the user's query."
# Rounding of float32 in another order of operations.
ROUNDING = 1e-4


@pytest.fixture(scope="module")
def checkpoints() -> Path:
    """The folder with both kinds."""
    return checkpoint_folder("embedding").parent


@pytest.fixture(scope="module")
def budget() -> dict[str, Any]:
    return {"device": "cpu", "dtype": "float32", "pixel_budget": PixelBudget(max_pixels=MAX_PIXELS)}


@pytest.fixture(scope="module")
def embedder(checkpoints: Path, budget: dict[str, Any]) -> Qwen3VLEmbedder:
    return Qwen3VLEmbedder.from_pretrained(checkpoints / "embedding", **budget)


@pytest.fixture(scope="module")
def reranker(checkpoints: Path, budget: dict[str, Any]) -> Qwen3VLReranker:
    return Qwen3VLReranker.from_pretrained(checkpoints / "reranker", **budget)


@pytest.fixture(scope="module")
def peer() -> Any:
    # Not above: importing it takes longer than these tests, and every process of a test run collects this file.
    import sentence_transformers

    return sentence_transformers


@pytest.fixture(scope="module")
def peer_embedder(peer: Any, checkpoints: Path) -> Any:
    options = {"dtype": torch.float32}
    return peer.SentenceTransformer(str(checkpoints / "embedding"), device="cpu", model_kwargs=options)


@pytest.fixture(scope="module")
def peer_reranker(peer: Any, checkpoints: Path) -> Any:
    options = {"dtype": torch.float32}
    return peer.CrossEncoder(str(checkpoints / "reranker"), device="cpu", model_kwargs=options)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Of sizes that need no resizing and of one that does."""
    random = np.random.default_rng(1)
    sizes = ((128, 128), (160, 128), (480, 384))
    colors = [random.integers(0, 255, (height // 32, width // 32, 3), np.uint8) for width, height in sizes]
    return [Image.fromarray(color).resize(size) for color, size in zip(colors, sizes, strict=True)]


def compare(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((ours * theirs).sum(axis=1).min())


def test_texts_have_the_vectors_of_the_core(embedder, peer_embedder):
    ours = embedder.embed(TEXTS)
    assert compare(ours, peer_embedder.encode(list(TEXTS))) > 1 - ROUNDING
    # The vectors are far from each other, so the agreement says something.
    assert np.triu(ours @ ours.T, 1).max() < 0.97


def test_the_vector_is_the_normalised_state_of_the_last_token(peer_embedder):
    assert [type(module).__name__ for module in peer_embedder] == ["Transformer", "Pooling", "Normalize"]
    assert peer_embedder.tokenizer("red")["input_ids"][-1] == peer_embedder.tokenizer.pad_token_id
    assert peer_embedder.similarity_fn_name == "cosine"


def test_an_instruction_is_a_prompt(embedder, peer_embedder):
    theirs = peer_embedder.encode(list(TEXTS), prompt=QUERY_INSTRUCTION)
    assert compare(embedder.embed_queries(TEXTS), theirs) > 1 - ROUNDING
    assert compare(embedder.embed(TEXTS), theirs) < 0.99


def test_images_have_the_vectors_of_the_core(embedder, peer_embedder, pictures):
    ours = embedder.embed([{"image": picture} for picture in pictures])
    assert compare(ours, peer_embedder.encode(pictures)) > 0.999


def test_pairs_of_texts_have_the_log_odds_of_the_core(reranker, peer_reranker):
    ours = reranker.score("a red circle", list(TEXTS), output="margin")
    theirs = peer_reranker.predict([("a red circle", text) for text in TEXTS])
    np.testing.assert_allclose(theirs, ours, atol=ROUNDING)
    assert np.ptp(ours) > 0.01


def test_pairs_with_images_have_the_log_odds_of_the_core(reranker, peer_reranker, pictures):
    ours = reranker.score("a red circle", [{"image": picture} for picture in pictures], output="margin")
    theirs = peer_reranker.predict([("a red circle", picture) for picture in pictures])
    np.testing.assert_allclose(theirs, ours, atol=0.01)


def test_an_instruction_of_the_reranker_is_a_prompt(reranker, peer_reranker):
    ours = reranker.score("red", ["a circle"], instruction="Which one?", output="margin")
    theirs = peer_reranker.predict([("red", "a circle")], prompt="Which one?")
    np.testing.assert_allclose(theirs, ours, atol=ROUNDING)
