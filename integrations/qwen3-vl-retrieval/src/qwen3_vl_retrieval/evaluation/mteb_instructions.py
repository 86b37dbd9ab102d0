"""The instruction of a task, by the rules of mteb's own wrappers of these models (mteb 2.26).

`AbsEncoder.get_instruction` in `mteb/models/abs_encoder.py`, and `get_task_instruction` in
`mteb/models/model_implementations/qwen3_vl_embedding_models.py` and `qwen3_vl_reranker.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Protocol, runtime_checkable

from qwen3_vl_retrieval.lazy_imports import import_extra
from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_QUERY_INSTRUCTION,
    normalize_instruction,
)

__all__ = ["Task", "choose_embedding_instruction", "choose_reranking_instruction"]


@runtime_checkable
class Task(Protocol):
    """What is read of a task's metadata."""

    @property
    def name(self) -> str:
        """Its name in mteb."""
        ...

    @property
    def prompt(self) -> str | Mapping[str, str] | None:
        """Its instruction, the same for both sides; or one for `query` and one for `document`, or of one of them."""
        ...


def choose_embedding_instruction(task: Task, prompt_type: Enum | None) -> str:
    """Returns what queries or documents of a task are represented for.

    A task's only prompt holds for both sides. Of a side that the task leaves out it is the model's default; of a task
    without any, the prompt that mteb has for tasks of its kind.

    Args:
        task: Its metadata.
        prompt_type: The side; `None` if the task has no sides.
    """
    prompt = task.prompt
    if isinstance(prompt, Mapping):
        prompt = None if prompt_type is None else prompt.get(str(prompt_type.value))
    elif not prompt:
        prompt = _find_kind_prompt(task.name)
    return normalize_instruction(prompt, default=DEFAULT_INSTRUCTION)


def choose_reranking_instruction(task: Task) -> str:
    """Returns what makes a document of a task relevant: the prompt of its queries, or mteb's default for rerankers."""
    prompt = task.prompt
    if isinstance(prompt, Mapping):
        prompt = prompt.get("query") or next(iter(prompt.values()), None)
    return normalize_instruction(prompt, default=DEFAULT_QUERY_INSTRUCTION)


def _find_kind_prompt(name: str) -> str | None:
    tasks = import_extra("mteb", purpose="benchmarks", extra="mteb")
    try:
        return tasks.get_task(name).abstask_prompt
    except KeyError:
        # A task of one's own, which mteb does not list.
        return None
