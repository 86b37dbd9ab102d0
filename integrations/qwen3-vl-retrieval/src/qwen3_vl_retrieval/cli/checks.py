"""What `qwen3vl doctor` looks at. Importing this module imports torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Literal, TypeAlias

import av
import av.codec
import torch
from PIL import Image

from qwen3_vl_retrieval.cli.models import load_embedder, load_reranker
from qwen3_vl_retrieval.cli.options import LoadingOptions
from qwen3_vl_retrieval.errors import ModelError, RetrievalError
from qwen3_vl_retrieval.loading import choose_attention, choose_device, choose_dtype
from qwen3_vl_retrieval.media import MediaPolicy

__all__ = ["Check", "State", "check_hardware", "check_models", "check_packages", "check_video"]

State: TypeAlias = Literal["ok", "missing", "failed"]
"""`missing` is worth knowing and no obstacle; `failed` is."""

_REQUIRED = (
    *("qwen3-vl-retrieval", "torch", "torchvision", "transformers", "tokenizers", "qwen-vl-utils"),
    *("numpy", "pillow", "pypdfium2", "av"),
)
_OPTIONAL = {
    "flash-attn": "attention kernels that can be asked for by name, on NVIDIA GPUs",
    "bitsandbytes": "weights in 4 or 8 bits on NVIDIA GPUs",
    "torchao": "weights in 8 bits",
    "qwen3-vl-pocket": "small models that run anywhere",
}

# Names that FFmpeg gives its decoders; without the first, ordinary MP4 files cannot be read.
_DECODERS = {"h264": True, "hevc": False, "vp9": False, "av1": False}

_GIGABYTE = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A line of the doctor's table.

    Attributes:
        subject: What was looked at.
        finding: What was found.
        note: Why it is so, or what to do about it.
        state: Whether it stands in the way.
    """

    subject: str
    finding: str
    note: str = ""
    state: State = "ok"


def check_packages() -> Generator[Check, None, None]:
    """Yields the version of Python and of each package, and which of them are missing."""
    yield Check(subject="Python", finding=platform.python_version(), note=platform.platform())
    for name in _REQUIRED:
        found = _find_version(name)
        if found is None:
            yield Check(subject=name, finding="missing", note=f"run: pip install {name}", state="failed")
        else:
            # The version of the package, with what it was built for: 2.8.0+cpu, 2.8.0+cu129.
            yield Check(subject=name, finding=torch.__version__ if name == "torch" else found)
    for name, use in _OPTIONAL.items():
        found = _find_version(name)
        yield Check(
            subject=name,
            finding="not installed" if found is None else found,
            note=f"optional: {use}",
            state="missing" if found is None else "ok",
        )


def check_hardware(device: str | None, dtype: str) -> Generator[Check, None, None]:
    """Yields device, precision and attention with the reason for each, and the memory there is."""
    try:
        chosen = choose_device(device)
        yield Check(subject="device", finding=str(chosen.value), note=chosen.reason)
        precision = choose_dtype(dtype, chosen.value)
        yield Check(subject="dtype", finding=str(precision.value).removeprefix("torch."), note=precision.reason)
        attention = choose_attention("auto", chosen.value, precision.value)
        yield Check(subject="attention", finding=attention.value, note=attention.reason)
    except ModelError as error:
        yield Check(subject="device", finding="not usable", note=str(error), state="failed")
        return
    yield from _check_memory(chosen.value)


def check_video() -> Generator[Check, None, None]:
    """Yields the version of FFmpeg that PyAV brings, and whether it decodes the common video formats."""
    versions = ", ".join(
        f"{name} {'.'.join(map(str, numbers))}"
        for name, numbers in av.library_versions.items()
        if name in ("libavcodec", "libavformat")
    )
    yield Check(subject="FFmpeg", finding=versions, note="brought by PyAV")
    for name, is_required in _DECODERS.items():
        try:
            decoder = av.codec.Codec(name, "r")
        except ValueError:
            state: State = "failed" if is_required else "missing"
            yield Check(
                subject=f"{name} video", finding="no decoder", note="reinstall PyAV: pip install av", state=state
            )
        else:
            yield Check(subject=f"{name} video", finding="decodes", note=decoder.long_name)


def check_models(
    model: str | None, reranker: str | None, *, device: str | None, dtype: str
) -> Generator[Check, None, None]:
    """Yields whether the named models load, and how long they take for a text and an image."""
    options = LoadingOptions(device=device, dtype=dtype)
    image = Image.new("RGB", (224, 224), (200, 42, 42))
    policy = MediaPolicy()

    def run_embedder(name: str) -> Callable[[], str]:
        embedder = load_embedder(name, options, policy)
        return lambda: f"{embedder.embed(['a red square', {'image': image}]).shape[1]} dimensions"

    def run_reranker(name: str) -> Callable[[], str]:
        judge = load_reranker(name, options, policy)
        return lambda: f"{len(judge.score('a red square', ['a red square', {'image': image}]))} documents judged"

    for name, load in ((model, run_embedder), (reranker, run_reranker)):
        if name is not None:
            yield _try_model(name, load)


def _try_model(name: str, load: Callable[[str], Callable[[], str]]) -> Check:
    try:
        begun = perf_counter()
        run = load(name)
        loaded = perf_counter()
        outcome = run()
        finished = perf_counter()
    # torch raises RuntimeError where memory runs out or a kernel is missing.
    except (RetrievalError, RuntimeError) as error:
        return Check(subject=name, finding="does not load or run", note=str(error), state="failed")
    note = f"loaded in {loaded - begun:.1f} s, a text and an image in {finished - loaded:.2f} s"
    return Check(subject=name, finding=outcome, note=note)


def _check_memory(device: torch.device) -> Generator[Check, None, None]:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        note = f"{torch.cuda.get_device_name(device)}, {free / _GIGABYTE:.1f} GiB free"
        yield Check(subject="GPU memory", finding=f"{total / _GIGABYTE:.1f} GiB", note=note)
    # Windows does not tell.
    if hasattr(os, "sysconf"):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield Check(subject="memory", finding=f"{total / _GIGABYTE:.1f} GiB", note=f"{os.cpu_count()} CPU cores")


def _find_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
