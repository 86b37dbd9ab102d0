"""Processes that may not write to a folder, or to no file beyond a size.

A module that such a process can import: pytest names test files in a way that only pytest finds.
"""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from pathlib import Path

import pytest

from index_runs import context
from made_up_embedder import MadeUpEmbedder
from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.index.store.store import Store

NOBODY = 65534


def open_index(path, embedder=None, **options):
    return MultimodalIndex.open(path, MadeUpEmbedder() if embedder is None else embedder, **options)


def list_hits(index):
    expected = json.loads((index.store.layout.folder / "expected.json").read_text())
    found = {}
    for asked in expected:
        where = json.loads(asked) if asked.startswith("{") else None
        hits = index.search("anything at all" if where else asked, k=20, where=where)
        found[asked] = [
            [hit.id, round(hit.similarity_score, 6), hit.keyword_rank, hit.source, hit.metadata] for hit in hits
        ]
    return found, expected


def note_names(folder):
    names = [path.name for path in folder.iterdir() if "lock" not in path.name]
    (folder.parent / "names.json").write_text(json.dumps(names))


def run_without_permission(function, folder):
    """Calls a function of this file in a process that may not write to the folder."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    said = context.Queue()
    process = context.Process(target=_call_as_nobody, args=(function, folder, said))
    process.start()
    process.join(200)
    process.kill()
    assert said.get(timeout=10) == "done"


def _call_as_nobody(function, folder, said):
    # Now: nobody cannot import what lies in root's folders.
    import mmap  # noqa: F401

    import pyarrow.parquet  # noqa: F401

    try:
        if os.getuid() == 0:
            # Permissions do not bind root, under which CI runs.
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        function(folder)
        said.put("done")
    except BaseException:  # noqa: BLE001 - handed to the test
        said.put(traceback.format_exc())


def read_store_only(folder):
    assert not os.access(folder, os.W_OK)
    with open_index(folder) as index:
        assert index.store.is_read_only
        expected = [f"text {number}" for number in range(20)]
        assert sorted(hit.text for hit in index.search("x", k=20)) == sorted(expected)
        for text in expected[:3]:
            assert index.search(text, k=1)[0].similarity_score > 0.999
            assert index.search(f'"{text}"', k=1)[0].keyword_rank == 1
        assert len(index.search("x", where={"media_type": "image"})) == 0
        assert index.stats().units == 20
        with tempfile.TemporaryDirectory() as scratch:
            assert index.export_parquet(Path(scratch) / "units.parquet") == 20
        for write in (
            lambda: index.add(["more"]),
            lambda: index.sync(folder),
            lambda: index.delete({"media_type": "text"}),
            index.compact,
            index.store.repair,
            index.store.mend_metadata,
        ):
            with pytest.raises(StoreError, match=r"cannot be written to .* read-only here; give write permission"):
                write()
    assert sorted(path.name for path in folder.iterdir() if "lock" not in path.name) == read_names(folder)


def read_names(folder):
    return sorted(json.loads((folder.parent / "names.json").read_text()))


def read_old_store_only(folder):
    with open_index(folder) as index:
        assert index.store.is_read_only
        found, expected = list_hits(index)
        # Compared exactly, so that equal scores and rounding stay as they are.
        assert found == expected


def make_store_nowhere(folder):
    with pytest.raises(StoreError, match="read-only here"):
        open_index(folder / "index")
    with pytest.raises(StoreError, match="there is no store in"):
        Store.open(folder / "index")


def fill_limited(folder, limit_bytes, said):
    import resource

    with open_index(folder) as index:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        try:
            index.add([f"long {number} " + "words of a long text " * 200 for number in range(500)])
        except BaseException as error:  # noqa: BLE001 - handed to the test
            said.put((type(error).__name__, str(error)))
        else:
            said.put(("nothing", ""))
