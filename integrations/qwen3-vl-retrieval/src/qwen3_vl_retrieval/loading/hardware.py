"""Where a model runs, in which precision and with which attention, each with the reason for the choice."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import torch

from qwen3_vl_retrieval.errors import ModelError

__all__ = ["Choice", "Choices", "choose_attention", "choose_device", "choose_dtype"]

T = TypeVar("T")

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# The module that each kernel of transformers imports: `modeling_flash_attention_utils.py` at v4.57.3 and v5.0.0.
_FLASH_MODULES = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}
_ATTENTIONS = ("sdpa", "eager", *_FLASH_MODULES)

# Lowest CUDA compute capabilities: bfloat16 arithmetic and FlashAttention-2 came with Ampere, FlashAttention-3 is for
# Hopper. https://docs.nvidia.com/cuda/cuda-c-programming-guide (compute capabilities) and
# https://github.com/Dao-AILab/flash-attention/blob/v2.8.3/README.md
_AMPERE = (8, 0)
_HOPPER = (9, 0)
_FLASH_CAPABILITIES = {"flash_attention_2": _AMPERE, "flash_attention_3": _HOPPER}


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """What was chosen, and why in one short sentence."""

    value: T
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How a model was loaded.

    Attributes:
        device: Where it runs.
        dtype: Precision of the weights and the arithmetic.
        attention: Name that transformers gives the attention kernel.
    """

    device: Choice[torch.device]
    dtype: Choice[torch.dtype]
    attention: Choice[str]


def choose_device(device: str | torch.device | None) -> Choice[torch.device]:
    """Returns `device`, or for `None` the first of CUDA, MPS and CPU that this machine has.

    Raises:
        ModelError: The device is unknown, or this machine does not have it.
    """
    if device is None:
        if torch.cuda.is_available():
            return Choice(torch.device("cuda"), "a CUDA device is available")
        if torch.backends.mps.is_available():
            return Choice(torch.device("mps"), "no CUDA device, but Apple's MPS is available")
        return Choice(torch.device("cpu"), "neither a CUDA device nor Apple's MPS is available")
    wanted = _parse_device(device)
    if wanted.type == "cuda":
        _check_cuda(wanted)
    elif wanted.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("device 'mps' was asked for, but PyTorch finds no MPS device here; pass device=None or 'cpu'")
    return Choice(wanted, "asked for")


def _parse_device(device: str | torch.device) -> torch.device:
    advice = "allowed are 'cuda', 'cuda:<number>', 'mps', 'cpu', and None for the best of them"
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"device {device!r} is unknown; {advice}") from error
    if wanted.type not in ("cuda", "mps", "cpu"):
        raise ModelError(f"device {device!r} is not supported; {advice}")
    return wanted


def _check_cuda(wanted: torch.device) -> None:
    if not torch.cuda.is_available():
        raise ModelError(
            f"device {str(wanted)!r} was asked for, but PyTorch {torch.__version__} finds no CUDA device; check the "
            "driver and that PyTorch was installed with CUDA, or pass device=None or 'cpu'"
        )
    count = torch.cuda.device_count()
    # The stubs forget that a device without a number has no index.
    index = cast("int | None", wanted.index)
    if index is not None and index >= count:
        raise ModelError(f"device {str(wanted)!r} was asked for, but the highest of {count} is 'cuda:{count - 1}'")


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> Choice[torch.dtype]:
    """Returns `dtype`, or for `"auto"` bfloat16 where `device` runs it natively and float32 elsewhere.

    On MPS `"auto"` is float32: half precision has given NaN vectors for batches of this model family there
    (https://github.com/pytorch/pytorch/issues/182726), and not every Apple GPU has bfloat16 arithmetic.
    float16 is never chosen: the text model of the family overflows in it
    (https://github.com/QwenLM/Qwen3-Embedding/issues/164).

    Raises:
        ModelError: The dtype is none of float32, bfloat16 and float16.
    """
    if dtype == "auto":
        return _choose_dtype_for(device)
    asked = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if asked is not None and asked in _DTYPES.values():
        emulated = (
            "" if find_arithmetic(asked, device) == asked else "; computed in float32, which this CPU is faster in"
        )
        return Choice(asked, "asked for" + emulated)
    raise ModelError(f"dtype {dtype!r} is not supported; allowed are 'auto', {', '.join(map(repr, _DTYPES))}")


