"""What passes through the models: features, rows, prefixes and rotary angles, and from the host to the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["PackedRow", "PrefixStates", "RotaryAngles", "VisionFeatures", "copy_to_device"]


@dataclass(frozen=True, slots=True)
class VisionFeatures:
    """What the language model takes in place of the visual placeholders of one image or video.

    Attributes:
        embeddings: One input embedding per visual token.
        deepstack: Features added to the hidden states after each of the first language layers.
    """

    embeddings: Float[Tensor, "tokens hidden"]
    deepstack: tuple[Float[Tensor, "tokens hidden"], ...]

    @property
    def byte_count(self) -> int:
        """Memory that they take, were they not parts of larger tensors."""
        return sum(layer.numel() * layer.element_size() for layer in (self.embeddings, *self.deepstack))

    def copy_to(self, device: torch.device) -> VisionFeatures:
        """Returns the features in memory of their own; in the host's that of a GPU can be read from directly."""
        layers: list[Tensor] = []
        for layer in (self.embeddings, *self.deepstack):
            if device.type == "cpu" and layer.device.type == "cuda":
                layers.append(torch.empty(layer.shape, dtype=layer.dtype, pin_memory=True).copy_(layer))
            elif device == layer.device:
                layers.append(layer.clone())
            else:
                layers.append(layer.to(device, non_blocking=True))
        return VisionFeatures(layers[0], tuple(layers[1:]))


@dataclass(frozen=True, slots=True, eq=False)
class PackedRow:
    """Tokens of one row from a place on.

    Attributes:
        token_ids: Vocabulary ids.
        positions: Rotary positions: time, row, column.
        visual_places: Which of them are visual.
        features: What stands in place of the visual ones, in order.
        prefix: Which of the prefixes they continue; `None` for a whole row.
    """

    token_ids: Int64[np.ndarray, " length"]
    positions: Int64[np.ndarray, "3 length"]
    visual_places: Int64[np.ndarray, " visual"]
    features: tuple[VisionFeatures, ...]
    prefix: int | None = None

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True, eq=False)
class PrefixStates:
    """Keys and values of a beginning, by layer: all that later tokens need of it."""

    keys: tuple[Float[Tensor, "length groups size"], ...]
    values: tuple[Float[Tensor, "length groups size"], ...]

    @property
    def byte_count(self) -> int:
        """Memory that they take."""
        return sum(states.nbytes for states in (*self.keys, *self.values))

    def __len__(self) -> int:
        return len(self.keys[0])


@dataclass(frozen=True, slots=True, eq=False)
class RotaryAngles:
    """The angles of a batch, by which every layer rotates queries and keys.

    Attributes:
        cos: Cosines of the angles, broadcast over heads.
        sin: Sines of the angles, broadcast over heads.
    """

    cos: Float[Tensor, "*places half"]
    sin: Float[Tensor, "*places half"]

    def select(self, places: Int64[Tensor, " chosen"]) -> RotaryAngles:
        """Returns the angles of some tokens."""
        return RotaryAngles(self.cos[places], self.sin[places])

    def rotate(self, states: Float[Tensor, "*places size"]) -> Float[Tensor, "*places size"]:
        """Returns rotated queries or keys in contiguous memory.

        The halves of a head are the two coordinates (`rotate_half` of transformers).
        """
        first, second = states.chunk(2, dim=-1)
        rotated = torch.empty(states.shape, dtype=states.dtype, device=states.device)
        left, right = rotated.chunk(2, dim=-1)
        torch.mul(first, self.cos, out=left).addcmul_(second, self.sin, value=-1)
        torch.mul(second, self.cos, out=right).addcmul_(first, self.sin)
        return rotated


def copy_to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Returns a copy of `values` on the device.

    A GPU reads it from pinned memory while the host goes on; torch keeps that memory until it has been read.
    """
    copied = torch.tensor(values)
    if device.type != "cuda":
        return copied.to(device)
    return copied.pin_memory().to(device, non_blocking=True)
