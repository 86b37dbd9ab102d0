"""Loading the reference checkpoints and variants of them: untied, sharded, renamed, damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import Qwen3VLForConditionalGeneration, Qwen3VLModel

from qwen3_vl_retrieval import ModelError
from qwen3_vl_retrieval.loading import (
    check_model,
    hash_parameters,
    load_model,
    read_score_weight,
)

REFERENCE = Path(__file__).parent / "reference/checkpoints"
EMBEDDINGS = "model.language_model.embed_tokens.weight"
CPU = {"device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def embedding():
    return load_model(REFERENCE / "embedding", kind="embedding", **CPU)


@pytest.fixture(scope="module")
def reranker():
    return load_model(REFERENCE / "reranker", kind="reranker", **CPU)


@pytest.fixture
def derive(tmp_path):
    """Writes a variant of a reference checkpoint: other tensors, another configuration, several files."""

    def write(kind, *, change=None, is_tied=True, shards=1):
        folder = tmp_path / "model"
        shutil.copytree(REFERENCE / kind, folder, ignore=shutil.ignore_patterns("config.json", "model.safetensors"))
        configuration = json.loads((REFERENCE / kind / "config.json").read_text())
        configuration["tie_word_embeddings"] = configuration["text_config"]["tie_word_embeddings"] = is_tied
        (folder / "config.json").write_text(json.dumps(configuration))
        tensors = load_file(REFERENCE / kind / "model.safetensors")
        if change is not None:
            change(tensors)
        if shards == 1:
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
            return folder
        weight_map = {
            name: f"model-{index % shards + 1:05d}-of-{shards:05d}.safetensors" for index, name in enumerate(tensors)
        }
        for file in set(weight_map.values()):
            part = {name: tensor for name, tensor in tensors.items() if weight_map[name] == file}
            save_file(part, folder / file, metadata={"format": "pt"})
        index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        return folder

    return write


def add_head(tensors):
    tensors["lm_head.weight"] = torch.flip(tensors[EMBEDDINGS], dims=(0,)).contiguous()


def read_stored_parameters(kind):
    stored = load_file(REFERENCE / kind / "model.safetensors")
    return {name.removeprefix("model."): tensor for name, tensor in stored.items()}


def test_every_stored_weight_reaches_the_model(embedding):
    assert isinstance(embedding.model, Qwen3VLModel)
    stored = read_stored_parameters("embedding")
    parameters = dict(embedding.model.named_parameters())
    assert parameters.keys() == stored.keys()
    assert all(torch.equal(parameters[name], tensor.float()) for name, tensor in stored.items())


def test_the_model_is_ready_for_inference(embedding):
    assert not embedding.model.training
    assert not any(parameter.requires_grad for parameter in embedding.model.parameters())
    assert {parameter.device.type for parameter in embedding.model.parameters()} == {"cpu"}
    assert embedding.model.config._attn_implementation == embedding.choices.attention.value == "sdpa"
    assert embedding.choices.device.value == torch.device("cpu")
    assert embedding.score_weight is None


def test_the_processor_is_the_checkpoints_own(embedding, reranker):
    assert embedding.processor.tokenizer("a").input_ids[-1] == embedding.processor.tokenizer.pad_token_id
    assert reranker.processor.tokenizer("a").input_ids[-1] != reranker.processor.tokenizer.pad_token_id


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float16])
def test_the_model_has_the_dtype_asked_for(dtype):
    loaded = load_model(REFERENCE / "embedding", kind="embedding", device="cpu", dtype=dtype)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {loaded.choices.dtype.value}
    assert str(loaded.choices.dtype.value).removeprefix("torch.") == str(dtype).removeprefix("torch.")


def test_the_attention_asked_for_reaches_both_towers():
    model = load_model(REFERENCE / "embedding", kind="embedding", attn_implementation="eager", **CPU).model
    assert model.language_model.config._attn_implementation == "eager"
    assert model.visual.config._attn_implementation == "eager"


def test_a_tied_reranker_scores_with_rows_of_the_token_embeddings(reranker):
    embeddings = load_file(REFERENCE / "reranker/model.safetensors")[EMBEDDINGS].float()
    assert torch.equal(reranker.score_weight, embeddings[427] - embeddings[287])


def test_the_score_head_keeps_float32_in_half_precision(reranker):
    half = load_model(REFERENCE / "reranker", kind="reranker", device="cpu", dtype="bfloat16")
    assert half.score_weight.dtype == torch.float32
    assert torch.equal(half.score_weight, reranker.score_weight)


@pytest.mark.parametrize("shards", [1, 3])
def test_an_untied_reranker_scores_with_rows_of_its_head(derive, shards):
    folder = derive("reranker", change=add_head, is_tied=False, shards=shards)
    loaded = load_model(folder, kind="reranker", **CPU)
    embeddings = load_file(REFERENCE / "reranker/model.safetensors")[EMBEDDINGS].float()
    assert torch.equal(loaded.score_weight, embeddings[2047 - 427] - embeddings[2047 - 287])
    assert not any("lm_head" in name for name, _ in loaded.model.named_parameters())


@pytest.mark.parametrize("shards", [1, 3])
def test_an_untied_embedding_model_without_a_head_loads(derive, embedding, shards):
    loaded = load_model(derive("embedding", is_tied=False, shards=shards), kind="embedding", **CPU)
    assert hash_parameters(loaded.model) == hash_parameters(embedding.model)


def test_an_embedding_model_saved_without_the_prefix_loads(derive, embedding):
    def strip_prefix(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("model.")] = tensors.pop(name)

    loaded = load_model(derive("embedding", change=strip_prefix), kind="embedding", **CPU)
    assert hash_parameters(loaded.model) == hash_parameters(embedding.model)


def test_a_head_in_an_embedding_model_is_not_loaded(derive, embedding):
    loaded = load_model(derive("embedding", change=add_head, is_tied=False), kind="embedding", **CPU)
    assert hash_parameters(loaded.model) == hash_parameters(embedding.model)


def test_an_untied_reranker_without_a_head_is_refused(derive):
    with pytest.raises(ModelError, match=r"has no lm_head\.weight, so it cannot score"):
        load_model(derive("reranker", is_tied=False), kind="reranker", **CPU)


def remove_tensor(tensors):
    del tensors["model.language_model.layers.2.mlp.up_proj.weight"]


def rename_tensor(tensors):
    tensors["model.visual.blocks.1.attn.query.weight"] = tensors.pop("model.visual.blocks.1.attn.qkv.weight")


def cut_tensor(tensors):
    tensors["model.visual.pos_embed.weight"] = tensors["model.visual.pos_embed.weight"][:100].clone()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove_tensor, r"1 missing: language_model\.layers\.2\.mlp\.up_proj\.weight\."),
        (rename_tensor, r"1 missing: visual\.blocks\.1\.attn\.qkv\.weight; 1 unexpected: .*attn\.query\.weight"),
        (cut_tensor, r"1 misshapen: .*visual\.pos_embed\.weight"),
        (lambda tensors: tensors.clear() or tensors.update(a=torch.zeros(1)), r"121 missing: .* and 116 more"),
    ],
)
def test_weights_that_do_not_fit_are_named(derive, change, message):
    with pytest.raises(ModelError, match=message):
        load_model(derive("embedding", change=change), kind="embedding", **CPU)


def test_a_checkpoint_without_a_tokenizer_is_refused(derive):
    folder = derive("embedding")
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match="tokenizer or image processor"):
        load_model(folder, kind="embedding", **CPU)


def test_a_configuration_that_transformers_refuses_is_explained(derive):
    folder = derive("embedding")
    configuration = json.loads((folder / "config.json").read_text())
    configuration["text_config"]["hidden_act"] = "unknown"
    (folder / "config.json").write_text(json.dumps(configuration))
    with pytest.raises(ModelError, match="cannot be loaded: KeyError"):
        load_model(folder, kind="embedding", **CPU)


def test_what_the_machine_cannot_do_is_said_before_the_model_is_looked_up():
    with pytest.raises(ModelError, match="dtype 'int4' is not supported"):
        load_model("./missing", kind="embedding", device="cpu", dtype="int4")
    with pytest.raises(ModelError, match="quantization 'int4' is unknown"):
        load_model("./missing", kind="reranker", device="cpu", quantization="int4")


@pytest.fixture(scope="module")
def generative():
    return Qwen3VLForConditionalGeneration.from_pretrained(REFERENCE / "reranker", dtype=torch.bfloat16)


def test_a_ready_model_gives_its_base_model(generative):
    assert check_model(generative) is generative.model
    assert check_model(generative.model) is generative.model
    with pytest.raises(ModelError, match="type Linear; allowed are Qwen3VLModel and Qwen3VLForConditionalGeneration"):
        check_model(torch.nn.Linear(1, 1))


def test_a_ready_model_gives_the_score_head_of_its_checkpoint(generative, reranker):
    for processor in (reranker.processor, reranker.processor.tokenizer):
        assert torch.equal(read_score_weight(generative, processor), reranker.score_weight)


def test_a_base_model_has_no_score_head(reranker):
    with pytest.raises(ModelError, match="cannot be read from Qwen3VLModel"):
        read_score_weight(reranker.model, reranker.processor)


def test_a_quantised_head_cannot_score(generative, reranker, monkeypatch):
    packed = torch.nn.Parameter(torch.zeros(2048 * 64, 1, dtype=torch.uint8), requires_grad=False)
    monkeypatch.setattr(generative.lm_head, "weight", packed)
    with pytest.raises(ModelError, match=r"lm_head holds torch\.uint8"):
        read_score_weight(generative, reranker.processor)


def test_a_tokenizer_that_splits_yes_cannot_score(generative):
    tokenizer = SimpleNamespace(encode=lambda word, add_special_tokens: list(range(len(word) - 1)))
    with pytest.raises(ModelError, match="makes 2 tokens of 'yes' and 1 of 'no'"):
        read_score_weight(generative, tokenizer)


def test_text_is_normalised_as_tokenizer_json_says_on_every_version_of_transformers(embedding):
    stored = Tokenizer.from_file(str(REFERENCE / "embedding/tokenizer.json"))
    for text in ("e\u0301", "한국어", "\u212b", "plain"):
        assert embedding.processor.tokenizer(text)["input_ids"] == stored.encode(text).ids
