"""`qwen3vl search` on real files, with the reference checkpoints."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from qwen3_vl_retrieval.cli import app

LIBRARY = Path(__file__).parents[1] / "data" / "library"
CHECKPOINTS = Path(__file__).parent / "reference" / "checkpoints"
MODELS = (
    *("--model", str(CHECKPOINTS / "embedding"), "--reranker", str(CHECKPOINTS / "reranker")),
    *("--dtype", "float32", "--device", "cpu", "--max-pixels", "4096"),
)


def search(*arguments):
    return CliRunner().invoke(app, ["search", *map(str, arguments)])


def run(command, *, timeout_seconds):
    return subprocess.run(command, capture_output=True, timeout=timeout_seconds, check=False)  # noqa: S603 - our own


def make_broken_files(folder):
    picture = folder / "broken-picture.png"
    Image.effect_noise((64, 64), 40).save(picture)
    picture.write_bytes(picture.read_bytes()[:-600])
    (folder / "broken-paper.pdf").write_bytes(b"")
    (folder / "broken-clip.mp4").write_text("this is no clip")
    return ["broken-clip.mp4", "broken-paper.pdf", "broken-picture.png"]


@pytest.fixture
def small_folder(tmp_path):
    for name in ("notes/price-list.csv", "products/red-mug.png", "clips/parking-camera.mp4"):
        shutil.copy(LIBRARY / name, tmp_path)
    return tmp_path


def test_the_shipped_library_is_searched_in_both_stages():
    result = search(LIBRARY, "a red mug", *MODELS, "--json", "--k", 29)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert list(document) == ["query", "models", "counts", "results", "errors", "skipped", "timings"]
    assert document["query"] == {"text": "a red mug", "image": None}
    assert document["models"] == {"embedding": MODELS[1], "reranker": MODELS[3]}
    assert document["counts"] == {"files": 24, "units": 29, "ranked_files": 24, "failed": 0, "skipped": 0, "hidden": 0}
    assert document["errors"] == []
    results = document["results"]
    assert [found["rank"] for found in results] == list(range(1, 30))
    relevance = [found["relevance_score"] for found in results]
    assert relevance == sorted(relevance, reverse=True)
    assert all(-1.001 <= found["similarity_score"] <= 1.001 for found in results)
    assert all(isinstance(seconds, float) and seconds >= 0 for seconds in document["timings"].values())
    windows = sorted((found["start"], found["end"]) for found in results if "parking" in found["source"])
    assert windows == [(0.0, 30.0), (25.0, 55.0), (50.0, 64.0)]
    assert sorted(found["page"] for found in results if found["source"] == "papers/invoice-2024-118.pdf") == [1, 2, 3]
    texts = {found["source"]: found["text"] for found in results if found["media_type"] == "text"}
    assert texts["notes/kitchen-rules.txt"].startswith("Kitchen rules 1. The orange kettle")


def test_of_sixty_files_with_three_broken_ones_the_others_are_ranked(tmp_path):
    for number in range(37):
        Image.new("RGB", (64, 48), (number * 6, 120, 255 - number * 6)).save(tmp_path / f"picture-{number:02}.png")
    for number in range(20):
        (tmp_path / f"note-{number:02}.txt").write_text(f"Note {number} of the office.")
    broken = make_broken_files(tmp_path)
    result = search(tmp_path, "a blue picture", *MODELS, "--json", "--k", 60, "--fetch-k", 60)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    counts = {"files": 60, "units": 57, "ranked_files": 57, "failed": 3, "skipped": 0, "hidden": 0}
    assert document["counts"] == counts
    assert len({found["source"] for found in document["results"]}) == 57
    assert [error["source"] for error in document["errors"]] == broken
    assert len({error["message"] for error in document["errors"]}) == 3
    assert {error["error"] for error in document["errors"]} == {"MediaError"}


def test_strict_ranks_nothing_when_a_file_is_broken(small_folder):
    broken = make_broken_files(small_folder)
    result = search(small_folder, "a mug", *MODELS, "--json", "--strict")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["results"] == []
    assert document["counts"]["ranked_files"] == 0
    assert [error["source"] for error in document["errors"]] == broken


def test_strict_without_json_prints_the_broken_files_alone(small_folder):
    broken = make_broken_files(small_folder)
    result = search(small_folder, "a mug", *MODELS, "--strict")
    assert result.exit_code == 1
    assert all(name in result.stdout for name in broken)
    assert "red-mug" not in result.stdout


def test_strict_changes_nothing_when_all_files_can_be_read(small_folder):
    result = search(small_folder, "a mug", *MODELS, "--json", "--strict", "--reranker", "none")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["counts"]["ranked_files"] == 3


def test_a_broken_page_is_named_and_the_other_pages_are_ranked(tmp_path):
    content = (LIBRARY / "papers" / "invoice-2024-118.pdf").read_bytes()
    # A page without area; of the same length, so that the table of the file stays true.
    at = content.index(b"[0 0 420 595]", content.index(b"[0 0 420 595]") + 1)
    (tmp_path / "paper.pdf").write_bytes(content[:at] + b"[0 0 9999 2 ]" + content[at + 13 :])
    result = search(tmp_path, "total due", *MODELS, "--json", "--reranker", "none")
    document = json.loads(result.stdout)
    assert sorted(found["page"] for found in document["results"]) == [1, 3]
    assert [(error["source"], error["page"]) for error in document["errors"]] == [("paper.pdf", 2)]


def test_without_a_reranker_results_are_ordered_by_similarity(small_folder):
    # No file holds these words, which would count, too.
    result = search(small_folder, "zebra crossing", *MODELS, "--json", "--reranker", "none", "--k", 2)
    document = json.loads(result.stdout)
    assert document["models"]["reranker"] is None
    first, second = document["results"]
    assert first["keyword_rank"] is None
    assert first["similarity_score"] >= second["similarity_score"]
    assert first["relevance_score"] is None


def test_a_folder_is_filtered_and_shown_on_a_page_as_an_index_is(small_folder, tmp_path_factory):
    page = tmp_path_factory.mktemp("pages") / "page.html"
    where = ("--where", '{"start": {"$gte": 25}}', "--html", page)
    result = search(small_folder, "a mug", *MODELS, "--json", "--reranker", "none", *where)
    assert result.exit_code == 0, result.stderr
    assert sorted(found["start"] for found in json.loads(result.stdout)["results"]) == [25.0, 50.0]
    assert page.read_text(encoding="utf-8").count('<li class="tile">') == 2


def test_results_are_explained_in_json_and_on_a_page(small_folder, tmp_path_factory):
    page = tmp_path_factory.mktemp("pages") / "found.html"
    result = search(small_folder, "the price of a mug", *MODELS, "--explain", "--json", "--html", page)
    assert result.exit_code == 0, result.stderr
    results = json.loads(result.stdout)["results"]
    methods = {found["media_type"]: found["explanation"]["method"] for found in results}
    assert methods == {"text": "words", "image": "occlusion", "video": "occlusion"}
    words = [region["text"] for found in results for region in found["explanation"]["regions"] if "text" in region]
    assert "Mug" in {word.title() for word in words}
    assert page.read_text(encoding="utf-8").count("Why this hit") == len(results)


def test_a_search_leaves_nothing_behind(small_folder, tmp_path_factory, monkeypatch):
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = sorted(small_folder.rglob("*"))
    assert search(small_folder, "a mug", *MODELS, "--json", "--reranker", "none").exit_code == 0
    assert sorted(small_folder.rglob("*")) == before
    assert list(temporary.iterdir()) == []


def test_the_reranker_judges_only_the_nearest(small_folder):
    nearest = search(small_folder, "a mug", *MODELS, "--json", "--reranker", "none", "--k", 2)
    judged = search(small_folder, "a mug", *MODELS, "--json", "--k", 2, "--fetch-k", 2)
    sources = [
        {(found["source"], found["start"]) for found in json.loads(result.stdout)["results"]}
        for result in (nearest, judged)
    ]
    assert sources[0] == sources[1]


def test_an_image_outside_the_folder_may_be_the_query(small_folder):
    picture = LIBRARY / "products" / "red-mug.png"
    result = search(small_folder, "", "--query-image", picture, *MODELS, "--json", "--dimensions", 32)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["query"] == {"text": "", "image": str(picture)}
    assert len(document["results"]) == 5


def test_an_instruction_changes_the_scores(small_folder):
    plain = json.loads(search(small_folder, "a mug", *MODELS, "--json").stdout)
    instructed = json.loads(search(small_folder, "a mug", *MODELS, "--json", "--instruction", "Find prices.").stdout)

    def read_scores(document, key):
        return {(found["source"], found["start"]): found[key] for found in document["results"]}

    for key in ("similarity_score", "relevance_score"):
        assert read_scores(plain, key) != read_scores(instructed, key)


def test_the_table_names_files_windows_and_both_scores(small_folder):
    (small_folder / "archive.zip").write_bytes(b"x")
    make_broken_files(small_folder)
    result = search(small_folder, "a mug", *MODELS)
    assert result.exit_code == 0
    for shown in ("red-mug.png", "00:25-00:55", "Similarity", "Relevance", "3 of 6 files ranked", "1 skipped"):
        assert shown in result.stdout
    assert "broken-clip.mp4" in result.stderr
    assert "broken-clip.mp4" not in result.stdout


def test_a_folder_with_nothing_to_read_is_said_so(tmp_path):
    result = search(tmp_path, "a mug", *MODELS)
    assert result.exit_code == 0
    assert "Nothing to rank" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no-such-folder", "a mug"), "no-such-folder"),
        ((LIBRARY, " "), "query is empty"),
        ((LIBRARY, "a mug", "--k", 10, "--fetch-k", 5), "below --k"),
        ((LIBRARY / "notes", "a mug", *MODELS, "--dimensions", 7), "dimensions"),
        ((LIBRARY / "notes", "a mug", *MODELS, "--query-image", LIBRARY / "notes" / "price-list.csv"), "not an image"),
    ],
)
def test_a_wrong_argument_is_a_usage_error(arguments, message, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    result = search(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stdout == ""


def test_a_model_that_cannot_be_found_is_one_message_and_status_1(small_folder):
    result = search(small_folder, "a mug", "--model", small_folder / "nothing", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.lstrip().startswith("Error: ")
    assert "Traceback" not in result.stderr


def test_the_help_of_the_real_command_needs_no_torch():
    code = (
        "import sys; from qwen3_vl_retrieval.cli import app; app(['--help'], standalone_mode=False); "
        "sys.exit(sorted({'torch', 'transformers', 'av', 'pypdfium2'} & set(sys.modules)) or 0)"
    )
    finished = run([sys.executable, "-c", code], timeout_seconds=60)
    assert finished.returncode == 0, finished.stderr
    assert b"search" in finished.stdout


def test_the_real_command_prints_one_document_on_stdout(small_folder):
    command = Path(sys.executable).with_name("qwen3vl")
    arguments = [str(small_folder), "杯子", *MODELS, "--json", "--reranker", "none"]
    finished = run([str(command), "search", *arguments], timeout_seconds=200)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout.decode("utf-8"))["query"]["text"] == "杯子"
    # What dependencies log at import (torchao does) goes to the same place as our messages, never to stdout.
    assert b"Error" not in finished.stderr
    assert b"Traceback" not in finished.stderr
