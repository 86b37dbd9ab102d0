"""`qwen3vl eval`, and the commands below it: an index measured, questions drafted for it, and questions judged."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from qwen3_vl_retrieval.cli.draft import draft_index_questions
from qwen3_vl_retrieval.cli.evaluate import evaluate_stores
from qwen3_vl_retrieval.cli.label import label_questions

__all__ = ["evaluation_app"]

_MEASURE = "measure"
"""Never typed: what `eval` itself does."""

_EPILOG = (
    "For a collection that has no questions: qwen3vl eval draft STORE lets a language model write some, and qwen3vl "
    "eval label STORE opens a page to check and judge them; each has a --help of its own. An index in a folder that is "
    "called draft or label is measured as ./draft or ./label."
)


class _EvaluationGroup(TyperGroup):
    """A command with commands below it: what names none of these is measured."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Returns the context of a command below, or that of `eval` itself, with all of its arguments."""
        if args and args[0] in self.commands and args[0] != _MEASURE:
            return super().make_context(info_name, args, parent=parent, **extra)
        return self.commands[_MEASURE].make_context(info_name, args, parent=parent, **extra)


evaluation_app = typer.Typer(cls=_EvaluationGroup, help=evaluate_stores.__doc__)
evaluation_app.command(_MEASURE, epilog=_EPILOG)(evaluate_stores)
evaluation_app.command("draft")(draft_index_questions)
evaluation_app.command("label")(label_questions)
