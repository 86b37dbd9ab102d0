"""How far numbers of equal items may lie apart, in the precision that `dtype="auto"` chooses on this machine."""

from __future__ import annotations

from functools import cache

from langchain_qwen3_vl.testing import TOLERANCES

__all__ = ["bound", "find_automatic_dtype"]


def bound(float32: float) -> float:
    """Returns `float32` where models compute in it, and what the precision in use leaves room for elsewhere."""
    return max(float32, TOLERANCES[find_automatic_dtype()] if find_automatic_dtype() != "float32" else 0.0)


@cache
def find_automatic_dtype() -> str:
    # Not above: the tests of the pocket world import no torch.
    from qwen3_vl_retrieval.loading import choose_device, choose_dtype

    return str(choose_dtype("auto", choose_device(None).value).value).removeprefix("torch.")
