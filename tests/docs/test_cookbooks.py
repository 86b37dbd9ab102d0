"""The notebooks are complete and listed; `make cookbooks` runs them. The runner finds what is broken."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest

from markdown_pages import ROOT

nbformat = pytest.importorskip("nbformat", reason="notebooks need the dependency group `cookbooks`")
pytest.importorskip("nbclient", reason="notebooks need the dependency group `cookbooks`")
pytest.importorskip("ipykernel", reason="notebooks need the dependency group `cookbooks`")

FOLDER = ROOT / "cookbooks"
MOST_BYTES = 400_000
MOST_LINES = 15
notebooks = sorted(FOLDER.glob("*.ipynb"))

spec = importlib.util.spec_from_file_location("execute_cookbooks", FOLDER / "execute.py")
execute = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(execute)


def read(path):
    return nbformat.read(path, as_version=4)


def write(folder, name, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / name)


def run(*arguments):
    """The runner in a process of its own, because kernels leave sockets open that would be warnings here."""
    command = [sys.executable, str(FOLDER / "execute.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script


def test_the_table_lists_every_notebook_and_no_other():
    listed = re.findall(r"^\| .*?\]\((\w+\.ipynb)\)", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [path.name for path in notebooks]


@pytest.mark.parametrize("path", notebooks, ids=lambda path: path.stem)
def test_a_notebook_asks_checks_and_ends_with_the_large_models(path):
    cells = read(path).cells
    first, last = cells[0].source, cells[-1].source
    assert re.match(r"# .+\?\n", first), "the title is a question"
    assert execute.has_assert(read(path))
    assert last.startswith("## With the large models")
    assert "GB" in last
    assert any("pip install" in cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", notebooks, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_has_outputs_without_paths_warnings_and_errors(path):
    notebook = read(path)
    assert path.stat().st_size < MOST_BYTES
    assert execute.find_absolute_paths(notebook) == []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "execute it with --save"
    assert max(len(cell.source.splitlines()) for cell in code) <= MOST_LINES
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_a_broken_notebook_fails_the_run_with_its_name_the_cell_and_the_error(tmp_path):
    write(tmp_path, "01_broken.ipynb", "found = 2", "assert found == 3, 'two were found'")
    done = run("--folder", tmp_path, "--save")
    assert done.returncode == 1, done.stderr
    assert "01_broken.ipynb: cell 2: AssertionError: two were found" in done.stdout
    assert not read(tmp_path / "01_broken.ipynb").cells[0].execution_count, "nothing is saved of a broken one"


def test_a_notebook_that_shows_an_absolute_path_fails_the_run(tmp_path):
    write(tmp_path, "01_path.ipynb", "from pathlib import Path\nassert True\nprint(Path('office').absolute())")
    done = run("--folder", tmp_path)
    assert done.returncode == 1, done.stderr
    assert "01_path.ipynb: cell 1: an output names the absolute path" in done.stdout


def test_a_notebook_without_an_assert_fails_the_run(tmp_path):
    write(tmp_path, "01_unchecked.ipynb", "print('finds the invoice')")
    done = run("--folder", tmp_path)
    assert done.returncode == 1, done.stderr
    assert "01_unchecked.ipynb: no cell has an assert" in done.stdout


def test_a_sound_notebook_runs_in_an_empty_folder_and_is_saved_without_what_changes(tmp_path):
    write(
        tmp_path,
        "01_sound.ipynb",
        "import os, sys\nassert os.listdir() == []\nprint('seen')\nprint('x', file=sys.stderr)",
    )
    done = run("--folder", tmp_path, "--save", "01")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 notebooks ran" in done.stdout
    (cell,) = read(tmp_path / "01_sound.ipynb").cells
    assert [output.text for output in cell.outputs] == ["seen\n"]
    assert (cell.id, dict(cell.metadata)) == ("cell-1", {})


def test_a_name_that_no_notebook_has_is_refused(tmp_path):
    done = run("--folder", tmp_path, "07")
    assert done.returncode == 2, done.stderr
    assert "begins with 07" in done.stdout
