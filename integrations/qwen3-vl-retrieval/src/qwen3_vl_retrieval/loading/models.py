"""From a checkpoint to a model ready for inference, with every weight accounted for."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLForConditionalGeneration, Qwen3VLModel
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.utils import logging as transformers_logging
from transformers.utils.quantization_config import QuantizationConfigMixin

from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.loading.checkpoints import Checkpoint, locate_checkpoint
from qwen3_vl_retrieval.loading.defaults import RetrievalDefaults, read_retrieval_defaults
from qwen3_vl_retrieval.loading.hardware import Choices, choose_attention, choose_device, choose_dtype
from qwen3_vl_retrieval.loading.quantization import build_quantization
from qwen3_vl_retrieval.loading.score_head import read_stored_score_weight
from qwen3_vl_retrieval.options import ModelHub, ModelKind

__all__ = ["LoadedModel", "check_model", "load_model"]

# The published files name tensors as Qwen3VLForConditionalGeneration does (`model.visual…`), the base model without
# the prefix. transformers 5 strips it by itself; 4.57 does not, because `base_model_prefix` is "" there, and would
# leave every weight random: modeling_qwen3_vl.py at v4.57.3, class Qwen3VLModel. The mapping is right for both.
_KEY_MAPPING = {r"^model\.": ""}

# Not part of the base model. A reranker's two rows of it are read on their own.
_IGNORED_KEYS = frozenset({"lm_head.weight"})

_SHOWN_KEYS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model ready for inference.

    Attributes:
        model: The model without a head, in evaluation mode, without gradients, on its device.
        processor: Tokenizer and image and video processors.
        checkpoint: Where it came from.
        choices: Device, dtype and attention, each with its reason.
        score_weight: w_yes - w_no of a reranker, from the stored weights in float32, on the CPU; `None` for an
            embedding model.
        defaults: The sizes that the checkpoint expects.
    """

    model: Qwen3VLModel
    processor: Qwen3VLProcessor
    checkpoint: Checkpoint
    choices: Choices
    score_weight: Float[Tensor, " hidden"] | None
    defaults: RetrievalDefaults


