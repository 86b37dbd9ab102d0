"""How well a pair of models finds what questions ask for, through the public classes of the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from qwen3_vl_pocket.world.collection import HardSet, Item, Query
from qwen3_vl_retrieval import Embedder, Reranker

__all__ = [
    "compute_auc",
    "compute_ndcg",
    "measure_near_misses",
    "measure_reranking",
    "measure_retrieval",
    "rank_answers",
]

_CUTOFF = 10


def measure_retrieval(embedder: Any, items: Sequence[Item], queries: Sequence[Query]) -> dict[str, float]:
    """Returns recall by form of query, group of items and language, and what shorter and coarser vectors keep.

    Args:
        embedder: A `Qwen3VLEmbedder`.
        items: One index.
        queries: Each answered by one item.

    Returns:
        `recall@1` and `recall@10` with what they are of: `text/all/recall@1`, `text/page/recall@1`,
        `image/all/recall@1`, `language/zh/recall@1`, `quarter/recall@10` (a quarter of the dimensions), `int8/…`,
        `binary/…`.
    """
    documents = embedder.embed_documents([item.content for item in items])
    asked = embedder.embed_queries([query.content for query in queries])
    answers = np.array([query.answer for query in queries])
    ranks = rank_answers(asked @ documents.T, answers)
    forms = np.array([query.form for query in queries])
    groups = np.array([items[query.answer].group for query in queries])
    languages = np.array([query.language for query in queries])
    is_text = forms == "text"
    found: dict[str, float] = {}

    def add(name: str, chosen: Any) -> None:
        for k in (1, _CUTOFF):
            found[f"{name}/recall@{k}"] = round(float((ranks[chosen] <= k).mean()), 4)

    for form in ("text", "image", "composed"):
        add(f"{form}/all", forms == form)
        for group in sorted(set(groups[forms == form].tolist())):
            add(f"{form}/{group}", (forms == form) & (groups == group))
    for language in sorted(set(languages.tolist())):
        add(f"language/{language}", is_text & (languages == language))
    return found | _measure_formats(embedder, asked[is_text], documents, answers[is_text])


def _measure_formats(
    embedder: Any,
    queries: Float[np.ndarray, "n hidden"],
    documents: Float[np.ndarray, "m hidden"],
    answers: Int[np.ndarray, " n"],
) -> dict[str, float]:
    """Recall of vectors that the core cuts or encodes, made from full ones with its own functions."""
    from qwen3_vl_retrieval.outputs.vectors import quantize_embeddings

    def normalize(vectors: Any) -> Any:
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    quarter = embedder.dimensions // 4
    codes = [quantize_embeddings(part, "int8").astype(np.float32) for part in (queries, documents)]
    signs = [np.where(part > 0, 1.0, -1.0) for part in (queries, documents)]
    compared = {
        "quarter": normalize(queries[:, :quarter]) @ normalize(documents[:, :quarter]).T,
        "int8": normalize(codes[0]) @ normalize(codes[1]).T,
        "binary": signs[0] @ signs[1].T,
    }
    return {
        f"{name}/recall@{_CUTOFF}": round(float((rank_answers(similarities, answers) <= _CUTOFF).mean()), 4)
        for name, similarities in compared.items()
    }


def measure_near_misses(embedder: Embedder, sets: Sequence[HardSet]) -> dict[str, float]:
    """Returns nDCG@10 of the embedder's order of near misses, also by group: what reranking starts from."""
    ranks: list[int] = []
    for hard in sets:
        similarities = embedder.embed_queries([hard.query]) @ embedder.embed_documents(list(hard.items)).T
        ranks.append(int(rank_answers(similarities, np.zeros(1, np.int64))[0]))
    return _summarize_ranks("hard/embedder", sets, ranks)


def measure_reranking(reranker: Reranker, sets: Sequence[HardSet]) -> dict[str, float]:
    """Returns nDCG@10 of the reranker's order of near misses, also by group, and ROC-AUC of the probability."""
    ranks: list[int] = []
    right: list[float] = []
    wrong: list[float] = []
    for hard in sets:
        answer, *others = sorted(reranker.rank(hard.query, list(hard.items)), key=lambda one: one.index)
        # By log-odds, which still differ where probabilities are equal; whoever is level ranks before the answer.
        ranks.append(1 + sum(other.margin >= answer.margin for other in others))
        right.append(answer.score)
        wrong += [other.score for other in others]
    return _summarize_ranks("hard/reranker", sets, ranks) | {
        "hard/reranker/auc": round(compute_auc(right, wrong), 4),
    }


def _summarize_ranks(name: str, sets: Sequence[HardSet], ranks: Sequence[int]) -> dict[str, float]:
    by_group: dict[str, list[int]] = {}
    for hard, rank in zip(sets, ranks, strict=True):
        by_group.setdefault(hard.group, []).append(rank)
    groups = {f"{name}/{group}/ndcg@{_CUTOFF}": compute_ndcg(own) for group, own in sorted(by_group.items())}
    return {key: round(value, 4) for key, value in ({f"{name}/ndcg@{_CUTOFF}": compute_ndcg(ranks)} | groups).items()}


def rank_answers(similarities: Float[np.ndarray, "n m"], answers: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Returns the rank of each query's answer, from 1; items that are as similar as the answer rank before it."""
    own = similarities[np.arange(len(answers)), answers]
    return (similarities >= own[:, None]).sum(axis=1)


def compute_ndcg(ranks: Sequence[int]) -> float:
    """Returns the mean nDCG@10 of queries with one answer each, of its ranks from 1."""
    return float(np.mean([1 / np.log2(1 + rank) if rank <= _CUTOFF else 0.0 for rank in ranks]))


def compute_auc(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Returns the probability that a right pair scores above a wrong one (area under the ROC curve); ties are half."""
    sorted_wrong = np.sort(np.asarray(wrong))
    below = np.searchsorted(sorted_wrong, right, side="left")
    not_above = np.searchsorted(sorted_wrong, right, side="right")
    return float(((below + not_above) / 2).mean() / len(sorted_wrong))
