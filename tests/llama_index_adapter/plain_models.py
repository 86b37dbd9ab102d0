"""Models that have no more than the protocols of the core ask for; they count what they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qwen3_vl_retrieval import Fingerprint, InputError

__all__ = ["PlainEmbedder", "PlainReranker"]


class PlainEmbedder:
    """Queries point one way, documents another.

    Attributes:
        calls: What each call was for, and its items.
    """

    def __init__(self, revision: str = "1") -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self.revision = revision

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(
            model="plain",
            revision=self.revision,
            dimensions=2,
            precision="float32",
            instruction="",
            pixel_budget="",
            frame_sampling="",
            max_length=1,
            prompt_version="1",
        )

    def embed_queries(self, inputs: Sequence[Any]) -> np.ndarray:
        self.calls.append(("query", list(inputs)))
        return np.array([[1.0, 0.0]] * len(inputs))

    def embed_documents(self, inputs: Sequence[Any]) -> np.ndarray:
        self.calls.append(("document", list(inputs)))
        return np.array([[0.0, 1.0]] * len(inputs))


class PlainReranker:
    """Longer texts are better; anything else cannot be read."""

    def score(self, query: Any, documents: Sequence[Any]) -> np.ndarray:
        for place, document in enumerate(documents):
            if not isinstance(document, str):
                raise InputError("only texts", index=place, role="document")
        return np.array([1 - 1 / (1 + len(document)) for document in documents])
