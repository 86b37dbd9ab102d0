"""A folder that holds the files which the examples name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from poisonous_pdfs import nest_forms

ROOT = Path(__file__).parents[2]
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
    # Commands for a checkout name files of the repository.
    (tmp_path / "tests").symlink_to(ROOT / "tests", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
