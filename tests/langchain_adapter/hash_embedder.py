"""An embedder of nothing but hashes, for what stores do with vectors; it counts what it is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from qwen3_vl_retrieval import Fingerprint, InputError
from qwen3_vl_retrieval.paths import decode_path

__all__ = ["HashEmbedder"]


class HashEmbedder:
    """Equal content, equal vector; files count by their bytes.

    Attributes:
        embedded: The documents of each call.
    """

    def __init__(self, *, revision: str = "1", image_reading: str = "reference") -> None:
        self.embedded: list[list[Any]] = []
        self._revision, self._image_reading = revision, image_reading

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(
            model="hash",
            revision=self._revision,
            dimensions=8,
            precision="float32",
            instruction="",
            pixel_budget="",
            frame_sampling="",
            max_length=1,
            prompt_version="1",
            image_reading=self._image_reading,
        )

    def embed_queries(self, inputs: Sequence[Any]) -> np.ndarray:
        return np.stack([_embed(item) for item in inputs])

    def embed_documents(self, inputs: Sequence[Any]) -> np.ndarray:
        vectors = np.stack([_embed(item, index=place) for place, item in enumerate(inputs)])
        self.embedded.append(list(inputs))
        return vectors


def _embed(item: Any, *, index: int | None = None) -> np.ndarray:
    content = item.encode() if isinstance(item, str) else b""
    if isinstance(item, dict):
        for name in ("image", "video"):
            if name in item:
                path = decode_path(str(item[name]))
                if not path.is_file():
                    raise InputError(f"{str(path)!r} is missing", index=index)
                content += path.read_bytes()
        content += str(item.get("text", "")).encode()
    seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(8).astype(np.float32)
    return vector / np.linalg.norm(vector)