def load_model(
    name_or_path: str | Path,
    *,
    kind: ModelKind,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "auto",
    attn_implementation: str = "auto",
    quantization: object | None = None,
    model_hub: ModelHub = "huggingface",
    token: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> LoadedModel:
    """Returns a model without its head; of a reranker's head, the rows of yes and no are read.

    `device`, `dtype`, `attn_implementation` and `quantization` are those of `choose_device`, `choose_dtype`,
    `choose_attention` and `build_quantization`; the other arguments those of `locate_checkpoint`.

    Raises:
        ModelError: The checkpoint cannot be found or read, its weights do not fit its configuration, a reranker has no
            head or no yes and no, or the hardware or an installed library cannot do what was asked for.
    """
    # What the machine cannot do is said before anything is downloaded.
    choices = _choose(device, dtype, attn_implementation)
    quantization_config = build_quantization(quantization, choices.device.value)
    checkpoint = locate_checkpoint(
        name_or_path,
        kind=kind,
        revision=revision,
        model_hub=model_hub,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
    )
    processor = _load_processor(checkpoint.folder)
    return LoadedModel(
        score_weight=read_stored_score_weight(checkpoint.folder, processor) if kind == "reranker" else None,
        model=_load_weights(checkpoint.folder, choices, quantization_config),
        processor=processor,
        checkpoint=checkpoint,
        choices=choices,
        defaults=read_retrieval_defaults(checkpoint.folder),
    )


def check_model(model: object) -> Qwen3VLModel:
    """Returns the base model of a ready `Qwen3VLForConditionalGeneration`, or `model` if it is a base model.

    Raises:
        ModelError: It is neither.
    """
    if isinstance(model, Qwen3VLForConditionalGeneration):
        return model.model
    if isinstance(model, Qwen3VLModel):
        return model
    raise ModelError(
        f"got a model of type {type(model).__name__}; allowed are Qwen3VLModel and Qwen3VLForConditionalGeneration of "
        "transformers (unwrap compiled, parallel and adapter models first), or load with from_pretrained"
    )


def _choose(device: str | torch.device | None, dtype: str | torch.dtype, attn_implementation: str) -> Choices:
    device_choice = choose_device(device)
    dtype_choice = choose_dtype(dtype, device_choice.value)
    attention_choice = choose_attention(attn_implementation, device_choice.value, dtype_choice.value)
    return Choices(device=device_choice, dtype=dtype_choice, attention=attention_choice)


def _load_processor(folder: Path) -> Qwen3VLProcessor:
    try:
        # Not AutoProcessor: on 4.57 it fails with a TypeError for repositories with additional chat templates.
        processor = Qwen3VLProcessor.from_pretrained(str(folder), local_files_only=True)
        _restore_tokenizer(processor, folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"the tokenizer or image processor in {str(folder)!r} cannot be loaded ({error}); the folder must hold "
            "tokenizer.json, tokenizer_config.json, preprocessor_config.json and video_preprocessor_config.json"
        ) from error
    return processor


def _restore_tokenizer(processor: Qwen3VLProcessor, folder: Path) -> None:
    """Puts back what tokenizer.json says of text normalisation and splitting.

    Version 5 of transformers takes only vocabulary and merges from it and builds the rest anew, always with NFC
    (`Qwen2Tokenizer.__init__`, models/qwen2/tokenization_qwen2.py at v5.0.0): other tokens than 4.57 for text in
    decomposed form, where a checkpoint does not ask for NFC.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return
    stored = json.loads(path.read_text(encoding="utf-8"))
    backend = cast("Any", processor).tokenizer.backend_tokenizer
    rebuilt = json.loads(backend.to_str()) | {name: stored.get(name) for name in ("normalizer", "pre_tokenizer")}
    cast("Any", processor).tokenizer._tokenizer = Tokenizer.from_str(json.dumps(rebuilt))


def _load_weights(folder: Path, choices: Choices, quantization: QuantizationConfigMixin | None) -> Qwen3VLModel:
    device = choices.device.value
    # Placing weights while loading needs accelerate, which only quantisation requires; a copy afterwards does not.
    placement: dict[str, Any] = (
        {} if quantization is None else {"quantization_config": quantization, "device_map": {"": device}}
    )
    try:
        with _show_bars_to_terminals():
            model, report = cast("Any", Qwen3VLModel).from_pretrained(
                str(folder),
                dtype=choices.dtype.value,
                attn_implementation=choices.attention.value,
                key_mapping=_KEY_MAPPING,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                # Reported instead of raised, like the others.
                ignore_mismatched_sizes=True,
                **placement,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError) as error:
        raise ModelError(f"the model in {str(folder)!r} cannot be loaded: {type(error).__name__}: {error}") from error
    check_loading_report(report, folder)
    base_model = cast("Qwen3VLModel", model).eval().requires_grad_(False)
    if quantization is not None:
        return base_model
    try:
        return cast("Qwen3VLModel", cast("Any", base_model).to(device))
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"the model does not fit the memory of {device}; pass dtype='bfloat16', a quantization or another device"
        ) from error


@contextmanager
def _show_bars_to_terminals() -> Generator[None, None, None]:
    """Without a terminal, the bars of transformers are lines in a log file; they are as the caller had them after."""
    is_watched = sys.stderr is not None and sys.stderr.isatty()
    if is_watched or not transformers_logging.is_progress_bar_enabled():
        yield
        return
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.enable_progress_bar()


def check_loading_report(report: dict[str, Any], folder: Path) -> None:
    """Checks that the checkpoint's tensors are exactly the model's.

    Args:
        report: What transformers returns with `output_loading_info=True`.
        folder: The checkpoint, for the message.

    Raises:
        ModelError: Tensors are missing (their weights would be random), unexpected, or of another shape.
    """
    problems: list[str] = []
    for label, kind in (
        ("missing", "missing_keys"),
        ("unexpected", "unexpected_keys"),
        ("misshapen", "mismatched_keys"),
    ):
        # A mismatch is reported as (name, stored shape, expected shape).
        names = {entry if isinstance(entry, str) else str(entry[0]) for entry in report[kind]}
        names = sorted(names - _IGNORED_KEYS)
        if names:
            more = "" if len(names) <= _SHOWN_KEYS else f" and {len(names) - _SHOWN_KEYS} more"
            problems.append(f"{len(names)} {label}: {', '.join(names[:_SHOWN_KEYS])}{more}")
    if problems:
        raise ModelError(
            f"the weights in {str(folder)!r} do not fit its config.json: {'; '.join(problems)}. "
            "Download the checkpoint again, or save the fine-tuned model with its own configuration."
        )
