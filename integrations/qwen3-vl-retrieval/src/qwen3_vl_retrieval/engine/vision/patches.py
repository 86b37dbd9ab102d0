"""From pixels to the flat patches that the vision tower reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.media.budgets import TOKEN_SIDE_PIXELS

__all__ = ["PatchLayout", "cut_patches"]


class _ImageProcessor(Protocol):
    patch_size: int
    temporal_patch_size: int
    merge_size: int
    rescale_factor: float
    image_mean: list[float]
    image_std: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchLayout:
    """Geometry and normalisation of a checkpoint's patches (`preprocessor_config.json`).

    Attributes:
        patch_size: Side of a patch, in pixels.
        temporal_patch_size: Frames in a patch.
        merge_size: Side of the square of patches that becomes one visual token.
        rescale_factor: Multiplies a pixel before normalisation.
        mean: Mean of each colour after rescaling.
        std: Standard deviation of each colour after rescaling.
    """

    patch_size: int
    temporal_patch_size: int
    merge_size: int
    rescale_factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_processor(cls, image_processor: _ImageProcessor) -> PatchLayout:
        """Returns the layout that a checkpoint's image processor states.

        Raises:
            ModelError: It is not the geometry of Qwen3-VL, which all sizing here assumes.
        """
        side = image_processor.patch_size * image_processor.merge_size
        if side != TOKEN_SIDE_PIXELS or image_processor.temporal_patch_size != 2:
            raise ModelError(
                f"patch_size × merge_size is {side} and temporal_patch_size {image_processor.temporal_patch_size}; "
                f"Qwen3-VL checkpoints have {TOKEN_SIDE_PIXELS} and 2"
            )
        return cls(
            patch_size=image_processor.patch_size,
            temporal_patch_size=image_processor.temporal_patch_size,
            merge_size=image_processor.merge_size,
            rescale_factor=image_processor.rescale_factor,
            mean=tuple(image_processor.image_mean),
            std=tuple(image_processor.image_std),
        )


def cut_patches(
    frames: UInt8[Tensor, "frames height width 3"], layout: PatchLayout
) -> Float32[Tensor, "patches values"]:
    """Returns the normalised patches of an image (one frame, repeated in time) or a video (an even number).

    Patches are ordered so that the `merge_size`² patches of a visual token are neighbours; within a patch, values
    are ordered colour, frame, row, column. Reference: `Qwen2VLImageProcessor._preprocess` and
    `Qwen3VLVideoProcessor.patchify` of transformers.
    """
    if len(frames) == 1:
        frames = frames.expand(layout.temporal_patch_size, -1, -1, -1)
    frame_count, height, width, _ = frames.shape
    merge, size = layout.merge_size, layout.patch_size
    blocks = frames.reshape(
        frame_count // layout.temporal_patch_size,
        layout.temporal_patch_size,
        height // (merge * size),
        merge,
        size,
        width // (merge * size),
        merge,
        size,
        3,
    )
    # (time, frame, rows, merge, row, columns, merge, column, colour)
    #   -> (time, rows, columns, merge, merge, colour, frame, row, column); as bytes, which are a quarter to move.
    patches = blocks.permute(0, 2, 5, 3, 6, 8, 1, 4, 7).reshape(-1, 3, layout.temporal_patch_size * size * size)
    mean = torch.tensor(layout.mean, device=frames.device)[:, None] / layout.rescale_factor
    std = torch.tensor(layout.std, device=frames.device)[:, None] / layout.rescale_factor
    return ((patches.to(torch.float32) - mean) / std).flatten(1)
