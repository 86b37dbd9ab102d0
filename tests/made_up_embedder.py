"""An embedder without a model: vectors are drawn from hashes of contents, so that equal contents have equal ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from qwen3_vl_retrieval.errors import MediaError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import MultimodalInput

DIMENSIONS = 64


class MadeUpEmbedder:
    """What the protocol asks for, and a list of what was embedded.

    Args:
        refused: Contents that it cannot read.
    """

    fingerprint = Fingerprint(
        model="made-up",
        revision="1",
        dimensions=DIMENSIONS,
        precision="float32",
        instruction="Represent the user's input.",
        pixel_budget="none",
        frame_sampling="none",
        max_length=8192,
        prompt_version="1",
    )

    def __init__(self, *, refused=()):
        self.refused = set(refused)
        self.embedded = []

    def embed_queries(self, items):
        return np.stack([draw_vector(read_content(item)) for item in items])

    def embed_documents(self, items):
        contents = [read_content(item) for item in items]
        for content in contents:
            if content in self.refused:
                raise MediaError(f"{content[:20]!r} is refused")
        self.embedded += contents
        return np.stack([draw_vector(content) for content in contents])


def read_content(item):
    match item:
        case str():
            return item.encode()
        case Image.Image():
            return item.tobytes()
        case dict():
            return b"".join(
                value.encode() if name == "text" else read_content(value)
                for name, value in item.items()
                if name in ("text", "image", "video")
            )
        case Path():
            return item.read_bytes()
        case MultimodalInput():
            return b"".join(read_content(part) for part in item.parts)
    raise TypeError(type(item).__name__)


def draw_vector(content):
    seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
    vector = np.random.default_rng(seed).normal(size=DIMENSIONS).astype(np.float32)
    return vector / np.linalg.norm(vector)
