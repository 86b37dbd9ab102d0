"""The published checkpoints' tensors, listed without transformers and compared with the models it builds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLModel

from qwen3_vl_retrieval.loading import hash_weight_files
from qwen3_vl_retrieval.loading.weights import list_weight_files

CONFIGS = Path(__file__).parent / "published_configs"

Layout = dict[str, tuple[int, ...]]


def read_config(size: str) -> dict[str, Any]:
    return json.loads((CONFIGS / f"{size}.json").read_text(encoding="utf-8"))


def list_language_tensors(text: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner, head = text["hidden_size"], text["intermediate_size"], text["head_dim"]
    queries, keys = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    yield "embed_tokens.weight", (text["vocab_size"], hidden)
    yield "norm.weight", (hidden,)
    for layer in range(text["num_hidden_layers"]):
        for name, shape in (
            ("input_layernorm", (hidden,)),
            ("post_attention_layernorm", (hidden,)),
            ("mlp.gate_proj", (inner, hidden)),
            ("mlp.up_proj", (inner, hidden)),
            ("mlp.down_proj", (hidden, inner)),
            ("self_attn.q_proj", (queries, hidden)),
            ("self_attn.k_proj", (keys, hidden)),
            ("self_attn.v_proj", (keys, hidden)),
            ("self_attn.o_proj", (hidden, queries)),
            ("self_attn.q_norm", (head,)),
            ("self_attn.k_norm", (head,)),
        ):
            yield f"layers.{layer}.{name}.weight", shape


def list_vision_tensors(vision: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner = vision["hidden_size"], vision["intermediate_size"]
    merged = hidden * vision["spatial_merge_size"] ** 2
    side, frames = vision["patch_size"], vision["temporal_patch_size"]
    yield "pos_embed.weight", (vision["num_position_embeddings"], hidden)
    weights: Layout = {"patch_embed.proj": (hidden, vision["in_channels"], frames, side, side)}
    for block in range(vision["depth"]):
        weights |= {f"blocks.{block}.{norm}": (hidden,) for norm in ("norm1", "norm2")}
        weights |= {
            f"blocks.{block}.attn.qkv": (3 * hidden, hidden),
            f"blocks.{block}.attn.proj": (hidden, hidden),
            f"blocks.{block}.mlp.linear_fc1": (inner, hidden),
            f"blocks.{block}.mlp.linear_fc2": (hidden, inner),
        }
    # The last merger normalises before it merges, those of the deepstack after.
    mergers = {"merger": hidden} | {
        f"deepstack_merger_list.{index}": merged for index, _ in enumerate(vision["deepstack_visual_indexes"])
    }
    for merger, normalized in mergers.items():
        weights |= {
            f"{merger}.norm": (normalized,),
            f"{merger}.linear_fc1": (merged, merged),
            f"{merger}.linear_fc2": (vision["out_hidden_size"], merged),
        }
    for name, shape in weights.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]


def list_published_tensors(config: dict[str, Any]) -> Layout:
    """Names and shapes as in the published files, without a head."""
    language = {f"model.language_model.{name}": shape for name, shape in list_language_tensors(config["text_config"])}
    vision = {f"model.visual.{name}": shape for name, shape in list_vision_tensors(config["vision_config"])}
    return language | vision


def count_parameters(layout: Layout) -> int:
    return sum(math.prod(shape) for shape in layout.values())


def build_layout(model_class: type[torch.nn.Module], config: dict[str, Any], *, prefix: str = "") -> Layout:
    with torch.device("meta"):
        model = model_class(Qwen3VLConfig.from_dict(config))
    return {f"{prefix}{name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def write_hollow_checkpoint(folder: Path, config: dict[str, Any]) -> Path:
    """A checkpoint with the published header and size whose weights are a hole in the file: zeros, on no disk."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in sorted(list_published_tensors(config).items()):
        end = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        file.truncate(8 + len(content) + offset)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.mark.parametrize(("size", "tensors", "parameters"), [("2b", 625, 2_127_532_032), ("8b", 749, 8_144_793_840)])
def test_the_listed_layout_has_the_published_counts(size, tensors, parameters):
    layout = list_published_tensors(read_config(size))
    assert len(layout) == tensors
    assert count_parameters(layout) == parameters


@pytest.mark.parametrize("size", ["2b", "8b"])
def test_the_base_model_has_exactly_the_published_tensors(size):
    config = read_config(size)
    assert build_layout(Qwen3VLModel, config, prefix="model.") == list_published_tensors(config)


def test_the_large_reranker_adds_only_an_untied_head():
    config = read_config("8b")
    head = {"lm_head.weight": (151_936, 4096)}
    assert build_layout(Qwen3VLForConditionalGeneration, config) == list_published_tensors(config) | head


def test_the_small_model_ties_its_head_to_the_token_embeddings():
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig.from_dict(read_config("2b")))
    model.tie_weights()
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight


def test_the_listed_small_checkpoint_has_the_published_file_size(tmp_path):
    # 4,255,140,312 bytes on the hub: names, shapes, dtype and header together.
    assert write_hollow_checkpoint(tmp_path, read_config("2b")).stat().st_size == 4_255_140_312


@pytest.mark.timeout(30)
def test_the_hash_of_a_published_size_checkpoint_reads_a_sample(tmp_path):
    path = write_hollow_checkpoint(tmp_path, read_config("2b"))
    assert list_weight_files(tmp_path) == [path]
    before = hash_weight_files(tmp_path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 1)
        file.write(b"\x01")
    assert hash_weight_files(tmp_path) != before


@pytest.mark.parametrize("size", ["2b", "8b"])
def test_rotary_settings_of_the_published_style_are_understood(size):
    text = Qwen3VLConfig.from_dict(read_config(size)).text_config
    # transformers 5 moves rope_theta into rope_parameters.
    theta = text.rope_parameters["rope_theta"] if getattr(text, "rope_parameters", None) else text.rope_theta
    scaling = getattr(text, "rope_parameters", None) or text.rope_scaling
    assert (theta, scaling["mrope_section"]) == (5_000_000, [24, 20, 20])
