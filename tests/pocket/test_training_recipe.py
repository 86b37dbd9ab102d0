"""The recipe, one step of each stage: that it runs, resumes, and ends in checkpoints that the core loads."""

from __future__ import annotations

import json

import pytest

from qwen3_vl_pocket.evaluation import measure_near_misses, measure_reranking, measure_retrieval
from qwen3_vl_pocket.training.recipe import Recipe, train_pair
from qwen3_vl_pocket.world.collection import draw_collection, draw_hard_sets
from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train_pair(Recipe().shorten(0.001), folder, processes=1)
    return folder


def test_every_stage_leaves_a_checkpoint_and_its_losses(run):
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"s0", "s1", "s2", "s3", "reranker"}
    assert {path.stem for path in run.glob("*.pt")} == {
        *("sight", "foundation", "s0", "s1"),
        *("reranker", "late_reranker", "s2"),
    }
    assert json.loads((run / "recipe.json").read_text())["seed"] == 1


def test_a_finished_run_computes_nothing_again(run):
    before = {path: path.stat().st_mtime_ns for path in run.glob("*.pt")}
    train_pair(Recipe().shorten(0.001), run, processes=1)
    assert {path: path.stat().st_mtime_ns for path in run.glob("*.pt")} == before


def test_the_measurement_covers_every_form_language_and_format(run):
    embedder = Qwen3VLEmbedder.from_pretrained(run / "checkpoints/s3", device="cpu", dtype="float32")
    reranker = Qwen3VLReranker.from_pretrained(run / "checkpoints/reranker", device="cpu", dtype="float32")
    items, queries = draw_collection(12, seed=4)
    found = measure_retrieval(embedder, items, queries)
    for name in ("text/all", "image/all", "language/en", "language/zh", "language/es"):
        assert 0 <= found[f"{name}/recall@1"] <= found[f"{name}/recall@10"] <= 1
    assert {"quarter/recall@10", "int8/recall@10", "binary/recall@10"} <= set(found)
    hard_sets = draw_hard_sets(1, seed=4, near_misses=3)
    assert 0 < measure_near_misses(embedder, hard_sets)["hard/embedder/ndcg@10"] <= 1
    assert 0 < measure_reranking(reranker, hard_sets)["hard/reranker/ndcg@10"] <= 1


def test_every_query_of_a_collection_has_one_answer():
    items, queries = draw_collection(60, seed=2)
    assert {query.form for query in queries} == {"text", "image", "composed"}
    assert len({item.facts.canonical for item in items}) == len(items)
    assert all(0 <= query.answer < len(items) for query in queries)


def test_a_hard_set_has_its_answer_first_and_only_near_misses_behind():
    (first, *_) = draw_hard_sets(3, seed=1, near_misses=5)
    assert len(first.items) == 6
    assert first.query
