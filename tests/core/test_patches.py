"""Patches against those of the checkpoint's own processors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from qwen3_vl_retrieval import ModelError
from qwen3_vl_retrieval.engine.vision.patches import PatchLayout, cut_patches


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 64, 96, 3), dtype=np.uint8)


def test_patches_of_an_image_are_those_of_its_image_processor(embedder, pixels):
    processor = embedder.processor.image_processor
    expected = processor(images=[Image.fromarray(pixels[0])], do_resize=False, return_tensors="pt")["pixel_values"]
    ours = cut_patches(torch.from_numpy(pixels[:1]), PatchLayout.from_processor(processor))
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


def test_patches_of_a_video_are_those_of_its_video_processor(embedder, pixels):
    processor = embedder.processor.video_processor
    video = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    expected = processor(videos=[video], do_resize=False, do_sample_frames=False, return_tensors="pt")
    ours = cut_patches(torch.from_numpy(pixels), PatchLayout.from_processor(embedder.processor.image_processor))
    torch.testing.assert_close(ours, expected["pixel_values_videos"], atol=1e-6, rtol=0)


def test_another_patch_geometry_is_refused(embedder):
    class OtherProcessor:
        patch_size, merge_size, temporal_patch_size = 14, 2, 2
        rescale_factor, image_mean, image_std = 1 / 255, [0.5] * 3, [0.5] * 3

    with pytest.raises(ModelError, match="28"):
        PatchLayout.from_processor(OtherProcessor())
