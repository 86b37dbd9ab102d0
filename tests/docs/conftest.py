"""A folder that holds the files which the examples name."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
from poisonous_pdfs import nest_forms
from store_servers import serve_postgres

from served_apps import serve_app
from vllm_servers.stand_in import StandIn

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "tests/core/reference/checkpoints"
MEDIA = ROOT / "tests/core/reference/media"
LIBRARY = ROOT / "tests/data/library"


@pytest.fixture(scope="session")
def example_index(tmp_path_factory):
    """The index that commands name `my-index`, made by the command."""
    from typer.testing import CliRunner

    from qwen3_vl_retrieval.cli import app

    folder = tmp_path_factory.mktemp("indexed")
    (folder / "photos").mkdir()
    for name in ("red-mug.png", "green-lamp.png"):
        shutil.copyfile(LIBRARY / "products" / name, folder / "photos" / name)
    command = ["index", str(folder / "photos"), "--to", str(folder / "my-index"), "--model", "pocket"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    return folder / "my-index"


@pytest.fixture(scope="session")
def served_addresses():
    """The addresses that pages name, each with the one at which a server of the reference checkpoints listens."""
    from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker
    from qwen3_vl_retrieval.remote.vllm_command import read_chat_template
    from qwen3_vl_retrieval.server import create_app

    embedder = Qwen3VLEmbedder.from_pretrained(CHECKPOINTS / "embedding", device="cpu", dtype="float32")
    reranker = Qwen3VLReranker.from_pretrained(CHECKPOINTS / "reranker", device="cpu", dtype="float32")
    apps = {
        "http://127.0.0.1:8080": create_app(embedder=embedder, reranker=reranker),
        "http://gpu-1:8000": StandIn(model=embedder, template=read_chat_template("embedding")).create_app(),
        "http://gpu-2:8000": StandIn(
            model=reranker, template=read_chat_template("reranker"), is_classifier=True
        ).create_app(),
    }
    with ExitStack() as servers:
        yield {address: servers.enter_context(serve_app(app)) for address, app in apps.items()}


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory):
    """The URL of a Postgres with pgvector."""
    with serve_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture
def example_folder(tmp_path, monkeypatch):
    """The current folder of an example."""
    files = {
        "photo.jpg": MEDIA / "photo_500x333.jpg",
        "page.png": LIBRARY / "papers/delivery-note-scan.png",
        "clip.mp4": MEDIA / "clip_40f_8fps.mp4",
        "recording.mp4": MEDIA / "clip_200f_2fps.mp4",
        "contract.pdf": LIBRARY / "papers/invoice-2024-118.pdf",
        "photos/mug.png": LIBRARY / "products/red-mug.png",
        "photos/lamp.png": LIBRARY / "products/green-lamp.png",
        "photos/chair.jpg": LIBRARY / "products/blue-chair.jpg",
    }
    (tmp_path / "photos").mkdir()
    for name, source in files.items():
        shutil.copyfile(source, tmp_path / name)
    (tmp_path / "poisonous.pdf").write_bytes(nest_forms())
    broken = files["photos/mug.png"].read_bytes()[:500]
    (tmp_path / "broken.png").write_bytes(broken)
    (tmp_path / "photos/truncated.png").write_bytes(broken)
    figures = ROOT / "integrations/qwen3-vl-retrieval/src/qwen3_vl_retrieval/remote/figures/reference-embedding.json"
    shutil.copyfile(figures, tmp_path / "figures.json")
    asked = [("a red mug", "red-mug.png"), ("a green lamp", "green-lamp.png")]
    lines = [json.dumps({"text": text, "relevant": [source]}) for text, source in asked]
    (tmp_path / "questions.jsonl").write_text("".join(f"{line}\n" for line in lines))
    # Commands for a checkout name files of the repository.
    (tmp_path / "tests").symlink_to(ROOT / "tests", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
