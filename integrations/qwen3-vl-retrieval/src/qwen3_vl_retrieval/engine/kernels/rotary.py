"""Rotary positions: pairs of values of a head are rotated by angles that grow with the position of a token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["RotaryAngles"]


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
