"""What the speed benchmarks report beside seconds: floating point operations, the ceiling, and peak memory."""

from __future__ import annotations

import importlib.util
import inspect

import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3VLConfig, Qwen3VLModel

from markdown_pages import ROOT
from qwen3_vl_retrieval import Qwen3VLEmbedder

SHAPE = {
    "text": {"hidden": 64, "intermediate": 96, "layers": 2, "heads": 4, "kv_heads": 2, "head": 32},
    "vision": {"hidden": 48, "intermediate": 80, "depth": 3, "heads": 4, "positions": 64, "deep": [0, 1]},
}
IMAGE, ROWS, COLUMNS, TEXT_TOKENS = 90, 6, 8, 11


def load_benchmark(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_model():
    text, vision = SHAPE["text"], SHAPE["vision"]
    config = Qwen3VLConfig(
        image_token_id=IMAGE,
        video_token_id=91,
        vision_start_token_id=92,
        vision_end_token_id=93,
        text_config={
            "vocab_size": 100,
            "hidden_size": text["hidden"],
            "intermediate_size": text["intermediate"],
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "num_key_value_heads": text["kv_heads"],
            "head_dim": text["head"],
            "rope_scaling": {"rope_type": "default", "mrope_section": [6, 5, 5], "mrope_interleaved": True},
        },
        vision_config={
            "hidden_size": vision["hidden"],
            "intermediate_size": vision["intermediate"],
            "depth": vision["depth"],
            "num_heads": vision["heads"],
            "num_position_embeddings": vision["positions"],
            "deepstack_visual_indexes": vision["deep"],
            "out_hidden_size": text["hidden"],
        },
    )
    # Attention written out: its matrix products are counted on every device.
    for part in (config, config.text_config, config.vision_config):
        part._attn_implementation = "eager"
    return Qwen3VLModel(config).eval()


def test_operations_are_those_of_transformers_without_the_masked_half_of_causal_attention():
    patches = ROWS * COLUMNS
    tokens = patches // 4 + TEXT_TOKENS
    ids = torch.full((1, tokens), 5)
    ids[0, 3] = 92
    ids[0, 4 : 4 + patches // 4] = IMAGE
    model = build_model()
    # transformers 5 asks for the kinds of tokens.
    kinds = {"mm_token_type_ids": (ids == IMAGE).int()}
    asked = kinds if "mm_token_type_ids" in inspect.signature(model.forward).parameters else {}
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        grid = torch.tensor([[1, ROWS, COLUMNS]])
        model(input_ids=ids, pixel_values=torch.randn(patches, 3 * 2 * 16 * 16), image_grid_thw=grid, **asked)
    text = SHAPE["text"]
    masked = 2 * text["layers"] * text["heads"] * text["head"] * tokens * (tokens - 1)
    count = load_benchmark("speed_arithmetic").count_operations
    counted = count(SHAPE, pictures=[patches], text_tokens=TEXT_TOKENS)
    # transformers 4 rotates by matrix products, too.
    assert counter.get_total_flops() - masked == pytest.approx(counted, rel=1e-3)


def test_pairs_of_frames_are_counted_as_images():
    embedder = Qwen3VLEmbedder.from_pretrained("pocket", device="cpu")
    frames = [Image.new("RGB", (64, 96), (40 * number, 0, 0)) for number in range(4)]
    [clip, text] = embedder.prepare([{"video": frames}, "a text"])
    arithmetic = load_benchmark("speed_arithmetic")
    patches = 4 * clip.media[0].slot.height * clip.media[0].slot.width
    others = len(clip) - clip.media[0].token_count
    wanted = arithmetic.count_operations(SHAPE, pictures=[patches, patches], text_tokens=others)
    assert arithmetic.count_request_operations(SHAPE, clip) == wanted
    wanted = arithmetic.count_operations(SHAPE, pictures=[], text_tokens=len(text))
    assert arithmetic.count_request_operations(SHAPE, text) == wanted


def test_the_table_names_the_cpu_and_the_share_of_the_ceiling_where_a_result_holds_it():
    report = load_benchmark("report_speed")
    machine = {"cpu": "a processor", "cores": 2, "commit": "abc", "day": "2026-11-21"}
    row = {
        "question": "embedding: pages",
        "vectors": "AVX2",
        "seconds": {"ours": 1.0, "peer": 1.25},
        "best_peer": "peer",
        "ratio": 1.25,
    }
    assert "| AVX2 | 1.00 | 1.25 (peer) | 1.25 |  |" in report.write_table([("float32", machine, row)])
    table = report.write_table([("float32", machine, row | {"share_of_ceiling": {"ours": 0.9, "peer": 0.72}})])
    assert "| 1.25 | 90 % (72 %) |" in table
    assert "AVX2: a processor, 2 cores" in table


def test_peak_memory_is_what_each_call_adds_and_is_not_measured_on_a_cpu(monkeypatch):
    timing = load_benchmark("speed_timing")
    assert timing.measure_peak_memory({"ours": pytest.fail}, device="cpu") == {}

    now, peak = [1000 * 2**20], [0]

    def need(mib):
        peak[0] = max(peak[0], now[0] + mib * 2**20)

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: now[0])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: peak.__setitem__(0, now[0]))
    works = {"ours": lambda: need(30), "peer": lambda: need(200), "again": lambda: need(30)}
    measured = timing.measure_peak_memory(works, device="cuda")
    assert measured == {"peak_memory_mib": {"ours": 30, "peer": 200, "again": 30}}
