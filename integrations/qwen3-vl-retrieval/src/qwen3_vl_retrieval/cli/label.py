"""`qwen3vl eval label`: a page in the browser on which a person checks and judges questions."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
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
from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.paths import show_path

__all__ = ["label_questions"]

_EXTRA = ("fastapi", "prometheus_client", "uvicorn")

_HOST = "127.0.0.1"

_SECONDS_TO_END = 5
"""For a search that is under way; what was judged is saved already."""


@expand_options
def label_questions(
    store: StoreArgument,
    *,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions",
            dir_okay=False,
            help="File of the questions, JSONL; each click is saved to it.  [default: STORE-questions.jsonl, beside "
            "the index]",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 is any that is free.")
    ] = 8090,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Embedding model: hub id, folder or pocket.  [default: the one of the index]"),
    ] = None,
    reranker: Annotated[str, typer.Option("--reranker", help="Reranker: hub id, folder, pocket, or none.")] = (
        DEFAULT_RERANKER
    ),
    instruction: InstructionOption = None,
    loading: LoadingOptions,
    limits: Limits,
) -> None:
    """Opens a page, on this machine only, to check and mend questions and to judge what both stages find for them.

    Every click is saved to the file of questions before the page goes on. Ctrl-C ends it.
    """
    with keep_noise_out() as messages, explain_errors(messages):
        for name in _EXTRA:
            if find_spec(name) is None:
                raise ModelError(
                    f"a page needs {name}, which is not installed: pip install 'qwen3-vl-retrieval[server]'"
                )
        from qwen3_vl_retrieval.cli.store_session import load_index
        from qwen3_vl_retrieval.evaluation.question_file import name_question_file
        from qwen3_vl_retrieval.labelling.app import LABEL_PATH, create_label_app
        from qwen3_vl_retrieval.server.listening import listen

        judge = None if reranker == NO_RERANKER else reranker
        with messages.status("loading the models"):
            index, _ = load_index(store, model, judge, loading, limits.build_policy())
        file = name_question_file(store) if questions is None else questions
        app = create_label_app(index, file, instruction=instruction)
        messages.print(Text(f"Everything is saved to {show_path(file.resolve())}"), soft_wrap=True)
        if port:
            messages.print(f"Open http://{_HOST}:{port}{LABEL_PATH} in a browser; Ctrl-C ends it.", highlight=False)
        else:
            messages.print(f"Open {LABEL_PATH} of the address below in a browser; Ctrl-C ends it.", highlight=False)
    # Outside of the block: what libraries say while requests are answered belongs to the log.
    with index:
        listen(app, host=_HOST, port=port, max_request_seconds=_SECONDS_TO_END)
