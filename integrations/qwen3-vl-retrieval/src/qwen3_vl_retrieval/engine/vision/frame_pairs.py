"""Pairs of frames that pass through the vision tower together: each distinct one once.

The tower sees a pair of frames alone: neither its time nor its neighbours reach it. Slides and screen recordings stand
still for most of their time, and a codec repeats what stands still to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from qwen3_vl_retrieval.engine.requests.media_reader import PreparedMedia, digest_pixels

__all__ = ["FramePairs"]


class FramePairs:
    """The distinct pairs of pictures and clips; a picture is one pair.

    Args:
        media: Pictures and clips, in the order in which they are to be computed.
        pixels: Of each, by content key.

    Attributes:
        frames: What is to be computed of each picture or clip, two frames a pair or a picture's only one; those of
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
        """Returns the features of each picture and clip from those of the distinct pairs, end to end."""
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
