"""Rotary positions: pairs of values of a head are turned by angles that grow with the place of a token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Float, Int64
from torch import Tensor

__all__ = ["RotaryAngles"]


@dataclass(frozen=True, slots=True, eq=False)
class RotaryAngles:
    """The angles of a batch, by which every layer turns queries and keys.

    Attributes:
        cos: Of the angles, to be broadcast over heads.
        sin: Likewise.
        both: The two as complex numbers, where turning by those is faster.
    """

    cos: Float[Tensor, "*places half"]
    sin: Float[Tensor, "*places half"]
    both: Complex64[Tensor, "*places half"] | None

    @classmethod
    def build(cls, cos: Float[Tensor, "*places half"], sin: Float[Tensor, "*places half"]) -> RotaryAngles:
        """Returns the turns with what the device turns fastest by."""
        # On a CPU one product of complex numbers takes half the time of four of real ones (benchmarks/LOG.md).
        is_faster = cos.device.type == "cpu" and cos.dtype == torch.float32
        return cls(cos, sin, torch.complex(cos, sin) if is_faster else None)

    def select(self, places: Int64[Tensor, " chosen"]) -> RotaryAngles:
        """Returns the turns of some tokens."""
        return RotaryAngles(self.cos[places], self.sin[places], None if self.both is None else self.both[places])

    def turn(self, states: Float[Tensor, "*places size"]) -> Float[Tensor, "*places size"]:
        """Returns queries or keys turned; what is returned is contiguous.

        The halves of a head are the two coordinates (`rotate_half` upstream). By complex numbers the two come out side
        by side. Attention does not see it: products of queries and keys do not depend on the order of their values.
        """
        first, second = states.chunk(2, dim=-1)
        if self.both is not None:
            pairs = torch.empty(first.shape, dtype=torch.complex64)
            return torch.view_as_real(torch.complex(first, second, out=pairs).mul_(self.both)).flatten(-2)
        turned = torch.empty(states.shape, dtype=states.dtype, device=states.device)
        left, right = turned.chunk(2, dim=-1)
        torch.mul(first, self.cos, out=left).addcmul_(second, self.sin, value=-1)
        torch.mul(second, self.cos, out=right).addcmul_(first, self.sin)
        return turned
