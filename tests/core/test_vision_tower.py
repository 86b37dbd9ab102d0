"""The vision tower in one go gives what transformers gives image by image."""

from __future__ import annotations

import pytest
import torch

from qwen3_vl_retrieval.engine.kernels.varlen import attend_by_formula
from qwen3_vl_retrieval.engine.vision.tower import VisionTower


@pytest.fixture(params=["side by side", "end to end"], autouse=True)
def arrange(request, monkeypatch):
    """Images as CPUs and GPUs arrange them; the kernel of the latter is the formula."""
    if request.param == "end to end":
        finder = "qwen3_vl_retrieval.engine.vision.tower.find_varlen_kernel"
        monkeypatch.setattr(finder, lambda *_, **__: attend_by_formula)


@pytest.fixture(scope="module")
def upstream(embedder):
    return embedder.model.visual


def make_patches(tower, grids, seed=0):
    torch.manual_seed(seed)
    values = tower.patch_embed.proj.weight.flatten(1).shape[1]
    return torch.randn(sum(height * width for height, width in grids), values)


@torch.no_grad()
def run_upstream(tower, patches, grids):
    output = tower(patches, grid_thw=torch.tensor([[1, height, width] for height, width in grids]))
    if isinstance(output, tuple):
        return output
    return output.pooler_output, output.deepstack_features


@pytest.mark.parametrize(
    "grids",
    [[(4, 6)], [(4, 6)] * 3, [(2, 2), (4, 6), (4, 6), (6, 4), (18, 10)]],
    ids=["one", "three of a size", "several sizes"],
)
def test_features_are_those_of_transformers(upstream, grids):
    patches = make_patches(upstream, grids)
    expected, expected_deep = run_upstream(upstream, patches, grids)
    embeddings, deepstack = VisionTower(upstream).compute(patches, grids)
    torch.testing.assert_close(embeddings, expected, atol=5e-5, rtol=1e-4)
    assert len(deepstack) == len(expected_deep) > 0
    for ours, theirs in zip(deepstack, expected_deep, strict=True):
        torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=1e-4)


def test_an_image_among_others_is_the_image_alone(upstream):
    tower = VisionTower(upstream)
    grids = [(4, 4), (4, 4), (2, 6)]
    patches = make_patches(upstream, grids)
    together, _ = tower.compute(patches, grids)
    alone, _ = tower.compute(patches[16:32], [(4, 4)])
    torch.testing.assert_close(together[4:8], alone, atol=1e-5, rtol=1e-5)


def test_patches_are_not_changed(upstream):
    patches = make_patches(upstream, [(4, 4)])
    before = patches.clone()
    VisionTower(upstream).compute(patches, [(4, 4)])
    assert torch.equal(patches, before)
