"""Visual features: the vision tower's output, once per picture or clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qwen3_vl_retrieval.engine.requests.media_reader import PreparedMedia
from qwen3_vl_retrieval.engine.statistics import StatisticsRecorder
from qwen3_vl_retrieval.engine.vision.copies import copy_to_device
from qwen3_vl_retrieval.engine.vision.feature_cache import FeatureCache, VisionFeatures
from qwen3_vl_retrieval.engine.vision.frame_pairs import FramePairs
from qwen3_vl_retrieval.engine.vision.patches import PatchLayout, cut_patches
from qwen3_vl_retrieval.engine.vision.pixel_loader import Pixels
from qwen3_vl_retrieval.engine.vision.tower import VisionTower

__all__ = ["VisionEncoder"]


_CPU_TOKENS = 1_024
"""Visual tokens that pass through the tower together on a CPU: about a page, whose activations stay in the caches.
Five pages at once took a tenth longer (benchmarks/LOG.md, speed). A GPU takes whatever the batch holds."""


class VisionEncoder:
    """Encodes pictures and clips with the model's vision tower; content that is known is not encoded again.

    Args:
        tower: `Qwen3VLVisionModel`.
        layout: Of the patches.
        cache: Where features stay for later runs.
        statistics: What is counted goes there.
    """

    def __init__(self, tower: Any, layout: PatchLayout, cache: FeatureCache, statistics: StatisticsRecorder) -> None:
        self._tower = VisionTower(tower)
        self._layout = layout
        self._statistics = statistics
        self._max_tokens = _CPU_TOKENS if self._tower.device.type == "cpu" else None
        self.cache = cache

    def encode(self, media: Iterable[PreparedMedia], pixels: Pixels) -> dict[bytes, VisionFeatures]:
        """Returns the features of `media` by content key; `pixels` are needed of those that are not in the cache."""
        wanted = {item.key: item for item in media}
        features: dict[bytes, VisionFeatures] = {}
        missing: list[PreparedMedia] = []
        for key, item in wanted.items():
            found = self.cache.find(key)
            if found is None:
                missing.append(item)
            else:
                features[key] = found
        if missing:
            for key, encoded in self._encode_new(missing, pixels).items():
                features[key] = encoded
                self.cache.keep(key, encoded)
        return features

    def _encode_new(self, media: Sequence[PreparedMedia], pixels: Pixels) -> dict[bytes, VisionFeatures]:
        # Pictures of one size are neighbours: they share attention.
        ordered = sorted(media, key=lambda item: (item.slot.height, item.slot.width))
        encoded: dict[bytes, VisionFeatures] = {}
        for group in _group_media(ordered, max_tokens=self._max_tokens):
            encoded.update(self._encode_group(group, pixels))
        return encoded

    def _encode_group(self, media: Sequence[PreparedMedia], pixels: Pixels) -> dict[bytes, VisionFeatures]:
        merge = self._layout.merge_size
        pairs = FramePairs(media, pixels)
        patches = torch.cat([self._cut(frames) for frames in pairs.frames])
        embeddings, deepstack = self._tower.compute(patches, [(merge * h, merge * w) for h, w in pairs.sizes])
        self._statistics.add(frame_pairs_repeated=pairs.repeated_count)
        layers = [pairs.spread(layer) for layer in (embeddings, *deepstack)]
        return {
            item.key: VisionFeatures(own[0], tuple(own[1:]))
            for item, own in zip(media, zip(*layers, strict=True), strict=True)
        }

    def _cut(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        return cut_patches(copy_to_device(frames, self._tower.device), self._layout)


def _group_media(media: Sequence[PreparedMedia], *, max_tokens: int | None) -> list[list[PreparedMedia]]:
    """Neighbours that are encoded together; a picture or clip beyond `max_tokens` is alone."""
    groups: list[list[PreparedMedia]] = []
    tokens = 0
    for item in media:
        if groups and (max_tokens is None or tokens + item.token_count <= max_tokens):
            groups[-1].append(item)
            tokens += item.token_count
        else:
            groups.append([item])
            tokens = item.token_count
    return groups
