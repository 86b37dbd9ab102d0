"""An index of three texts with thresholds, as `qwen3vl eval` leaves one."""

from __future__ import annotations

from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.index.thresholds import CutOff, FittedThresholds, save_thresholds
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker

TEXTS = ["a red mug", "a green lamp", "the red lamp"]


def open_measured_index(folder):
    """Returns the index; it has one cut-off, `fpr=0.01`."""
    index = MultimodalIndex.open(folder, FakeEmbedder(), FakeReranker())
    index.add(TEXTS)
    fitted = FittedThresholds(
        stage="reranked",
        fingerprint=index.store.head.fingerprint,
        reranker=FakeReranker().model_id,
        instruction=None,
        questions=9,
        positives=9,
        negatives=200,
        auc=1.0,
        # All words of the question, and not half of them.
        cut_offs={"0.01": CutOff(score=0.8, false_positive_rate=0.01, recall=1.0)},
    )
    save_thresholds(folder, [fitted])
    return index
