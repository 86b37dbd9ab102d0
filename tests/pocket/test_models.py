"""What the shipped weights can do on a small unseen collection; the full measurement is in benchmarks/results."""

from __future__ import annotations

import pytest

from qwen3_vl_pocket import checkpoint_folder
from qwen3_vl_pocket.evaluation import measure_near_misses, measure_reranking, measure_retrieval
from qwen3_vl_pocket.world.collection import draw_collection, draw_hard_sets
from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker


@pytest.fixture(scope="module")
def embedder():
    return Qwen3VLEmbedder.from_pretrained("pocket", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def measured(embedder):
    return measure_retrieval(embedder, *draw_collection(200, seed=31))


def test_texts_in_three_languages_find_items_of_all_groups(measured):
    assert measured["text/all/recall@1"] >= 0.88
    assert measured["text/all/recall@10"] >= 0.97
    groups = ("chart", "clip", "mixed", "page", "scene", "screenshot", "text")
    assert min(measured[f"text/{group}/recall@1"] for group in groups) >= 0.75
    assert measured["language/zh/recall@1"] >= measured["language/en/recall@1"] - 0.07


def test_images_find_images_of_the_same_thing_and_of_what_was_wished(measured):
    assert measured["image/all/recall@1"] >= 0.9
    assert measured["composed/all/recall@1"] >= 0.8


def test_short_and_coarse_vectors_keep_most_of_the_recall(measured):
    full = measured["text/all/recall@10"]
    assert measured["quarter/recall@10"] >= 0.97 * full
    assert measured["int8/recall@10"] >= 0.99 * full
    assert measured["binary/recall@10"] >= 0.9 * full


def test_the_second_stage_orders_near_misses_better_than_the_first(embedder):
    hard_sets = draw_hard_sets(10, seed=31)
    nearest = measure_near_misses(embedder, hard_sets)["hard/embedder/ndcg@10"]
    judged = measure_reranking(Qwen3VLReranker.from_pretrained("pocket", device="cpu", dtype="float32"), hard_sets)
    assert judged["hard/reranker/auc"] >= 0.95
    assert judged["hard/reranker/ndcg@10"] >= max(0.85, nearest)


def test_the_models_are_small_enough_to_ship():
    for kind in ("embedding", "reranker"):
        assert sum(path.stat().st_size for path in checkpoint_folder(kind).rglob("*") if path.is_file()) < 12_000_000
