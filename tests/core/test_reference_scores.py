"""Scores of the official reranker (commit 8ce3aab, float32, transformers 4.57.3)."""

from __future__ import annotations

import numpy as np
import pytest

from qwen3_vl_retrieval import InputError

CASE_COUNT = 6
LONG_QUERY_CASE = 5
MAX_DIFFERENCE = 2e-5

pytestmark = pytest.mark.filterwarnings("ignore:.*text cut")


@pytest.fixture(scope="module")
def reference(cases):
    assert len(cases["reranker_cases"]) == CASE_COUNT
    return cases["reranker_cases"]


@pytest.fixture(scope="module")
def reranker(make_reranker):
    """Images as the official script sees them."""
    return make_reranker(image_reading="reference")


def is_empty(document):
    return document == {}


@pytest.mark.parametrize("number", range(CASE_COUNT))
def test_scores_agree_with_the_official_script(number, reference, reranker, make_reranker):
    case = reference[number]
    if number == LONG_QUERY_CASE:
        # The one deliberate difference: the official script cuts the document away behind a long query.
        reranker = make_reranker(truncation="reference", image_reading="reference")
    pairs = [(d, s) for d, s in zip(case["documents"], case["scores"], strict=True) if not is_empty(d)]
    documents, expected = zip(*pairs, strict=True)
    scores = reranker.score(case["query"], documents, instruction=case.get("instruction"))
    assert np.abs(scores - np.array(expected)).max() < MAX_DIFFERENCE


def test_a_long_query_never_costs_the_whole_document(reference, reranker):
    case = reference[LONG_QUERY_CASE]
    # The official script scores two different texts alike here, because nothing of either is left.
    assert case["scores"][0] == case["scores"][1]
    scores = reranker.score(case["query"], case["documents"][:2])
    assert abs(scores[0] - scores[1]) > 10 * MAX_DIFFERENCE


def test_an_empty_document_is_an_error_that_names_its_position(reference, reranker):
    position = next(i for i, d in enumerate(reference[0]["documents"]) if is_empty(d))
    with pytest.raises(InputError, match=f"document {position}: empty item"):
        reranker.score(reference[0]["query"], reference[0]["documents"])


def test_margins_are_the_log_odds_of_probabilities(reference, reranker):
    documents = reference[1]["documents"]
    probabilities = reranker.score(reference[1]["query"], documents)
    margins = reranker.score(reference[1]["query"], documents, output="margin")
    np.testing.assert_allclose(np.log(probabilities / (1 - probabilities)), margins, atol=1e-5)
