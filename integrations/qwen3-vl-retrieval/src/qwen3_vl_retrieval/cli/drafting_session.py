"""Questions drafted with the models of a command. Importing this module imports torch."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path

from rich.console import Console

from qwen3_vl_retrieval.cli.options import LoadingOptions
from qwen3_vl_retrieval.cli.progress import show_progress
from qwen3_vl_retrieval.cli.store_session import load_index
from qwen3_vl_retrieval.errors import ModelError, explain, quote
from qwen3_vl_retrieval.evaluation.drafting import DraftOptions, DraftReport, draft_questions
from qwen3_vl_retrieval.evaluation.question_writers import QuestionWriter, adapt_question_writer
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["draft_into", "load_writer"]


def load_writer(name: str | None, place: str | None) -> QuestionWriter:
    """Returns the language model of a command.

    Args:
        name: Its name, as LangChain has it; `None` if there is a `place`.
        place: `module:name` of an object, or of a function that returns it. Modules in the current folder are found.

    Raises:
        ModelError: It cannot be imported, made, or asked.
    """
    return adapt_question_writer(name if place is None else _import_object(place))


def draft_into(
    folder: Path,
    questions: Path,
    options: DraftOptions,
    writer: QuestionWriter,
    model: str | None,
    reranker: str,
    loading: LoadingOptions,
    policy: MediaPolicy,
    messages: Console,
) -> DraftReport:
    """Drafts questions for the index in a folder, and shows the progress.

    Raises:
        ModelError: A model cannot be loaded, or the language model fails again and again.
        StoreError: The index is corrupt, or belongs to another model; or the disk is full.
        InputError: The file of questions is not understood.
    """
    with messages.status("loading the models"):
        index, _ = load_index(folder, model, reranker, loading, policy)
    with index, show_progress(messages, "drafting") as on_progress:
        return draft_questions(index, writer, questions, options, on_progress=on_progress)


def _import_object(place: str) -> object:
    module_name, _, name = place.partition(":")
    if not module_name or not name:
        raise ModelError(f"{quote(place)} names no object; give module:name, such as my_models:llm")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
        # A model may be callable as well: what is a function or a class is called, and nothing else.
        is_factory = inspect.isroutine(found) or inspect.isclass(found)
        return found() if is_factory and callable(found) else found
    # The module is the caller's: whatever it raises is said with its name.
    except Exception as error:
        raise ModelError(f"{quote(place)} cannot be imported: {type(error).__name__}: {explain(error)}") from error
