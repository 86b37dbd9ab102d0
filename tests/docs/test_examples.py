"""Every example that the documentation shows runs, on the reference checkpoints instead of the published models."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import json
import re
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from markdown_pages import ROOT, list_blocks, list_pages, read_page
from qwen3_vl_retrieval.cli import app

CHECKPOINTS = ROOT / "tests/core/reference/checkpoints"
EMBEDDER = {"Qwen/Qwen3-VL-Embedding-2B": str(CHECKPOINTS / "embedding")}
RERANKER = {"Qwen/Qwen3-VL-Reranker-2B": str(CHECKPOINTS / "reranker")}

# The reference model's vectors have 64 dimensions, the published one's 2,048. An example that shortens to 512 gets 32.
SHAPES = {"2048": "64", "512": "32"}

# Pages that index or judge pages of a PDF: with fewer pixels they take a tenth of the time.
FEW_BUDGET = '__import__("qwen3_vl_retrieval").PixelBudget(max_pixels=65536)'
FEW_PIXELS = {
    f'from_pretrained("{name}")': f'from_pretrained("{folder}", pixel_budget={FEW_BUDGET})'
    for name, folder in (EMBEDDER | RERANKER).items()
}

# What is replaced in the Python blocks of a page. Every text must occur in them: an entry that no longer does fails.
REPLACEMENTS = {
    "README.md": EMBEDDER | RERANKER | SHAPES,
    "integrations/qwen3-vl-retrieval/README.md": EMBEDDER | RERANKER | {"2048": "64"},
    # Pages of a PDF are drawn with fewer pixels, which takes a tenth of the time.
    "docs/getting-started.md": EMBEDDER
    | RERANKER
    | SHAPES
    | {"policy) for page": "policy, max_pixels=65536) for page"},
    "docs/inputs.md": EMBEDDER | {"2048": "64"},
    "docs/media-policy.md": EMBEDDER,
    # Chroma in a folder, Qdrant in memory, Milvus in a file; Postgres is a server, see DATABASES.
    "docs/moving.md": EMBEDDER
    | {
        "2048": "64",
        "256": "32",
        'chromadb.HttpClient(host="localhost", port=8000)': 'chromadb.PersistentClient("collections")',
        'url="http://localhost:6333"': '":memory:"',
        'uri="http://localhost:19530"': 'uri="moved.db"',
    },
    "integrations/langchain-qwen3-vl/README.md": EMBEDDER | RERANKER,
    "docs/langchain.md": EMBEDDER | RERANKER | {"2048": "64"},
    "integrations/llama-index-qwen3-vl/README.md": EMBEDDER | RERANKER,
    "docs/llamaindex.md": EMBEDDER | RERANKER | {"2048": "64"},
    "docs/performance.md": RERANKER,
    "docs/questions.md": FEW_PIXELS | EMBEDDER | RERANKER | {"(1, 2048)": "(1, 64)"},
    "docs/troubleshooting.md": EMBEDDER,
    "docs/coming-from.md": FEW_PIXELS | EMBEDDER | RERANKER,
    "docs/explanation.md": EMBEDDER | RERANKER | {"512": "32"},
    "docs/stores.md": EMBEDDER | RERANKER | {"2048": "64", "512": "32"},
    "docs/security.md": EMBEDDER | {"2048": "64"},
    "docs/versions.md": EMBEDDER,
    "docs/vllm.md": EMBEDDER | RERANKER | {"2048": "64"},
    "docs/one-gpu-many-workers.md": {"2048": "64"},
    # A folder has no revision to pin.
    "docs/loading.md": EMBEDDER | RERANKER | SHAPES | {"revision=commit": "revision=None"},
}

# Addresses on a page at which a server listens while its examples run.
ADDRESSES = {
    "docs/vllm.md": ("http://gpu-1:8000", "http://gpu-2:8000"),
    "docs/one-gpu-many-workers.md": ("http://127.0.0.1:8080",),
}

# Databases on a page, in whose place a Postgres of the tests is used, and what of its URL does not take that place.
DATABASES = {"docs/moving.md": ("dbname=search", ""), "docs/stores.md": ("me@db/search", "postgresql://")}

# Models of a command that names none, or the published ones; the smallest images, because two cores are to suffice.
MODELS = {"--model": str(CHECKPOINTS / "embedding"), "--reranker": str(CHECKPOINTS / "reranker")}
QUICK = ["--max-pixels", "16384", "--device", "cpu", "--dtype", "float32"]

# Commands that write a file, and say so on standard error.
WRITTEN = {"qwen3vl golden Qwen/Qwen3-VL-Embedding-2B --to figures.json": "figures.json"}

# Exit statuses other than 0.
STATUSES = {'uv run qwen3vl search photos "a red mug" --strict': 1}

NOT_RUN = {
    "pip install uv": "installs",
    "pip install ./integrations/qwen3-vl-retrieval": "installs",
    "pip install qwen3-vl-retrieval": "installs",
    "pip install qwen3-vl-retrieval qwen3-vl-pocket": "installs",
    'pip install "langchain-qwen3-vl[chroma,agents]"': "installs",
    'pip install "llama-index-qwen3-vl[chroma]"': "installs",
    'pip install "qwen3-vl-retrieval[mcp,chroma]"': "installs",
    "uv run pytest": "is what runs now",
    **{
        f"uv run python benchmarks/{script}": "takes minutes on an idle machine"
        for script in (
            "speed_texts.py --dtype bfloat16",
            "speed_reranking.py",
            "speed_pages.py",
            "speed_callers.py",
            "speed_growth.py",
            "speed_operators.py",
            "isolated_reading.py",
            "text_chunks.py",
            "report_speed.py",
        )
    },
    "uv run python -m qwen3_vl_pocket.training": "takes hours; one step of each stage runs in tests/pocket",
    "qwen3vl search FOLDER QUERY [OPTIONS]": "is a synopsis",
    "qwen3vl export store store.parquet": "shows the command; docs/command-line.md runs it",
    "qwen3vl index FOLDER --to STORE [OPTIONS]": "is a synopsis",
    "qwen3vl embed SOURCE --to RUN [OPTIONS]": "is a synopsis",
    "qwen3vl load RUN --to URL [OPTIONS]": "is a synopsis",
    **dict.fromkeys(
        (
            "qwen3vl load run --to qdrant://localhost:6333 --collection pages",
            "qwen3vl load run --to vectors.db --collection pages",
            "qwen3vl load run --to postgresql://me@db/search --table pages --dimensions 1024",
            "qwen3vl load run --to lancedb://vectors --table pages --precision float16",
            "qwen3vl load run --to chroma://localhost:8000 --collection pages",
            "qwen3vl load run --to my-index",
        ),
        "needs a run and a store; tests/core/test_jobs_loading.py has them",
    ),
    **dict.fromkeys(
        (
            "qwen3vl embed talks --to run --asr large-v3",
            "qwen3vl embed --status run",
            "qwen3vl embed SOURCE --to RUN --workers 8",
            "qwen3vl embed s3://bucket/scans --to s3://bucket/run --executor ray --address auto --workers 64",
            "qwen3vl embed SOURCE --to RUN --base-url http://gpu-1:8000 --base-url http://gpu-2:8000",
        ),
        "needs a run, devices or a cluster; tests/core/test_jobs.py and its neighbours have small ones",
    ),
    "qwen3vl eval STORE --questions FILE [OPTIONS]": "is a synopsis",
    "qwen3vl eval draft STORE --llm PROVIDER:MODEL [OPTIONS]": "is a synopsis",
    "qwen3vl eval label STORE [OPTIONS]": "is a synopsis",
    "qwen3vl mcp STORE [OPTIONS]": "is a synopsis",
    "qwen3vl serve [OPTIONS]": "is a synopsis",
    "qwen3vl vllm-command MODEL [OPTIONS]": "is a synopsis",
    "qwen3vl golden MODEL --to FILE [OPTIONS]": "is a synopsis",
    **dict.fromkeys(
        (
            "qwen3vl serve --embedder Qwen/Qwen3-VL-Embedding-2B --reranker Qwen/Qwen3-VL-Reranker-2B",
            "qwen3vl serve --host 0.0.0.0 --api-key-file keys.txt",
            "uvicorn search_app:app --workers 4",
            "qwen3vl mcp my-index --http --port 8080 --api-key-file keys.txt",
        ),
        "serves until it is stopped",
    ),
}

# Blocks fenced as `py` are shown and not run, by page: how many, and why.
SHOWN_ONLY = {
    "docs/indexing.md": (1, "needs a speech model; tests/core/test_speech.py has a stand-in"),
    "docs/jobs.md": (1, "needs GPUs; tests/core/test_jobs_workers.py has workers without"),
    "docs/stores.md": (1, "Chroma is a server; tests/stores/test_retrieval.py has one"),
    "docs/coming-from.md": (5, "the code before, for packages that are not installed"),
    "docs/llamaindex.md": (1, "needs a chat model; tests/llama_index_adapter/test_query_engine.py has a scripted one"),
    "docs/langchain.md": (1, "needs a chat model; tests/langchain_adapter/test_agents.py has a scripted one"),
}

pages = list_pages()
pages_with_python = [page for page in pages if list_blocks(read_page(page), "python")]
commands = [
    (page, command.strip())
    for page in pages
    for block in list_blocks(read_page(page), "bash", "console")
    for line in block.content.splitlines()
    for command in line.split("&&")
    if command.strip()
]
shown_commands = list(dict.fromkeys(command for _, command in commands))


@pytest.mark.parametrize("page", pages_with_python, ids=str)
def test_python_examples_print_what_they_show(page, example_folder, request):
    replacements = REPLACEMENTS.get(page.as_posix(), {})
    addresses = ADDRESSES.get(page.as_posix(), ())
    if addresses:
        served = request.getfixturevalue("served_addresses")
        replacements = replacements | {address: served[address] for address in addresses}
    if page.as_posix() in DATABASES:
        named, beginning = DATABASES[page.as_posix()]
        replacements = replacements | {named: request.getfixturevalue("postgres_url").removeprefix(beginning)}
    _run_examples(read_page(page), str(ROOT / page), replacements)


def _run_examples(text: str, shown: str, replacements: dict[str, str]) -> None:
    """Runs the Python blocks of a page, one after the other, and compares what they print with what it shows."""
    blocks = list_blocks(text, "python")
    everything = "".join(block.content for block in blocks)
    assert [old for old in replacements if old not in everything] == []
    namespace: dict[str, object] = {"__name__": "example"}
    for block in blocks:
        content = block.content
        for old, new in replacements.items():
            content = content.replace(old, new)
        # Blank lines before the block: a traceback then shows the line of the page.
        code = compile("\n" * (block.line - 1) + content, shown, "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)  # noqa: S102 - our own pages
        expected = re.findall(r"^# ?> (.*)$", content, re.MULTILINE)
        if expected:
            assert printed.getvalue().splitlines() == expected, f"{shown}, line {block.line}"


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        ("print(1 + 1)\n# > 3", AssertionError),
        ("import qwen3_vl_retrieval\nqwen3_vl_retrieval.Embeder", AttributeError),
        ("print(1", SyntaxError),
        ("print('a')\nprint('b')\n# > a", AssertionError),
    ],
    ids=["another output", "a name that does not exist", "no Python", "more output than is shown"],
)
def test_a_planted_broken_block_fails_its_page(planted, expected):
    page = f"# Page\n\n```python\nprint(2)\n# > 2\n```\n\n```python\n{planted}\n```\n"
    with pytest.raises(expected):
        _run_examples(page, "planted.md", {})


def test_a_replacement_that_a_page_no_longer_needs_fails_it():
    with pytest.raises(AssertionError):
        _run_examples("```python\nprint(2)\n```\n", "planted.md", {"2048": "64"})


def test_python_that_is_only_shown_is_listed_and_compiles():
    found = {page.as_posix(): list_blocks(read_page(page), "py") for page in pages}
    assert {page: len(blocks) for page, blocks in found.items() if blocks} == {
        page: count for page, (count, _) in SHOWN_ONLY.items()
    }
    for page, blocks in found.items():
        for block in blocks:
            compile(block.content, page, "exec")


def test_published_models_are_replaced_on_every_page():
    found = {
        page.as_posix()
        for page in pages_with_python
        if any('"Qwen/' in block.content for block in list_blocks(read_page(page), "python"))
    }
    # A page with the address of a server may leave the model to it.
    assert found | set(ADDRESSES) == set(REPLACEMENTS)


@pytest.mark.parametrize("command", [command for command in shown_commands if command not in NOT_RUN])
def test_commands_run(command, example_folder, request):
    arguments = shlex.split(command.removeprefix("uv run "))
    if "my-index" in arguments and arguments[1] != "index":
        shutil.copytree(request.getfixturevalue("example_index"), "my-index")
    assert arguments[0] == "qwen3vl", f"{command!r} is neither run nor listed as not run, with a reason"
    begun_ns = time.time_ns()
    result = CliRunner().invoke(app, _choose_models(arguments[1:]), catch_exceptions=False)
    assert result.exit_code == STATUSES.get(command, 0), result.output
    assert result.stdout.strip() or command in WRITTEN
    assert command not in WRITTEN or Path(WRITTEN[command]).stat().st_mtime_ns > begun_ns


def _choose_models(arguments: list[str]) -> list[str]:
    """The command with checkpoints that are at hand; `demo` has models of its own."""
    if arguments[0] != "search" or "my-index" in arguments:
        return [(EMBEDDER | RERANKER).get(argument, argument) for argument in arguments]
    chosen = list(arguments)
    for option, checkpoint in MODELS.items():
        if option not in chosen:
            chosen += [option, checkpoint]
        elif chosen[chosen.index(option) + 1].startswith("Qwen/"):
            chosen[chosen.index(option) + 1] = checkpoint
    if "--dimensions" in chosen:
        chosen[chosen.index("--dimensions") + 1] = SHAPES[chosen[chosen.index("--dimensions") + 1]]
    return chosen + QUICK


def test_the_json_that_is_shown_has_the_keys_of_the_real_one(example_folder):
    (shown,) = list_blocks(read_page(Path("docs/command-line.md")), "json")
    command = ["search", "photos", "a red mug", "--json", "--model", MODELS["--model"], "--reranker", "none", *QUICK]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert _list_keys(json.loads(shown.content)) == _list_keys(json.loads(result.stdout) | {"errors": []})


def _list_keys(document: dict[str, Any]) -> dict[str, Any]:
    """The keys, in order, of a document, of the dicts in it, and of the first dict of each list."""
    inner = {key: value[0] if isinstance(value, list) and value else value for key, value in document.items()}
    return {key: list(value) if isinstance(value, dict) else None for key, value in inner.items()}


def test_what_is_listed_as_not_run_is_shown():
    assert set(NOT_RUN) - set(shown_commands) == set()
    assert set(STATUSES) - set(shown_commands) == set()


def test_the_first_screen_shows_the_two_commands():
    first = list_blocks(read_page(Path("README.md")), "bash")[0]
    assert first.content.splitlines() == [
        "pip install uv && uv run qwen3vl demo",
        "pip install uv && uv run pytest",
    ]


def test_examples_in_docstrings_print_what_they_show():
    for source in ROOT.glob("integrations/*/src"):
        for path in sorted(source.rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                module = importlib.import_module(".".join(path.relative_to(source).with_suffix("").parts))
                assert doctest.testmod(module).failed == 0, path
