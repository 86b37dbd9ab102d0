"""Options that several commands share, and the models they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from qwen3_vl_retrieval.cli.profiles import Profile

__all__ = [
    "DEFAULT_EMBEDDER",
    "DEFAULT_RERANKER",
    "NO_RERANKER",
    "DeviceOption",
    "DimensionsOption",
    "DtypeOption",
    "ExcludeOption",
    "ImageReadingOption",
    "KOption",
    "MaxPixelsOption",
    "ModelOptions",
    "ProfileOption",
]

DEFAULT_EMBEDDER = "Qwen/Qwen3-VL-Embedding-2B"
DEFAULT_RERANKER = "Qwen/Qwen3-VL-Reranker-2B"
NO_RERANKER = "none"

DeviceOption: TypeAlias = Annotated[
    str | None, typer.Option(help="cuda, cuda:1, mps or cpu; by default the first of these that exists.")
]
DtypeOption: TypeAlias = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
DimensionsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="Length of a vector, from 32 to the model's hidden size, which is the default."),
]
MaxPixelsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(min=4096, help="Pixels that the models see of a picture, page or frame at most; fewer is faster."),
]
ImageReadingOption: TypeAlias = Annotated[
    str, typer.Option(help="viewer: images as a viewer shows them; reference: as the official scripts see them.")
]
ProfileOption: TypeAlias = Annotated[
    bool, typer.Option("--profile", help="Show what the models had to compute, and how long it took.")
]
ExcludeOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="What to leave out, as in a .gitignore file in the folder: '*.bak', drafts/, /2019. Repeat it for more.",
    ),
]
KOption: TypeAlias = Annotated[int, typer.Option("--k", min=1, help="Results at most.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which models to load, and how.

    Attributes:
        embedder: Hub id, folder or `"pocket"`.
        reranker: The same, or `None` for a search in one stage.
        device: Where they run; `None` chooses.
        dtype: In which precision; `"auto"` chooses.
        dimensions: Length of a vector; `None` is the hidden size.
        max_pixels: Pixels of a picture, page or frame at most; `None` is the models' own limit.
        image_reading: How images are read.
        profile: Where models are noted once they are loaded; `None` if nobody asks what they computed.
    """

    embedder: str
    reranker: str | None
    device: str | None
    dtype: str
    dimensions: int | None = None
    max_pixels: int | None = None
    image_reading: str = "viewer"
    profile: Profile | None = None
