"""What is read of weight files without loading them, and the hashes that identify weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen3_vl_retrieval import ModelError
from qwen3_vl_retrieval.loading import hash_parameters, hash_weight_files
from qwen3_vl_retrieval.loading.tensors import read_rows
from qwen3_vl_retrieval.loading.weights import list_weight_files, read_configuration

REFERENCE = Path(__file__).parent / "reference/checkpoints"
LARGE_BYTES = 40 * 2**20


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(REFERENCE / "embedding", tmp_path / "model")


def replace_weights(folder, tensors):
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_shards(folder, tensors, *, count):
    names = sorted(tensors)
    weight_map = {name: f"model-{index % count}.safetensors" for index, name in enumerate(names)}
    for file in set(weight_map.values()):
        save_file({name: tensors[name] for name in names if weight_map[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_the_hash_is_the_same_in_another_folder(folder):
    assert hash_weight_files(folder) == hash_weight_files(REFERENCE / "embedding")


def test_the_hash_changes_with_the_configuration(folder):
    before = hash_weight_files(folder)
    configuration = read_configuration(folder)
    configuration["text_config"]["rope_theta"] = 1e4
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(configuration))
    assert hash_weight_files(folder) != before


def test_the_hash_changes_with_one_value_of_a_small_file(folder):
    before = hash_weight_files(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.visual.blocks.2.mlp.linear_fc1.weight"][70, 33] += 1
    replace_weights(folder, tensors)
    assert hash_weight_files(folder) != before


def test_the_hash_of_a_large_file_changes_with_any_tensor(folder):
    # Longer than the blocks, so that most of it is not read.
    rows = LARGE_BYTES // 2 // 64 // 8
    tensors = {f"tensor.{index}": torch.zeros(rows, 64, dtype=torch.bfloat16) for index in range(8)}
    replace_weights(folder, tensors)
    hashes = {hash_weight_files(folder)}
    for name, tensor in tensors.items():
        replace_weights(folder, {**tensors, name: tensor + 1})
        hashes.add(hash_weight_files(folder))
    tensors["tensor.3"][rows // 2 : rows // 2 + 2000] = 1
    replace_weights(folder, tensors)
    hashes.add(hash_weight_files(folder))
    assert len(hashes) == 10


def test_the_hash_covers_every_shard(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    write_shards(folder, tensors, count=3)
    before = hash_weight_files(folder)
    assert [path.name for path in list_weight_files(folder)] == [f"model-{index}.safetensors" for index in range(3)]
    shard = load_file(folder / "model-2.safetensors")
    next(iter(shard.values())).add_(1)
    save_file(shard, folder / "model-2.safetensors")
    assert hash_weight_files(folder) != before


def test_a_missing_shard_is_named(folder):
    write_shards(folder, load_file(folder / "model.safetensors"), count=3)
    (folder / "model.safetensors").unlink()
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ModelError, match=r"names 'model-1\.safetensors', which is not in"):
        list_weight_files(folder)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": []}'])
def test_an_index_without_files_is_refused(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelError, match="has no weight_map"):
        list_weight_files(folder)


def test_an_index_cannot_name_files_elsewhere(folder):
    (folder / "model.safetensors").rename(folder.parent / "other.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../other.safetensors"}}')
    with pytest.raises(ModelError, match="which is not in"):
        list_weight_files(folder)


def test_a_folder_without_safetensors_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="have to be merged into their base model first"):
        list_weight_files(folder)


def cut_off(path):
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1000])


def write_page(path):
    path.unlink()
    path.write_bytes(b"<html>Not the file you wanted, but this page</html>")


def write_wrong_json(path):
    path.unlink()
    path.write_bytes((8).to_bytes(8, "little") + b'{"a": 1}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_off, r"is cut off: it has \d+ bytes of \d+"),
        (write_page, "is not a safetensors file"),
        (write_wrong_json, "is not a safetensors file"),
    ],
)
def test_a_damaged_weight_file_is_refused(folder, damage, message):
    damage(folder / "model.safetensors")
    with pytest.raises(ModelError, match=message):
        hash_weight_files(folder)
    with pytest.raises(ModelError, match="cannot be read"):
        read_rows(folder, ("model.visual.pos_embed.weight",), (0,))


@pytest.mark.parametrize(
    ("content", "message"), [(None, r"has no config\.json"), ("{", "cannot be read as JSON"), ("[]", "is not a JSON")]
)
def test_a_damaged_configuration_is_refused(folder, content, message):
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        read_configuration(folder)


def test_rows_are_read_in_the_order_asked_for_in_float32(folder):
    name = "model.language_model.embed_tokens.weight"
    stored = load_file(folder / "model.safetensors")[name].float()
    rows = read_rows(folder, ("not.stored", name), (7, 3))
    assert rows is not None
    assert rows.dtype == torch.float32
    assert torch.equal(rows, stored[[7, 3]])
    assert read_rows(folder, ("not.stored",), (0,)) is None


@pytest.mark.parametrize(
    ("name", "row"), [("model.language_model.embed_tokens.weight", 2048), ("model.language_model.norm.weight", 0)]
)
def test_rows_that_the_tensor_does_not_have_are_refused(folder, name, row):
    with pytest.raises(ModelError, match=rf"{name} in .* has shape"):
        read_rows(folder, (name,), (row,))


def test_the_hash_of_a_model_changes_with_any_parameter():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.LayerNorm(200)).bfloat16()
    hashes = {hash_parameters(model)}
    assert hash_parameters(model.float()) in hashes
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.mul_(1.5).add_(0.5)
        hashes.add(hash_parameters(model))
    assert len(hashes) == 5
