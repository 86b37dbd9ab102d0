"""Visual features: the vision tower's output, computed once per image or video."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from qwen3_vl_retrieval.engine.requests.media_reader import PreparedMedia, digest_pixels
from qwen3_vl_retrieval.engine.states import VisionFeatures, copy_to_device
from qwen3_vl_retrieval.engine.statistics import StatisticsRecorder
from qwen3_vl_retrieval.engine.vision.feature_cache import FeatureCache
from qwen3_vl_retrieval.engine.vision.patches import PatchLayout, cut_patches
from qwen3_vl_retrieval.engine.vision.tower import VisionTower

__all__ = ["FramePairs", "Pixels", "VisionEncoder"]


Pixels: TypeAlias = dict[bytes, npt.NDArray[np.uint8]]
"""Frames by content key, each `(frames, height, width, 3)`."""


class FramePairs:
    """The distinct pairs of images and videos; an image is one pair.

    Args:
        media: Images and videos, in the order in which they are to be computed.
        pixels: Pixels by content key.

    Attributes:
        frames: What is to be computed of each image or video, two frames a pair or an image's only one; those of
            which another has everything are left out.
        sizes: Height and width in visual tokens of each pair of `frames`.
        repeated_count: Pairs that are equal to an earlier one.
    """

    def __init__(self, media: Sequence[PreparedMedia], pixels: Mapping[bytes, npt.NDArray[np.uint8]]) -> None:
        self.frames: list[UInt8[np.ndarray, "frames height width 3"]] = []
        self.sizes: list[tuple[int, int]] = []
        self._orders: list[list[int]] = []
        places: dict[bytes, int] = {}
        for item in media:
            frames = pixels[item.key]
            keys = (
                [item.key] if item.pair_count == 1 else [digest_pixels(pair, is_video=True) for pair in _pair(frames)]
            )
            fresh: list[int] = []
            for number, key in enumerate(keys):
                if key not in places:
                    places[key] = len(places)
                    fresh.append(number)
            if fresh:
                self.frames.append(frames if len(fresh) == len(keys) else np.concatenate(_pair(frames)[fresh]))
                self.sizes.extend([(item.slot.height, item.slot.width)] * len(fresh))
            self._orders.append([places[key] for key in keys])
        self.repeated_count = sum(map(len, self._orders)) - len(places)

    def spread(self, features: Float[Tensor, "tokens hidden"]) -> list[Float[Tensor, "_ hidden"]]:
        """Returns the features of each image and video from those of the distinct pairs, end to end."""
        ends = list(accumulate((height * width for height, width in self.sizes), initial=0))
        bounds = list(pairwise(ends))
        spread: list[Tensor] = []
        for order in self._orders:
            if order == list(range(order[0], order[0] + len(order))):
                spread.append(features[bounds[order[0]][0] : bounds[order[-1]][1]])
            else:
                spread.append(torch.cat([features[slice(*bounds[place])] for place in order]))
        return spread


def _pair(frames: npt.NDArray[np.uint8]) -> UInt8[np.ndarray, "pairs 2 height width 3"]:
    return frames.reshape(-1, 2, *frames.shape[1:])


_CPU_TOKENS = 1_024
"""Visual tokens that pass through the tower together on a CPU: about a page, whose activations stay in the caches.
Five pages at once took a tenth longer (benchmarks/LOG.md, speed). A GPU takes whatever the batch holds."""


class VisionEncoder:
    """Encodes images and videos with the model's vision tower; content that is known is not encoded again.

    Args:
        tower: `Qwen3VLVisionModel`.
        layout: Geometry of the patches.
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
        # Images of one size are neighbours: they share attention.
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
    """Neighbours that are encoded together; an image or video beyond `max_tokens` is alone."""
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
