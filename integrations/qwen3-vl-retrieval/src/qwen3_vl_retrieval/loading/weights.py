"""What a checkpoint's files hold, read without loading them and without torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from qwen3_vl_retrieval.errors import ModelError

__all__ = [
    "MODEL_TYPE",
    "check_model_type",
    "hash_weight_files",
    "list_weight_files",
    "read_configuration",
]

MODEL_TYPE = "qwen3_vl"
"""`model_type` of Qwen3-VL-Embedding and Qwen3-VL-Reranker alike, in all four published configurations."""

_SINGLE_FILE = "model.safetensors"
_INDEX_FILE = "model.safetensors.index.json"

_BLOCK_BYTES = 64 * 1024
_BLOCKS_PER_FILE = 256
_TENSOR_SAMPLE_BYTES = 4 * 1024

# Largest header that the safetensors format allows: https://github.com/huggingface/safetensors/blob/v0.6.2/README.md
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class _Header:
    """The first part of a safetensors file.

    Attributes:
        content: Its JSON as stored.
        data_start: Where the tensors begin, in bytes.
        offsets: Begin and end of each tensor, in bytes from `data_start`.
    """

    content: bytes
    data_start: int
    offsets: dict[str, tuple[int, int]]


def read_configuration(folder: Path) -> dict[str, Any]:
    """Returns the checkpoint's `config.json`.

    Raises:
        ModelError: The file is missing or is not a JSON object.
    """
    return _read_json(folder / "config.json")


def check_model_type(folder: Path) -> None:
    """Checks that the checkpoint is of the family.

    Raises:
        ModelError: There is no readable `config.json`, or it names another `model_type`.
    """
    model_type = read_configuration(folder).get("model_type")
    if model_type != MODEL_TYPE:
        raise ModelError(
            f"the checkpoint in {str(folder)!r} is of model_type {model_type!r}; supported are Qwen3-VL-Embedding and "
            f"Qwen3-VL-Reranker and fine-tunes of them, whose model_type is {MODEL_TYPE!r}"
        )


def list_weight_files(folder: Path) -> list[Path]:
    """Returns the checkpoint's safetensors files, by name.

    Raises:
        ModelError: There are none, or a file that the index names is missing.
    """
    single = folder / _SINGLE_FILE
    if single.is_file():
        return [single]
    if not (folder / _INDEX_FILE).is_file():
        raise ModelError(
            f"{str(folder)!r} holds neither {_SINGLE_FILE} nor {_INDEX_FILE}; pass a complete checkpoint in the "
            "safetensors format (adapters such as LoRA have to be merged into their base model first)"
        )
    weight_map = _read_json(folder / _INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{str(folder / _INDEX_FILE)!r} has no weight_map; download the checkpoint again")
    names = sorted({str(name) for name in cast("dict[str, object]", weight_map).values()})
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise ModelError(f"{_INDEX_FILE} names {name!r}, which is not in {str(folder)!r}; download it again")
    return [folder / name for name in names]


def hash_weight_files(folder: Path) -> str:
    """Returns `"sha256:"` and a hash that changes with the weights, in well under a second for 16 GB.

    It covers `config.json` and of each weight file the name, the size, the header, the first 4 KiB of every tensor
    and 256 evenly spaced blocks of 64 KiB (a file of at most 16 MiB is covered in full). Fine-tunes with equal headers
    differ in it; a change confined to a part of one tensor can go unnoticed.

    Raises:
        ModelError: `config.json` or a weight file is missing, cut off or not what it claims to be.
    """
    read_configuration(folder)
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in list_weight_files(folder):
        size = path.stat().st_size
        digest.update(f"\n{path.name} {size}\n".encode())
        with path.open("rb") as file:
            header = _read_header(file, path, size)
            digest.update(header.content)
            for begin, end in header.offsets.values():
                file.seek(header.data_start + begin)
                digest.update(file.read(min(end - begin, _TENSOR_SAMPLE_BYTES)))
            for offset in _space_blocks(size):
                file.seek(offset)
                digest.update(file.read(_BLOCK_BYTES))
    return f"sha256:{digest.hexdigest()}"


def _space_blocks(size: int) -> list[int]:
    if size <= _BLOCKS_PER_FILE * _BLOCK_BYTES:
        return list(range(0, size, _BLOCK_BYTES))
    last = size - _BLOCK_BYTES
    return [last * position // (_BLOCKS_PER_FILE - 1) for position in range(_BLOCKS_PER_FILE)]


def _read_header(file: BinaryIO, path: Path, size: int) -> _Header:
    length = int.from_bytes(file.read(8), "little")
    if length > min(size, _MAX_HEADER_BYTES):
        raise ModelError(f"{str(path)!r} is not a safetensors file; download it again")
    content = file.read(length)
    try:
        entries = cast("dict[str, Any]", json.loads(content))
        offsets = {
            name: (int(entry["data_offsets"][0]), int(entry["data_offsets"][1]))
            for name, entry in entries.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ModelError(f"{str(path)!r} is not a safetensors file; download it again") from error
    needed = 8 + length + max((end for _, end in offsets.values()), default=0)
    if needed > size:
        raise ModelError(f"{str(path)!r} is cut off: it has {size} bytes of {needed}; download it again")
    return _Header(content, 8 + length, offsets)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{str(path.parent)!r} has no {path.name}; pass the folder that holds config.json and the "
            "*.safetensors files"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read as JSON ({error}); download it again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{str(path)!r} is not a JSON object; download it again")
    return cast("dict[str, Any]", content)
