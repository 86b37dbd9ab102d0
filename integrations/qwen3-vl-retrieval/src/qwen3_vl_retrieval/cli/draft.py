"""`qwen3vl eval draft`: questions for an index that has none, written by a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from qwen3_vl_retrieval.cli.limits import Limits
from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import (
    DEFAULT_RERANKER,
    NO_RERANKER,
    InstructionOption,
    LoadingOptions,
    StoreArgument,
    expand_options,
)
from qwen3_vl_retrieval.cli.stores import explain_errors
from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.paths import show_path

__all__ = ["draft_index_questions"]

_INTERRUPTED = "Interrupted. What was drafted is kept; run the same command again to go on."

_NAMED_FAILURES = 5


@expand_options
def draft_index_questions(
    store: StoreArgument,
    *,
    n: Annotated[int, typer.Option("--n", min=1, help="Drafted questions that there are to be in the end.")] = 50,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions",
            dir_okay=False,
            help="File that questions are added to, JSONL.  [default: STORE-questions.jsonl, beside the index]",
        ),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            "--llm",
            metavar="PROVIDER:MODEL",
            help="Chat model that writes them, as LangChain names it: openai:gpt-4o, anthropic:claude-sonnet-4-5, "
            "ollama:qwen3-vl. It is shown pages and images of the index.",
        ),
    ] = None,
    llm_from: Annotated[
        str | None,
        typer.Option(
            "--llm-from",
            metavar="MODULE:NAME",
            help="In place of --llm, a chat model of LangChain, a language model of LlamaIndex, or a function that "
            "returns one: my_models:llm.",
        ),
    ] = None,
    language: Annotated[
        str, typer.Option("--language", help="Language of questions about what has no words; others follow the words.")
    ] = "English",
    seed: Annotated[int, typer.Option("--seed", help="Another one draws other pages and images.")] = 0,
    neighbours: Annotated[
        int, typer.Option("--neighbours", min=1, help="Nearest units that must not answer a question, too.")
    ] = 8,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Embedding model: hub id, folder or pocket.  [default: the one of the index]"),
    ] = None,
    reranker: Annotated[
        str, typer.Option("--reranker", help="Reranker that filters the questions: hub id, folder or pocket.")
    ] = DEFAULT_RERANKER,
    instruction: InstructionOption = None,
    loading: LoadingOptions,
    limits: Limits,
) -> None:
    """Lets a language model write questions that one page, image or moment of an index answers and no other does.

    They are drafts: check them with qwen3vl eval label. Run it again after it was interrupted, or with a larger --n.
    """
    if (llm is None) == (llm_from is None):
        raise typer.BadParameter("give the language model: --llm PROVIDER:MODEL, or --llm-from MODULE:NAME")
    if reranker == NO_RERANKER:
        raise typer.BadParameter("questions are filtered by a reranker; give one with --reranker")
    with keep_noise_out() as messages, explain_errors(messages, interrupted=_INTERRUPTED):
        from qwen3_vl_retrieval.cli.drafting_session import draft_into, load_writer
        from qwen3_vl_retrieval.evaluation.drafting import DraftOptions
        from qwen3_vl_retrieval.evaluation.question_file import name_question_file

        options = DraftOptions(n=n, seed=seed, language=language, neighbours=neighbours, instruction=instruction)
        report = draft_into(
            store,
            name_question_file(store) if questions is None else questions,
            options,
            # What is wrong with it is said before the other models are loaded.
            load_writer(llm, llm_from),
            model,
            reranker,
            loading,
            limits.build_policy(),
            messages,
        )
    console = Console()
    console.print(
        f"{len(report.drafted):,} questions drafted, {sum(report.rejected.values()):,} units without one; "
        f"{report.total:,} of {n:,} are there",
        highlight=False,
    )
    for reason, count in report.rejected.items():
        console.print(f"  {count:,} {reason}", highlight=False)
    for failure in report.failures[:_NAMED_FAILURES]:
        messages.print(Text(f"the model failed at {clean_text(failure)}", style="yellow"), soft_wrap=True)
    console.print(Text(f"questions: {show_path(report.questions)}"), soft_wrap=True)
    console.print(Text(f"why others have none: {show_path(report.rejections)}"), soft_wrap=True)
    named = "" if questions is None else f" --questions {show_path(questions)}"
    console.print(
        Text(f"They are unchecked. To check and judge them: qwen3vl eval label {show_path(store)}{named}"),
        soft_wrap=True,
    )
