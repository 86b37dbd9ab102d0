"""Names of files as file systems allow them: written as text, read back, shown, and everywhere a store meets them."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from qwen3_vl_retrieval import MediaError, MediaPolicy, MediaPolicyError, PixelBudget
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.index import (
    MultimodalIndex,
    build_item,
    describe_unit,
    import_store,
    read_units,
    write_failures,
)
from qwen3_vl_retrieval.media import read_image
from qwen3_vl_retrieval.media.policy import open_source
from qwen3_vl_retrieval.paths import decode_path, encode_path, list_prefixes, show_path

NAMES = [
    b"caf\xe9.png",
    b"\xff\xfe\x80.png",
    b"gr\xfc\xdfe 100%41#1?2.png",
    b"line\nbreak\ttab.png",
    b"quote'\"`<b>&amp;.png",
    "right\u202egnp.exe.png".encode(),
    b"escape\x1b[31mred\x07.png",
    b"percent%E9%00%zz.png",
    "nfc-\u00e9.png".encode(),
    "nfd-e\u0301.png".encode(),
    b"trailing. .png",
    b" leading.png",
    b"file:x.png",
    b"data:image,x.png",
    b"http:host.png",
    "item:0 漢字 👩‍🔬.png".encode(),
    b"n" * 240 + b".png",
]
"""What other systems, archives and people call files."""

SMALL = PixelBudget(min_pixels=4096, max_pixels=4096, frame_min_pixels=4096, frame_max_pixels=4096)

needs_bytes = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def name_file(folder, name):
    return folder / os.fsdecode(name)


def draw_names(folder):
    """An image under each name, each with a colour of its own."""
    folder.mkdir(parents=True)
    for place, name in enumerate(NAMES):
        Image.new("RGB", (64, 64), (15 * place, 255 - 15 * place, 100)).save(name_file(folder, name))
    return folder


@pytest.fixture(scope="module")
def small_embedder(make_embedder):
    return make_embedder(pixel_budget=SMALL)


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name), st.booleans())
@example(b"//x\xff", True)
@example(b"FILE:///x", False)
def test_every_path_becomes_text_that_json_and_utf8_hold_and_is_itself_again(name, is_absolute):
    path = Path("/data" if is_absolute else "") / os.fsdecode(name)
    text = encode_path(path)
    assert json.loads(json.dumps(text).encode("utf-8")) == text.encode("utf-8").decode("utf-8")
    assert decode_path(text) == path
    assert os.fsencode(decode_path(text)) == os.fsencode(path)


@given(st.text())
def test_a_path_of_ordinary_characters_is_written_as_it_is(name):
    path = PurePosixPath("/data", name.replace("\0", "").encode("utf-8", "ignore").decode())
    assert encode_path(path) == str(path)


@given(st.text(st.characters(exclude_categories=[])), st.integers(20, 300))
def test_what_is_shown_of_a_path_is_one_line_of_valid_unicode_and_short(name, most_characters):
    shown = show_path(PurePosixPath("/data", name.replace("\0", "")), most_characters=most_characters)
    assert len(shown) <= most_characters
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert all(letter.isprintable() for letter in shown)


def test_bytes_that_are_no_utf8_are_shown_as_replacement_characters_and_long_names_by_their_ends():
    assert show_path(Path(os.fsdecode(b"/data/caf\xe9.png"))) == "/data/caf\N{REPLACEMENT CHARACTER}.png"
    assert show_path("file:///data/caf%E9.png") == "/data/caf\N{REPLACEMENT CHARACTER}.png"
    assert show_path(Path("/data/Screenshot 4.05\u202fPM.png")) == "/data/Screenshot 4.05 PM.png"
    shown = show_path(Path("/data", "n" * 4000 + ".png"))
    assert (shown[:7], shown[-5:], len(shown)) == ("/data/n", "n.png", 200)


def test_a_surrogate_that_stands_for_no_byte_is_written_all_the_same():
    text = encode_path(Path("/data/\ud800.png"))
    assert text.encode("utf-8")
    assert isinstance(decode_path(text), Path)


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b"..")))
def test_the_text_of_a_file_begins_with_one_of_the_prefixes_of_its_folder_and_of_no_sibling(name):
    folder = Path("/data/a b%")
    assert encode_path(folder / os.fsdecode(name)).startswith(list_prefixes(folder))
    assert not encode_path(Path("/data/a b%c") / os.fsdecode(name)).startswith(list_prefixes(folder))


@needs_bytes
def test_a_file_uri_opens_the_file_of_exactly_these_bytes(tmp_path):
    folder = draw_names(tmp_path / "files")
    for place, name in enumerate(NAMES):
        path = name_file(folder, name)
        for uri in (encode_path(path), path.as_uri()):
            assert open_source(uri, MediaPolicy()) == path
            assert read_image(uri, MediaPolicy()).getpixel((0, 0)) == (15 * place, 255 - 15 * place, 100)


@pytest.mark.parametrize(
    ("uri", "error"),
    [("file://server/x.png", MediaPolicyError), ("file:", MediaError), ("file:///%00.png", MediaError)],
)
def test_a_file_uri_that_names_no_local_file_says_so(uri, error):
    with pytest.raises(error):
        open_source(uri, MediaPolicy())


@needs_bytes
@pytest.mark.parametrize("folder_name", [b"files", b"ordner \xfc"])
def test_an_index_holds_finds_shows_and_opens_files_of_any_name(tmp_path, small_embedder, folder_name):
    folder = draw_names(tmp_path / os.fsdecode(folder_name))
    paths = {name_file(folder, name) for name in NAMES}
    broken = name_file(folder, b"broken\xe9.png")
    broken.write_bytes(b"no picture")
    with MultimodalIndex.open(tmp_path / "store", small_embedder) as index:
        report = index.sync(folder)
        assert (report.added_files, [failure.path for failure in report.failures]) == (len(NAMES), [broken])
        assert index.sync(folder).unchanged_files == len(NAMES)
        found = index.search(Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")), k=len(NAMES))
        assert {hit.unit.source for hit in found} == paths
        assert all(hit.source == encode_path(hit.unit.source) for hit in found)
        for hit in found:
            assert hit.item() == {"image": hit.unit.source}
            assert hit.image().size == (64, 64)
        page = found.to_html(tmp_path / "page.html")
        for shown in (page, repr(found), (tmp_path / "page.html").read_text(encoding="utf-8")):
            assert "caf\N{REPLACEMENT CHARACTER}.png" in shown
            assert "\x1b" not in shown
            assert "\u202e" not in shown
        failures = index.stats().failures
        assert [decode_path(failure["source"]) for failure in failures] == [broken]
        write_failures(report.failures, tmp_path / "failures.jsonl")
        assert decode_path(json.loads((tmp_path / "failures.jsonl").read_text())["source"]) == broken
        assert index.export_parquet(tmp_path / "units.parquet") == len(NAMES)

        name_file(folder, b"caf\xe9.png").unlink()
        name_file(folder, b"file:x.png").unlink()
        assert index.sync(folder).removed_files == 2
        assert len(index) == len(NAMES) - 2
        gone = name_file(folder, NAMES[1])
        assert index.delete({"source": encode_path(gone)}) == 1
        assert index.delete({"source": str(name_file(folder, NAMES[2]))}) == 1
        assert index.delete({"source": {"$in": [name_file(folder, NAMES[3])]}}) == 1
    import_store(tmp_path / "units.parquet", tmp_path / "taken", short_dimensions=32)
    with MultimodalIndex.open(tmp_path / "taken", small_embedder) as taken:
        assert {hit.unit.source for hit in taken.search("red", k=len(NAMES))} == paths


@needs_bytes
def test_items_in_memory_that_name_such_a_file_are_kept_and_opened(tmp_path, small_embedder):
    folder = draw_names(tmp_path / "files")
    path = name_file(folder, NAMES[0])
    with MultimodalIndex.open(tmp_path / "store", small_embedder) as index:
        index.add([{"image": str(path), "text": "a café"}, {"image": path}])
        for hit in index.search("a café", k=2):
            assert hit.image().size == (64, 64)


@needs_bytes
def test_the_folder_itself_may_have_such_a_name_and_a_sibling_of_longer_name_is_left_alone(tmp_path, small_embedder):
    mine, other = draw_names(tmp_path / os.fsdecode(b"o\xfc")), draw_names(tmp_path / os.fsdecode(b"o\xfc2"))
    with MultimodalIndex.open(tmp_path / "store", small_embedder) as index:
        index.add([mine, other])
        shutil.rmtree(mine)
        mine.mkdir()
        assert index.sync(mine).removed_files == len(NAMES)
        assert len(index) == len(NAMES)


@needs_bytes
def test_metadata_of_units_make_the_same_items_again(tmp_path):
    folder = draw_names(tmp_path / "files")
    for name in NAMES:
        path = name_file(folder, name)
        [unit] = read_units(path, MediaPolicy())
        metadata = json.loads(json.dumps(describe_unit(unit)).encode("utf-8"))
        assert metadata["mime_type"] == "image/png"
        item = build_item("", metadata)
        assert open_source(item["image"], MediaPolicy()) == path


@needs_bytes
def test_the_command_line_indexes_searches_and_prints_such_names(tmp_path):
    folder = draw_names(tmp_path / "files")
    name_file(folder, b"broken\xe9.png").write_bytes(b"no picture")
    store = tmp_path / "store"
    made = run("index", folder, "--to", store, "--model", "pocket", "--json")
    assert made.exit_code == 0, made.output
    document = json.loads(made.stdout_bytes)
    assert document["added_files"] == len(NAMES)
    assert decode_path(document["failures"][0]["source"]) == name_file(folder, b"broken\xe9.png")
    command = ("search", store, "red", "--reranker", "none", "--k", len(NAMES))
    found = json.loads(run(*command, "--json").stdout_bytes)["results"]
    assert {decode_path(one["source"]) for one in found} == {name_file(folder, name) for name in NAMES}
    # A long name goes over several lines of the table.
    assert "caf\N{REPLACEMENT CHARACTER}.png" in re.sub(r"[\s│]", "", run(*command).stdout)
    stats = run("stats", store)
    assert "broken\N{REPLACEMENT CHARACTER}.png" in stats.stderr
    assert json.loads(run("stats", store, "--json").stdout_bytes)["files"] == len(NAMES)
    gone = json.dumps({"source": encode_path(name_file(folder, NAMES[0]))})
    assert "1 units removed" in run("delete", store, "--where", gone).stdout
    searched = run("search", folder, "red", "--model", "pocket", "--reranker", "none", "--json")
    names = {decode_path(one["source"]) for one in json.loads(searched.stdout_bytes)["results"]}
    assert {folder / name for name in names} <= {name_file(folder, name) for name in NAMES}
    assert "\N{REPLACEMENT CHARACTER}" in run("search", folder, "red", "--model", "pocket", "--reranker", "none").stdout


def test_a_path_of_characters_that_no_file_has_is_a_failure_and_the_rest_is_added(tmp_path, small_embedder):
    with MultimodalIndex.open(tmp_path / "store", small_embedder) as index:
        report = index.add([Path("/data/\ud800.png"), Path("/data/null\0.png"), Path("n" * 5000 + ".png"), "a text"])
        assert len(report.failures) == 3
        assert len(index) == 1
        assert all(len(str(failure.error)) < 500 for failure in report.failures)
        assert all(failure["source"].encode("utf-8") for failure in index.stats().failures)


def test_a_path_is_no_item_of_an_array_by_accident():
    assert np.asarray([Path("a.png")]).dtype == object
