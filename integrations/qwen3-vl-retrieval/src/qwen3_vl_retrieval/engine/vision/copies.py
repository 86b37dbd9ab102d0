"""Arrays of the host as tensors of the device, without waiting for it."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["copy_to_device"]


def copy_to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Returns a copy of `values` on the device.

    A GPU reads it from pinned memory while the host goes on; torch keeps that memory until it has been read.
    """
    copied = torch.tensor(values)
    if device.type != "cuda":
        return copied.to(device)
    return copied.pin_memory().to(device, non_blocking=True)