def find_arithmetic(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Returns what weights in `dtype` are computed in: float32 on a CPU without instructions for it, else `dtype`.

    For float16 that is every CPU: PyTorch has few kernels for it, and the text model overflows in it.
    """
    if device.type != "cpu" or (dtype == torch.bfloat16 and _find_bfloat16_extension() is not None):
        return dtype
    return torch.float32


def _choose_dtype_for(device: torch.device) -> Choice[torch.dtype]:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        if (major, minor) >= _AMPERE:
            return Choice(torch.bfloat16, f"compute capability {major}.{minor} has bfloat16 arithmetic")
        return Choice(
            torch.float32, f"compute capability {major}.{minor} has no bfloat16 arithmetic, 8.0 and later have"
        )
    if device.type == "mps":
        return Choice(torch.float32, "half precision has given NaN on MPS (pytorch#182726)")
    extension = _find_bfloat16_extension()
    if extension is not None:
        return Choice(torch.bfloat16, f"the CPU has {extension}")
    return Choice(torch.float32, "the CPU has no bfloat16 arithmetic")


def _find_bfloat16_extension() -> str | None:
    """Name of the CPU's bfloat16 instructions that PyTorch would use, if any."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        # Only Linux builds of PyTorch come with the ARM kernels that use the instructions.
        is_used = platform.system() == "Linux" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        return "ARM bfloat16 instructions" if is_used else None
    names = {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX-BF16"}
    capabilities = _read_x86_capabilities()
    return next((name for key, name in names.items() if capabilities.get(key, False)), None)


def _read_x86_capabilities() -> Mapping[str, Any]:
    # torch.cpu.get_capabilities is public, but came after 2.6; the private queries before it say the same.
    cpu = cast("Any", torch.cpu)
    if hasattr(cpu, "get_capabilities"):
        return cast("Mapping[str, Any]", cpu.get_capabilities())
    return {"avx512_bf16": cpu._is_avx512_bf16_supported(), "amx_bf16": cpu._is_amx_tile_supported()}


def choose_attention(attn_implementation: str, device: torch.device, dtype: torch.dtype) -> Choice[str]:
    """Returns the name of the attention kernel; for `"auto"` PyTorch's.

    With PyTorch's, rows are packed without padding and shared beginnings are computed once (`engine.language`); on a
    GPU its kernel is FlashAttention as well. Those asked for by name go through transformers, padded.

    Raises:
        ModelError: The name is unknown, or the kernel cannot run on `device` in `dtype` or is not installed.
    """
    if attn_implementation == "auto":
        return Choice("sdpa", "PyTorch's own, for which rows are packed without padding")
    if attn_implementation not in _ATTENTIONS:
        allowed = ", ".join(map(repr, ("auto", *_ATTENTIONS)))
        raise ModelError(f"attn_implementation {attn_implementation!r} is unknown; allowed are {allowed}")
    if attn_implementation in _FLASH_MODULES:
        obstacle = _find_flash_obstacle(attn_implementation, device, dtype)
        if obstacle is not None:
            raise ModelError(
                f"attn_implementation {attn_implementation!r} cannot run: {obstacle}; pass 'auto' or 'sdpa'"
            )
    return Choice(attn_implementation, "asked for")


def _find_flash_obstacle(name: str, device: torch.device, dtype: torch.dtype) -> str | None:
    if device.type != "cuda":
        return f"FlashAttention needs a CUDA device, not {device.type}"
    if dtype not in (torch.float16, torch.bfloat16):
        return f"FlashAttention needs bfloat16 or float16, not {str(dtype).removeprefix('torch.')}"
    lowest = _FLASH_CAPABILITIES[name]
    capability = torch.cuda.get_device_capability(device)
    if capability < lowest:
        return f"it needs compute capability {lowest[0]}.{lowest[1]}, the GPU has {capability[0]}.{capability[1]}"
    module = _FLASH_MODULES[name]
    try:
        importlib.import_module(module)
    except ImportError as error:
        # A wheel built for another PyTorch is installed but does not import: its undefined symbol is the reason.
        return f"{module} does not import ({error})"
    return None
