"""The command with which vLLM serves a model so that its numbers are those of the official scripts."""

from __future__ import annotations

import json
import shlex
from importlib import resources
from pathlib import Path

from qwen3_vl_retrieval.media.budgets import PixelBudget
from qwen3_vl_retrieval.options import EMBEDDING_MAX_LENGTH, RERANKING_MAX_LENGTH, ModelKind

__all__ = ["build_vllm_command", "read_chat_template"]

_TEMPLATES: dict[ModelKind, str] = {
    "embedding": "qwen3_vl_embedding.jinja",
    "reranker": "qwen3_vl_reranker.jinja",
}

_ASSISTANT_TOKENS = 5
"""Tokens of `<|im_end|>\\n<|im_start|>assistant\\n`, which the official reranker does not count."""

_CLASSIFIER = {
    "architectures": ["Qwen3VLForSequenceClassification"],
    # In this order: the score is the probability of the second.
    "classifier_from_token": ["no", "yes"],
    "is_original_qwen3_reranker": True,
}


def read_chat_template(kind: ModelKind) -> str:
    """Returns the chat template that vLLM needs for an embedding model or a reranker."""
    return (resources.files("qwen3_vl_retrieval.remote") / "templates" / _TEMPLATES[kind]).read_text(encoding="utf-8")


def build_vllm_command(model: str, *, kind: ModelKind, template: Path, pixel_budget: PixelBudget | None = None) -> str:
    """Returns the command line, for a shell.

    Args:
        model: Hub id or folder, as vLLM is to be given it.
        kind: Whether it embeds or judges.
        template: Where the chat template is on the machine of the server.
        pixel_budget: Limits on the pixels that the model sees; `None` is the official scripts'.
    """
    budget = PixelBudget() if pixel_budget is None else pixel_budget
    limits = {"images_kwargs": {"min_pixels": budget.min_pixels, "max_pixels": budget.max_pixels}}
    length = EMBEDDING_MAX_LENGTH if kind == "embedding" else RERANKING_MAX_LENGTH + _ASSISTANT_TOKENS
    options: list[str] = ["--runner", "pooling", "--max-model-len", str(length)]
    if kind == "reranker":
        options += ["--hf-overrides", json.dumps(_CLASSIFIER)]
    options += ["--chat-template", str(template), "--mm-processor-kwargs", json.dumps(limits)]
    # Without it, a request cannot say at which times the frames of a video stand.
    options += ["--trust-request-mm-kwargs"]
    pairs = " \\\n    ".join(_join_options(options))
    return f"vllm serve {shlex.quote(model)} \\\n    {pairs}"


def _join_options(options: list[str]) -> list[str]:
    """Each option with its value."""
    joined: list[str] = []
    for word in options:
        if word.startswith("--"):
            joined.append(word)
        else:
            joined[-1] += f" {shlex.quote(word)}"
    return joined
