"""Tokens, grids and vectors of the official embedder (commit 8ce3aab, float32, transformers 4.57.3)."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from qwen3_vl_retrieval import InputError, Qwen3VLEmbedder
from qwen3_vl_retrieval.engine.requests.builder import Request

CASE_COUNT = 32
EMPTY_CASE = 25  # the official script embeds {} as the text "NULL"; here it is an error
MAX_DIFFERENCE = 2e-5

pytestmark = pytest.mark.filterwarnings("ignore:.*text cut")

every_case = pytest.mark.parametrize("number", [n for n in range(CASE_COUNT) if n != EMPTY_CASE])


@pytest.fixture(scope="module")
def reference(cases: dict[str, Any]) -> list[dict[str, Any]]:
    assert len(cases["embedding_cases"]) == CASE_COUNT
    assert cases["embedding_cases"][EMPTY_CASE]["input"] == {}
    return cases["embedding_cases"]


@pytest.fixture(scope="module")
def embedder(make_embedder) -> Qwen3VLEmbedder:
    """Images as the official script sees them."""
    return make_embedder(image_reading="reference")


@pytest.fixture(scope="module")
def vectors(reference: list[dict[str, Any]], embedder: Qwen3VLEmbedder) -> dict[int, np.ndarray]:
    """All cases in one call: batches mix modalities and lengths."""
    numbers = [n for n in range(CASE_COUNT) if n != EMPTY_CASE]
    return dict(zip(numbers, embedder.embed([reference[n]["input"] for n in numbers]), strict=True))


@pytest.fixture(scope="module")
def requests(reference: list[dict[str, Any]], embedder: Qwen3VLEmbedder) -> dict[int, Request]:
    numbers = [n for n in range(CASE_COUNT) if n != EMPTY_CASE]
    prepared = embedder.prepare([reference[n]["input"] for n in numbers])
    return dict(zip(numbers, prepared, strict=True))


@every_case
def test_vectors_agree_with_the_official_script(number, reference, vectors):
    expected = np.array(reference[number]["embedding"])
    assert np.abs(vectors[number] - expected).max() < MAX_DIFFERENCE


@every_case
def test_tokens_are_those_of_the_official_script(number, reference, requests):
    token_ids = requests[number].tokens.token_ids
    assert len(token_ids) == reference[number]["n_tokens"]
    digest = hashlib.sha256(token_ids.astype("<i4").tobytes()).hexdigest()[:16]
    assert digest == reference[number]["input_ids_sha256"]


@every_case
def test_grids_are_those_of_the_official_script(number, reference, requests):
    grids = {False: [], True: []}
    for media in requests[number].media:
        slot = media.slot
        grids[slot.timestamps is not None].append([media.pair_count, 2 * slot.height, 2 * slot.width])
    assert (grids[False] or None) == reference[number]["image_grid_thw"]
    assert (grids[True] or None) == reference[number]["video_grid_thw"]


def test_an_empty_item_is_an_error_and_never_a_vector_of_the_text_null(embedder):
    with pytest.raises(InputError, match="item 1: empty item"):
        embedder.embed(["text", {}])


def test_bfloat16_keeps_the_direction(reference, media):
    loaded = Qwen3VLEmbedder.from_pretrained(
        media.parent / "checkpoints/embedding", device="cpu", dtype="bfloat16", image_reading="reference"
    )
    numbers = [n for n in range(CASE_COUNT) if n != EMPTY_CASE and reference[n]["n_tokens"] < 1000]
    vectors = loaded.embed([reference[n]["input"] for n in numbers])
    expected = np.array([reference[n]["embedding"] for n in numbers])
    assert (vectors * expected).sum(axis=1).min() > 0.999
