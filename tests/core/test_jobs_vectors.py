"""Full vectors of a run: read by id, and a second pass by them over what short vectors have found."""

from __future__ import annotations

import numpy as np
import pytest

from job_runs import FILES, read_parts, write_texts
from qwen3_vl_retrieval import StoreError
from qwen3_vl_retrieval.jobs import RunVectors, embed_source
from qwen3_vl_retrieval.testing import FakeEmbedder

UNITS, NEAREST, CANDIDATES = 400, 10, 50


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    write_texts(folder / "source")
    embed_source(folder / "source", folder / "run", FakeEmbedder(), shard_units=8)
    return folder / "run"


def test_vectors_are_those_of_the_parts_in_the_order_asked_for(run):
    rows = read_parts(run)
    ids = sorted(rows)[::-1]
    vectors = RunVectors(run)
    assert len(vectors) == FILES
    assert vectors.fingerprint == FakeEmbedder().fingerprint
    asked = [ids[3], ids[0], ids[3], *ids[10:20]]
    assert np.array_equal(vectors.read(asked), np.array([rows[one]["vector"] for one in asked], dtype=np.float32))
    assert vectors.read([]).shape == (0, vectors.fingerprint.dimensions)


def test_vectors_are_the_same_without_room_to_keep_them(run):
    ids = list(read_parts(run))
    assert np.array_equal(RunVectors(run, cache_bytes=0).read(ids), RunVectors(run).read(ids))


def test_only_groups_of_rows_that_were_asked_for_are_read(run, monkeypatch):
    from qwen3_vl_retrieval.jobs import run_vectors

    read, groups = run_vectors.read_group_vectors, []
    monkeypatch.setattr(run_vectors, "read_group_vectors", lambda *given: groups.append(given[1]) or read(*given))
    vectors = RunVectors(run)
    ids = list(read_parts(run))
    vectors.read(ids[:1])
    vectors.read(ids[:1])
    assert len(groups) == 1
    vectors.read(ids)
    assert len(groups) == len(list(run.glob("**/part-*.parquet")))


def test_scores_are_cosines(run):
    embedder = FakeEmbedder()
    query = embedder.embed_queries(["What is said in text 12."])[0]
    ids = list(read_parts(run))
    vectors = RunVectors(run)
    assert vectors.score(query, ids) == pytest.approx(vectors.read(ids) @ query)
    with pytest.raises(ValueError, match="not shortened"):
        vectors.score(query[:8], ids)


def test_units_and_runs_that_do_not_exist_are_said(run, tmp_path):
    vectors = RunVectors(run)
    known = next(iter(read_parts(run)))
    for unknown in ("0" * 40, known + "0", known[:-1], ""):
        with pytest.raises(StoreError, match="has no unit"):
            vectors.read([known, unknown])
    with pytest.raises(StoreError, match="no finished run"):
        RunVectors(tmp_path)


def test_a_second_pass_finds_again_what_short_vectors_lose(tmp_path):
    """The nearest ten of 400 texts for 50 queries, by 50 candidates: vectors of 64 numbers, of which a store has 16."""
    write_texts(tmp_path / "source", UNITS)
    embedder = FakeEmbedder()
    embed_source(tmp_path / "source", tmp_path / "run", embedder)
    vectors = RunVectors(tmp_path / "run")
    ids = sorted(read_parts(tmp_path / "run"))
    full = vectors.read(ids)
    short = full[:, : full.shape[1] // 4].copy()
    short /= np.linalg.norm(short, axis=1, keepdims=True)
    found_short = found_candidates = found_twice = 0
    for number in range(50):
        query = embedder.embed_queries([f"Who says {number}?"])[0]
        exact = set(np.argsort(-(full @ query))[:NEAREST].tolist())
        order = np.argsort(-(short @ query[: short.shape[1]]))
        candidates = order[:CANDIDATES]
        cosines = vectors.score(query, [ids[place] for place in candidates])
        found_short += len(exact & set(order[:NEAREST].tolist()))
        found_candidates += len(exact & set(candidates.tolist()))
        found_twice += len(exact & set(candidates[np.argsort(-cosines)[:NEAREST]].tolist()))
    # What is among the candidates is found. Numbers in no order are the worst case: Matryoshka models lose less.
    assert found_twice == found_candidates
    assert (found_short / 500, found_twice / 500) == pytest.approx((0.15, 0.46), abs=0.02)
