"""`qwen3vl eval`: how well an index answers questions with known answers, and what the answers can show."""

from __future__ import annotations

import json as json_format
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from qwen3_vl_retrieval.cli.limits import Limits
from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import (
    DEFAULT_EMBEDDER,
    DEFAULT_RERANKER,
    NO_RERANKER,
    InstructionOption,
    LoadingOptions,
    expand_options,
)
from qwen3_vl_retrieval.cli.stores import explain_errors
from qwen3_vl_retrieval.errors import ModelError

if TYPE_CHECKING:
    from qwen3_vl_retrieval.cli.evaluation_session import EvaluatedStore

__all__ = ["evaluate_stores"]

_EXTRA = ("ir_measures", "matplotlib", "pyarrow", "scipy")

_INTERRUPTED = "Interrupted. What was judged is kept; run the same command again to go on."

_MOST_STORES = 2


def parse_depths(text: str) -> tuple[int, ...]:
    """Returns numbers of candidates such as `5,10,20`, none for `none`; a usage error if it is neither."""
    if text.strip().lower() == "none":
        return ()
    try:
        depths = tuple(int(part) for part in text.split(","))
    except ValueError:
        depths = (0,)
    if min(depths) < 1:
        raise typer.BadParameter(f"{text!r} is not understood; give numbers such as 5,10,20,50, or none")
    return depths


@expand_options
def evaluate_stores(
    stores: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, file_okay=False, metavar="STORE", help="Index to measure; two are compared."),
    ] = None,
    *,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions",
            exists=True,
            help="Questions with their answers: JSONL, or a folder of BEIR or ViDoRe; with --qrels TSV or JSONL.",
        ),
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option("--qrels", exists=True, dir_okay=False, help="Judgements as TREC has them.")
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option("--dataset", exists=True, file_okay=False, help="Data set of BEIR or ViDoRe to index first."),
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", file_okay=False, help="Folder of the index of --dataset.")] = None,
    split: Annotated[str, typer.Option("--split", help="Which judgements of a folder of BEIR.")] = "test",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help=f"Embedding model: hub id, folder or pocket.  [default: the one of the index, or {DEFAULT_EMBEDDER}]",
        ),
    ] = None,
    reranker: Annotated[str, typer.Option("--reranker", help="Reranker: hub id, folder, pocket, or none.")] = (
        DEFAULT_RERANKER
    ),
    k: Annotated[int, typer.Option("--k", min=1, help="Results that a reader sees.")] = 10,
    fetch_k: Annotated[int, typer.Option("--fetch-k", min=1, help="Candidates that the reranker judges.")] = 50,
    depths: Annotated[
        Any,
        typer.Option(
            "--depths",
            parser=parse_depths,
            metavar="NUMBERS",
            help="Numbers of candidates to compare; none leaves the comparison out, which is faster.",
        ),
    ] = "5,10,20,50,100",
    instruction: InstructionOption = None,
    allow_unknown: Annotated[
        bool, typer.Option("--allow-unknown", help="Let sources that the index does not hold count as not found.")
    ] = False,
    json: Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write everything here, as JSON.")] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="PREFIX", help="Write PREFIX.first.trec, PREFIX.reranked.trec, PREFIX.qrels."),
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", dir_okay=False, help="Write a page with plots.")] = None,
    loading: LoadingOptions,
    limits: Limits,
) -> None:
    """Measures an index with questions whose answers are known, or compares two; an interrupted run goes on."""
    folders = [] if stores is None else stores
    _check_request(folders, questions, dataset, to)
    with keep_noise_out() as messages, explain_errors(messages, interrupted=_INTERRUPTED):
        _require_extra()
        from qwen3_vl_retrieval.cli.evaluation_session import EvaluationRequest, compare_stores, evaluate_store
        from qwen3_vl_retrieval.cli.evaluation_tables import print_comparison, print_evaluation
        from qwen3_vl_retrieval.evaluation.question_runs import RunOptions

        request = EvaluationRequest(
            questions=questions,
            qrels=qrels,
            dataset=dataset,
            split=split,
            model=model,
            reranker=None if reranker == NO_RERANKER else reranker,
            options=RunOptions(k=k, fetch_k=max(k, fetch_k), depths=depths, instruction=instruction),
            allow_unknown=allow_unknown,
        )
        targets = folders if to is None else [to]
        evaluated = [
            evaluate_store(folder, request, loading, limits, messages, report=_name_output(report, place, len(targets)))
            for place, folder in enumerate(targets)
        ]
        documents = [one.to_dict() for one in evaluated]
        for place, one in enumerate(evaluated):
            print_evaluation(one, Console())
            if run is not None:
                one.evaluation.write_runs(_name_run(run, place, len(targets)))
        if len(evaluated) == _MOST_STORES:
            compared = compare_stores(*evaluated)
            print_comparison(compared, Console())
            document = {"a": documents[0], "b": documents[1], "comparison": compared.to_dict()}
        else:
            (document,) = documents
        if json is not None:
            json.write_text(json_format.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")
        _finish(evaluated, messages, report)


def _check_request(stores: list[Path], questions: Path | None, dataset: Path | None, to: Path | None) -> None:
    if (dataset is None) != (to is None):
        raise typer.BadParameter("--dataset and --to belong together: the data set, and the folder of its index")
    if dataset is not None and (stores or questions is not None):
        raise typer.BadParameter("--dataset has its own questions and index; leave out STORE and --questions")
    if dataset is None and (not stores or questions is None):
        raise typer.BadParameter("give an index and --questions, or --dataset and --to")
    if len(stores) > _MOST_STORES:
        raise typer.BadParameter(f"{len(stores)} indexes were given; one is measured, and two are compared")


def _name_output(report: Path | None, place: int, count: int) -> Path | None:
    """The page of one store; that of a second has a number in its name."""
    return report if report is None or count == 1 else report.with_stem(f"{report.stem}-{'ab'[place]}")


def _name_run(run: Path, place: int, count: int) -> Path:
    return run if count == 1 else run.with_name(f"{run.name}-{'ab'[place]}")


def _finish(evaluated: list[EvaluatedStore], messages: Console, report: Path | None) -> None:
    """Lets go of what was kept for an interrupted run: everything that was asked for is written."""
    for place, one in enumerate(evaluated):
        one.forget_progress()
        page = _name_output(report, place, len(evaluated))
        if page is not None:
            messages.print(Text(f"A page with plots and the worst questions: {page}"), soft_wrap=True)


def _require_extra() -> None:
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise ModelError(f'{missing[0]} is not installed: pip install "qwen3-vl-retrieval[evaluation]"')
