"""`qwen3vl vllm-command` and `qwen3vl golden`: how vLLM serves a model as it is in process, and what proves it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import LoadingOptions
from qwen3_vl_retrieval.cli.stores import explain_errors
from qwen3_vl_retrieval.options import ModelKind

__all__ = ["print_vllm_command", "save_golden_figures"]

KindOption = Annotated[
    str | None,
    typer.Option("--kind", help="embedding or reranker.  [default: reranker if the name says so, else embedding]"),
]
ModelArgument = Annotated[str, typer.Argument(help="Hub id or folder of the model.")]


def print_vllm_command(
    model: ModelArgument,
    kind: KindOption = None,
    to: Annotated[
        Path, typer.Option("--to", file_okay=False, help="Folder that the chat template is written to.")
    ] = Path(),
) -> None:
    """Prints the command with which vLLM serves a model, and writes the chat template that it names."""
    from qwen3_vl_retrieval.remote.vllm_command import build_vllm_command, read_chat_template

    chosen = _choose_kind(model, kind)
    template = to / f"qwen3_vl_{chosen}.jinja"
    try:
        to.mkdir(parents=True, exist_ok=True)
        template.write_text(read_chat_template(chosen), encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"--to: {template} cannot be written: {error.strerror}") from error
    Console(stderr=True).print(Text(f"The chat template is in {template}.", style="dim"))
    typer.echo(build_vllm_command(model, kind=chosen, template=template))


def save_golden_figures(
    model: ModelArgument,
    to: Annotated[Path, typer.Option("--to", dir_okay=False, help="File that the figures are written to.")],
    kind: KindOption = None,
    device: Annotated[str | None, typer.Option("--device", help="Where the model runs.")] = None,
) -> None:
    """Computes what a model answers to the questions of the self-test, in float32, where its weights are."""
    with keep_noise_out() as messages, explain_errors(messages):
        from qwen3_vl_retrieval.cli.models import load_embedder, load_reranker
        from qwen3_vl_retrieval.loading import locate_checkpoint
        from qwen3_vl_retrieval.media import MediaPolicy
        from qwen3_vl_retrieval.remote.golden import compute_golden_figures

        chosen = _choose_kind(model, kind)
        options = LoadingOptions(device=device, dtype="float32")
        checkpoint = locate_checkpoint(model, kind=chosen)
        load = load_embedder if chosen == "embedding" else load_reranker
        figures = compute_golden_figures(
            load(model, options, MediaPolicy()), revision=checkpoint.revision, model_id=checkpoint.model_id
        )
        figures.write(to)
        messages.print(
            Text(
                f"The figures of {model} are in {to}: pass it as golden=, or put it beside the checkpoint's "
                "config.json as golden_figures.json.",
                style="dim",
            )
        )


def _choose_kind(model: str, kind: str | None) -> ModelKind:
    if kind is None:
        return "reranker" if "rerank" in model.lower() else "embedding"
    if kind == "embedding" or kind == "reranker":
        return kind
    raise typer.BadParameter(f"--kind {kind!r} is unknown; give embedding or reranker")
