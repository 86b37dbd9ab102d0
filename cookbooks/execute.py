"""Do the cookbooks run? Executes notebooks, each in an empty folder and a process of its own, two at a time at most.

uv run --group cookbooks python cookbooks/execute.py [--save] [NAMES…]

A name is the beginning of a file's name: `01`. Fails with the notebook, the cell and the error if a cell fails, if a
notebook checks nothing (no `assert`), or if an output names an absolute path. With `--save` the outputs are written
back into the files, without what changes from run to run.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

__all__ = ["Outcome", "execute_notebook", "find_absolute_paths", "has_assert", "list_notebooks", "main"]

FOLDER = Path(__file__).parent
_AT_ONCE = 2
_TIMEOUT_SECONDS = 300
"""For a kernel to start, and for a cell to run."""

# Letters that cannot be a part of a URL or of a relative path must stand before the first slash.
_ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:/~-])/(?:home|tmp|root|work|usr|var|opt|mnt|srv|data|private|Users)/\S+|\b[A-Z]:\\\w+|file://\S+"
)
_DATA_URI = re.compile(r"data:[\w/+.-]+;base64,[\w/+=]+")
_TERMINAL_COLOR = re.compile(r"\x1b\[[0-9;]*m")

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a notebook.

    Attributes:
        path: The notebook.
        seconds: How long it ran.
        problems: What is wrong, a line each; empty if nothing is.
    """

    path: Path
    seconds: float
    problems: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Executes what the command line names, and returns the exit status."""
    parser = argparse.ArgumentParser(description="Executes the notebooks of this folder.")
    parser.add_argument("names", nargs="*", metavar="NAMES", help="beginnings of file names; all notebooks if none")
    parser.add_argument("--save", action="store_true", help="write the outputs back into the files")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the notebooks")
    options = parser.parse_args(arguments)
    paths = list_notebooks(options.folder, options.names)
    if not paths:
        _write_line(f"no notebook in {options.folder.name}/ begins with {' or '.join(options.names) or 'anything'}")
        return 2
    failed = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for outcome in pool.map(partial(execute_notebook, save=options.save), paths):
            failed += bool(outcome.problems)
            _write_line(f"{outcome.seconds:6.1f} s  {'FAILED' if outcome.problems else 'ok    '}  {outcome.path.name}")
            for problem in outcome.problems:
                _write_line(f"          {outcome.path.name}: {problem}")
    _write_line(f"{len(paths) - failed} of {len(paths)} notebooks ran and hold what they say")
    return 1 if failed else 0


def list_notebooks(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Returns the notebooks of a folder by name, only those that begin with one of `names` if any are given."""
    paths = sorted(folder.glob("*.ipynb"))
    return [path for path in paths if not names or path.name.startswith(tuple(names))]


def execute_notebook(path: Path, *, save: bool) -> Outcome:
    """Runs a notebook in an empty folder and a process of its own.

    Args:
        path: The notebook.
        save: Write the outputs back into the file, if nothing is wrong.
    """
    notebook = nbformat.read(path, as_version=4)
    if not has_assert(notebook):
        return Outcome(path=path, seconds=0.0, problems=("no cell has an assert: nothing that it says is checked",))
    begun = perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        problems = _run_cells(notebook, Path(folder))
        problems += [
            f"cell {number}: an output names the absolute path {found!r}"
            for number, found in find_absolute_paths(notebook, folder=folder)
        ]
    seconds = perf_counter() - begun
    if save and not problems:
        _strip(notebook)
        nbformat.write(notebook, path)
    return Outcome(path=path, seconds=seconds, problems=tuple(problems))


def has_assert(notebook: Any) -> bool:
    """Returns whether a code cell checks something."""
    return any(re.search(r"^\s*assert\b", cell.source, re.MULTILINE) for cell in notebook.cells if _is_code(cell))


def find_absolute_paths(notebook: Any, *, folder: str | None = None) -> list[tuple[int, str]]:
    """Returns the absolute paths that outputs name, each with the number of its cell from 1.

    Args:
        notebook: As nbformat reads it.
        folder: A folder to look for besides the usual ones.
    """
    found: list[tuple[int, str]] = []
    for number, cell in enumerate(notebook.cells, start=1):
        for text in _list_texts(cell):
            shown = _DATA_URI.sub("", text)
            found += [(number, match) for match in _ABSOLUTE_PATH.findall(shown)]
            if folder is not None and folder in shown and not _ABSOLUTE_PATH.search(shown):
                found.append((number, folder))
    return found


def _run_cells(notebook: Any, folder: Path) -> list[str]:
    """What went wrong, with the number of the cell."""
    begun = 0

    def note(cell_index: int, **_: Any) -> None:
        nonlocal begun
        begun = cell_index + 1

    client = NotebookClient(
        notebook,
        timeout=_TIMEOUT_SECONDS,
        startup_timeout=_TIMEOUT_SECONDS,
        kernel_name="python3",
        # Else every kernel warns that it listens on a local port.
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=note,
        coalesce_streams=True,
    )
    try:
        client.execute(env=_choose_environment())
    except CellExecutionError as error:
        return [f"cell {begun}: {error.ename}: {_TERMINAL_COLOR.sub('', error.evalue)}"]
    except (CellTimeoutError, DeadKernelError) as error:
        return [f"cell {begun}: {type(error).__name__}: {str(error).splitlines()[0]}"]
    return []


def _choose_environment() -> dict[str, str]:
    """Nothing is downloaded, and two notebooks share the cores."""
    threads = str(max((os.cpu_count() or _AT_ONCE) // _AT_ONCE, 1))
    defaults = {"OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
    return defaults | os.environ | {"HF_HUB_OFFLINE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def _strip(notebook: Any) -> None:
    """Leaves nothing that changes from run to run, and nothing that was written to the standard error."""
    notebook.metadata = nbformat.from_dict(_METADATA)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.from_dict({})
        if _is_code(cell):
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]


def _list_texts(cell: Any) -> list[str]:
    if not _is_code(cell):
        return []
    texts: list[str] = []
    for output in cell.outputs:
        data: Mapping[str, Any] = output.get("data", {})
        texts += [text for kind, text in data.items() if not kind.startswith("image/") and isinstance(text, str)]
        if output.get("name") != "stderr":
            texts.append(output.get("text", ""))
    return texts


def _is_code(cell: Any) -> bool:
    return cell.cell_type == "code"


def _write_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
