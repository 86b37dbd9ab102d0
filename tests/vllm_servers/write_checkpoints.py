"""Checkpoints of random weights with heads of 32: vLLM on a CPU computes no smaller ones, and the reference's have 16.

    python tests/vllm_servers/write_checkpoints.py FOLDER

writes FOLDER/embedding and FOLDER/reranker, with the tokenizers and processors of the reference checkpoints.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

REFERENCE = Path(__file__).parents[1] / "core" / "reference" / "checkpoints"
HEAD_SIZE = 32
MROPE_SECTION = [8, 4, 4]
"""Half a head, divided into time, rows and columns."""


def write_checkpoint(kind: str, folder: Path, *, seed: int) -> None:
    """Writes a checkpoint of random weights, wide enough that every part of an input moves the result."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (REFERENCE / kind).iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            shutil.copyfile(path, folder / path.name)
    config = json.loads((REFERENCE / kind / "config.json").read_text())
    text = config["text_config"]
    text["head_dim"] = HEAD_SIZE
    text["hidden_size"] = text["num_attention_heads"] * HEAD_SIZE
    text["rope_scaling"]["mrope_section"] = MROPE_SECTION
    config["vision_config"]["out_hidden_size"] = text["hidden_size"]
    config["vision_config"]["hidden_size"] = config["vision_config"]["num_heads"] * HEAD_SIZE
    config["dtype"] = text["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**config))
    weights = {name: draw_parameter(name, shape.shape, generator) for name, shape in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def draw_parameter(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """Ones for the scales of norms, small biases, and matrices as wide as their inputs ask for."""
    if len(shape) == 1:
        is_scale = "norm" in name and "bias" not in name
        return torch.ones(shape) if is_scale else 0.05 * torch.randn(shape, generator=generator)
    return torch.randn(shape, generator=generator) * shape[1:].numel() ** -0.5


if __name__ == "__main__":
    for number, kind in enumerate(("embedding", "reranker")):
        write_checkpoint(kind, Path(sys.argv[1]) / kind, seed=number)
