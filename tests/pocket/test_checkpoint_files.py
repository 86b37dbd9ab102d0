"""A written checkpoint has the files of the published ones, and everything that loads those loads it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

from qwen3_vl_pocket import checkpoint_folder
from qwen3_vl_pocket.checkpoint import write_checkpoint
from qwen3_vl_pocket.tokenizer import build_tokenizer
from qwen3_vl_pocket.training.model import MAX_PIXELS, build_config
from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_RERANKING_INSTRUCTION,
    render_embedding_prompt,
    render_reranking_prompt,
)
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer
from random_checkpoints import WORDS, draw_weights, write_random_checkpoint

KINDS = ("embedding", "reranker")

FILES = {
    "chat_template.jinja",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "model.safetensors",
    "modules.json",
    "preprocessor_config.json",
    "retrieval_config.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
}
FILES_OF_A_KIND = {
    "embedding": {"1_Pooling/config.json", "2_Normalize/config.json"},
    "reranker": {"1_LogitScore/config.json", "additional_chat_templates/reranker.jinja"},
}


@pytest.fixture(scope="module")
def processors(random_checkpoints: Path) -> dict[str, Qwen3VLProcessor]:
    return {kind: Qwen3VLProcessor.from_pretrained(random_checkpoints / kind) for kind in KINDS}


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def list_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_has_the_published_files_and_no_others(random_checkpoints, kind):
    assert list_files(random_checkpoints / kind) == FILES | FILES_OF_A_KIND[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_can_be_read_by_everyone_it_is_installed_for(random_checkpoints, kind):
    (random_checkpoints / "plain").touch()
    usual = (random_checkpoints / "plain").stat().st_mode
    folder = random_checkpoints / kind
    assert {name: (folder / name).stat().st_mode for name in list_files(folder)} == dict.fromkeys(
        list_files(folder), usual
    )


def test_writing_twice_gives_equal_bytes(random_checkpoints, tmp_path):
    write_random_checkpoint(tmp_path, "reranker", seed=2)
    assert list_files(tmp_path) == list_files(random_checkpoints / "reranker")
    for name in list_files(tmp_path):
        assert (tmp_path / name).read_bytes() == (random_checkpoints / "reranker" / name).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_stored_once_in_bfloat16_under_their_published_names(random_checkpoints, kind):
    with safe_open(random_checkpoints / kind / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
        assert {file.get_slice(name).get_dtype() for name in names} == {"BF16"}
    assert {name.split(".")[1] for name in names} == {"language_model", "visual"}
    assert "model.language_model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_loads_it_with_nothing_missing_and_the_head_tied(random_checkpoints, kind):
    model, report = Qwen3VLForConditionalGeneration.from_pretrained(random_checkpoints / kind, output_loading_info=True)
    assert not any(report[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight.data_ptr() == model.model.language_model.embed_tokens.weight.data_ptr()


def test_the_core_loads_and_embeds(random_checkpoints):
    embedder = Qwen3VLEmbedder.from_pretrained(random_checkpoints / "embedding", device="cpu", dtype="float32")
    vectors = embedder.embed(["a red circle", {"image": Image.new("RGB", (160, 128), "red")}])
    assert vectors.shape == (2, 192)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] < 0.99


def test_the_core_loads_and_scores(random_checkpoints):
    reranker = Qwen3VLReranker.from_pretrained(random_checkpoints / "reranker", device="cpu", dtype="float32")
    margins = reranker.score("red", ["a red circle", "a blue square"], output="margin")
    assert abs(margins[0] - margins[1]) > 1e-3


def test_the_configuration_has_the_published_keys_after_transformers_has_used_it(tmp_path):
    tokenizer = build_tokenizer("embedding", words=WORDS)
    config = build_config(tokenizer)
    fresh = json.loads(json.dumps(config))
    weights = draw_weights(config, seed=1)
    Qwen3VLConfig(**config)
    write_checkpoint(tmp_path, "embedding", config=config, tokenizer=tokenizer, weights=weights, max_pixels=MAX_PIXELS)
    assert read_json(tmp_path / "config.json") == {**fresh, "dtype": "bfloat16", "transformers_version": "4.57.3"}
    assert not (tmp_path / "retrieval_config.json").exists()


def test_names_with_their_head_and_prefix_are_those_of_the_base_model(random_checkpoints, tmp_path):
    tokenizer = build_tokenizer("embedding", words=WORDS)
    config = build_config(tokenizer)
    weights = {f"model.{name}": tensor for name, tensor in draw_weights(config, seed=1).items()}
    weights["lm_head.weight"] = weights["model.language_model.embed_tokens.weight"]
    write_checkpoint(tmp_path, "embedding", config=config, tokenizer=tokenizer, weights=weights, max_pixels=MAX_PIXELS)
    stored = (random_checkpoints / "embedding" / "model.safetensors").read_bytes()
    assert (tmp_path / "model.safetensors").read_bytes() == stored


@pytest.mark.parametrize("system", [None, "Find the page."])
def test_the_chat_template_renders_the_prompt_of_the_core(processors, system):
    processor = processors["embedding"]
    turns = [{"role": "user", "content": [{"type": "text", "text": "a red circle"}]}]
    if system is not None:
        turns.insert(0, {"role": "system", "content": system})
    rendered = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    prompt = render_embedding_prompt(["a red circle"], instruction=system or DEFAULT_INSTRUCTION)
    expected = PromptTokenizer(processor.tokenizer.backend_tokenizer).tokenize(prompt).token_ids
    assert processor.tokenizer(rendered)["input_ids"] == expected.tolist()


def test_the_chat_template_leaves_a_place_for_each_image_and_video(processors):
    parts = [{"type": "video", "video": "x"}, {"type": "image", "image": "y"}, {"type": "text", "text": "z"}]
    rendered = processors["embedding"].apply_chat_template([{"role": "user", "content": parts}], tokenize=False)
    assert rendered.endswith(
        "user\n<|vision_start|><|video_pad|><|vision_end|><|vision_start|><|image_pad|><|vision_end|>z<|im_end|>\n"
    )


def test_the_chat_template_of_the_reranker_adds_no_instruction(processors):
    rendered = processors["reranker"].apply_chat_template([{"role": "user", "content": "red"}], tokenize=False)
    assert rendered == "<|im_start|>user\nred<|im_end|>\n"


@pytest.mark.parametrize("instruction", [None, "Which one?"])
def test_the_reranking_template_renders_the_prompt_of_the_core(processors, instruction):
    processor = processors["reranker"]
    turns = [{"role": "query", "content": "red {{ x }}"}, {"role": "document", "content": [{"text": "\na circle"}]}]
    if instruction is not None:
        turns.insert(0, {"role": "system", "content": [{"type": "text", "text": instruction}]})
    rendered = processor.apply_chat_template(
        turns, chat_template="reranker", tokenize=False, add_generation_prompt=True
    )
    prompt = render_reranking_prompt(
        ["red {{ x }}"], ["\na circle"], instruction=instruction or DEFAULT_RERANKING_INSTRUCTION
    )
    expected = PromptTokenizer(processor.tokenizer.backend_tokenizer).tokenize(prompt).token_ids
    assert processor.tokenizer(rendered)["input_ids"] == expected.tolist()


def test_images_are_fitted_to_the_pixels_that_were_asked_for(processors):
    pictures = [Image.new("RGB", size) for size in ((160, 128), (640, 512), (16, 16))]
    grids = processors["embedding"].image_processor(pictures, return_tensors="pt")["image_grid_thw"]
    assert grids.tolist() == [[1, 8, 10], [1, 8, 10], [1, 4, 4]]


@pytest.mark.parametrize(("seconds", "pairs"), [(2, 2), (6, 3), (12, 6), (100, 32)])
def test_videos_have_a_frame_a_second_of_nine_tokens(processors, seconds, pairs):
    clip = np.zeros((4 * seconds, 384, 384, 3), np.uint8)
    times = {"fps": 4, "total_num_frames": len(clip), "duration": seconds}
    features = processors["embedding"].video_processor([clip], video_metadata=[times], return_tensors="pt")
    assert features["video_grid_thw"].tolist() == [[pairs, 6, 6]]


def write_with(folder: Path, *, tokenizer_kind: str = "embedding", **changes: Any) -> None:
    tokenizer = build_tokenizer(tokenizer_kind, words=WORDS)
    config = build_config(tokenizer) | changes.pop("config", {})
    weights = {"language_model.embed_tokens.weight": torch.zeros(tokenizer.get_vocab_size(), 192)}
    weights |= changes.pop("weights", {})
    write_checkpoint(folder, "embedding", config=config, tokenizer=tokenizer, weights=weights, max_pixels=MAX_PIXELS)


def test_what_does_not_fit_together_is_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "new"
    with pytest.raises(ValueError, match="kind 'reranker'; build it with kind 'embedding'"):
        write_with(folder, tokenizer_kind="reranker")
    with pytest.raises(ValueError, match=r"image_token_id of the configuration is 7, but <\|image_pad\|> is token"):
        write_with(folder, config={"image_token_id": 7})
    with pytest.raises(ValueError, match="vision_end_token_id of the configuration is 7"):
        write_with(folder, config={"vision_end_token_id": 7})
    with pytest.raises(ValueError, match=r"is of shape \(5, 192\)"):
        write_with(folder, weights={"language_model.embed_tokens.weight": torch.zeros(5, 192)})
    assert not folder.exists()


def test_the_package_names_its_checkpoints_without_loading_torch():
    code = "import sys, qwen3_vl_pocket; print('torch' in sys.modules or 'numpy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert shown.stdout == "False\n"
    assert checkpoint_folder("embedding").parts[-3:] == ("qwen3_vl_pocket", "data", "embedding")
    assert checkpoint_folder("reranker").name == "reranker"
    with pytest.raises(ValueError, match="'captioner' is unknown"):
        checkpoint_folder("captioner")
