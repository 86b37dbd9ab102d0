"""Visual features: the vision tower's output, once per picture or clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from qwen3_vl_retrieval.engine.visuals import PreparedMedia
from qwen3_vl_retrieval.patches import PatchLayout, cut_patches

__all__ = ["Pixels", "VisionEncoder", "VisionFeatures"]

Pixels: TypeAlias = dict[bytes, npt.NDArray[np.uint8]]
"""Frames by content key, each `(frames, height, width, 3)`."""


@dataclass(frozen=True, slots=True)
class VisionFeatures:
    """What the language model takes in place of the visual placeholders of one picture or clip.

    Attributes:
        embeddings: One input embedding per visual token.
        deepstack: Features added to the hidden states after each of the first language layers.
    """

    embeddings: Float[Tensor, "tokens hidden"]
    deepstack: tuple[Float[Tensor, "tokens hidden"], ...]


class VisionEncoder:
    """Encodes pictures and clips with the model's vision tower; content that occurs twice is encoded once."""

    def __init__(self, tower: Any, layout: PatchLayout) -> None:
        self._tower = tower
        self._layout = layout

    def encode(
        self, media: Iterable[PreparedMedia], pixels: Pixels, known: dict[bytes, VisionFeatures]
    ) -> dict[bytes, VisionFeatures]:
        """Returns the features of `media` by content key, taking those in `known` from there."""
        missing = {item.key: item for item in media if item.key not in known}
        return known | self._encode_new(list(missing.values()), pixels) if missing else known

    def _encode_new(self, media: Sequence[PreparedMedia], pixels: Pixels) -> dict[bytes, VisionFeatures]:
        device = self._tower.device
        frames = [torch.tensor(pixels[item.key], device=device) for item in media]
        patches = torch.cat([cut_patches(clip, self._layout) for clip in frames])
        merge = self._layout.merge_size
        grid = torch.tensor(
            [[item.pair_count, item.slot.height * merge, item.slot.width * merge] for item in media],
            dtype=torch.int64,
            device=device,
        )
        output: Any = self._tower(patches.to(self._tower.dtype), grid_thw=grid)
        # transformers 4.57 returns (embeddings, deepstack features), 5.x an output object with names.
        is_named = not isinstance(output, tuple)
        features: list[Tensor] = (
            [output.pooler_output, *output.deepstack_features] if is_named else [output[0], *output[1]]
        )
        counts = [item.token_count for item in media]
        split = [torch.split(layer, counts) for layer in features]
        return {
            item.key: VisionFeatures(own[0], tuple(own[1:]))
            for item, own in zip(media, zip(*split, strict=True), strict=True)
        }
