"""What tensors hold: single rows of a checkpoint's, and a hash of a model's in memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.loading.weights import list_weight_files

__all__ = ["hash_parameters", "read_rows"]

_VALUES_PER_PARAMETER = 1024


def read_rows(folder: Path, names: tuple[str, ...], rows: tuple[int, ...]) -> Float[Tensor, "rows columns"] | None:
    """Returns rows of the first stored matrix among `names`, in float32, or `None` if none of them is stored.

    Only the rows are read. float32 holds every bfloat16 and float16 value exactly.

    Raises:
        ModelError: A file cannot be read, the tensor is not a matrix, or it has too few rows.
    """
    for path in list_weight_files(folder):
        try:
            # safe_open, from Rust, has no type annotations.
            with cast("Any", safe_open)(str(path), framework="pt") as file:
                stored = set(cast("list[str]", file.keys()))
                name = next((name for name in names if name in stored), None)
                if name is not None:
                    part = file.get_slice(name)
                    shape = cast("list[int]", part.get_shape())
                    if len(shape) != 2 or max(rows) >= shape[0]:
                        raise ModelError(f"{name} in {str(path)!r} has shape {shape}; row {max(rows)} was needed")
                    return torch.cat([cast("Tensor", part[row : row + 1]) for row in rows]).to(torch.float32)
        except SafetensorError as error:
            raise ModelError(f"{str(path)!r} cannot be read ({error}); download it again") from error
    return None


def hash_parameters(model: nn.Module) -> str:
    """Returns `"sha256:"` and a hash that changes with the weights of a model in memory, on any device.

    It covers names, shapes and 1,024 evenly spaced values of each parameter, as float32: the device, and loading a
    bfloat16 checkpoint in float32, leave it as it is. It is not the hash of the files that a model came from.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
        flat = _dequantize(parameter.detach()).reshape(-1)
        step = max(1, flat.numel() // _VALUES_PER_PARAMETER)
        digest.update(flat[::step].to(device="cpu", dtype=torch.float32).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def _dequantize(tensor: Tensor) -> Tensor:
    """Tensors of torchao do not slice; their plain values do."""
    is_subclass = type(tensor) not in (Tensor, nn.Parameter)
    return tensor.dequantize() if is_subclass and type(tensor).__module__.startswith("torchao") else tensor
