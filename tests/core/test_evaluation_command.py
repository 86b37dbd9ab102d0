"""`qwen3vl eval` on a data set, on an index and on two, with the pocket models; and the page that it writes."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from typer.testing import CliRunner

from qwen3_vl_retrieval import InputError, Qwen3VLEmbedder
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.evaluation import index_dataset
from qwen3_vl_retrieval.evaluation.question_runs import WorkingFile
from qwen3_vl_retrieval.index import MultimodalIndex

LIBRARY = Path(__file__).parents[1] / "data" / "library"

QUICK = ("--reranker", "pocket", "--max-pixels", "16384", "--depths", "none", "--fetch-k", "10")


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def encode(path):
    stream = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").resize((96, 96)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Products as ViDoRe publishes pages; two entries are the same image, and one is none."""
    root = tmp_path_factory.mktemp("sets") / "products"
    images = [encode(LIBRARY / "products" / name) for name in ("red-mug.png", "green-lamp.png", "blue-chair.jpg")]
    images += [images[0], b"no image"]
    parts = {
        "corpus": {"corpus-id": [10, 11, 12, 13, 14], "image": [{"bytes": one, "path": None} for one in images]},
        "queries": {"query-id": [1, 2, 3], "query": ["a red mug", "a green lamp", "a blue chair"]},
        "qrels": {"query-id": [1, 1, 2, 3, 3], "corpus-id": [10, 13, 11, 12, 14], "score": [1, 1, 1, 2, 1]},
    }
    for part, columns in parts.items():
        (root / part).mkdir(parents=True)
        pyarrow.parquet.write_table(pyarrow.table(columns), root / part / "test-0.parquet")
    return root


@pytest.fixture(scope="module")
def measured(dataset, tmp_path_factory):
    """The folder of an index that one command filled and measured."""
    folder = tmp_path_factory.mktemp("measured")
    outputs = ("--json", folder / "all.json", "--run", folder / "run", "--report", folder / "report.html")
    result = run("eval", "--dataset", dataset, "--to", folder / "store", "--model", "pocket", *QUICK, *outputs)
    assert result.exit_code == 0, result.output
    assert "ndcg@10" in result.stdout
    assert "entry 14" in result.stdout
    return folder


def test_a_data_set_is_indexed_and_measured_by_one_command(measured):
    document = json.loads((measured / "all.json").read_text())
    assert set(document["stages"]) == {"first", "reranked"}
    assert document["dataset"]["entries"] == 5
    assert document["dataset"]["shared_entries"] == 1
    assert list(document["dataset"]["failures"]) == ["14"]
    assert len(document["unknown"]) == 1
    # Both entries of one image are found with it; of two answers of the chair one could not be read.
    assert document["per_question"]["1"]["reranked"]["recall@10"] == 1.0
    assert document["per_question"]["3"]["reranked"]["recall@10"] == 0.5
    found = {line.split()[2] for line in (measured / "run.reranked.trec").read_text().splitlines()}
    assert found == {"10", "11", "12", "13"}
    assert list(measured.glob("store/evaluation-*")) == []


def test_the_report_shows_plots_and_what_should_have_come(measured):
    page = (measured / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "Should have come" in page
    assert "var(--accent)" in page
    # Nothing is fetched, and nothing runs.
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_two_indexes_are_compared(measured, dataset, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(measured / "store", other)
    command = ("eval", measured / "store", other, "--questions", dataset, "--allow-unknown", *QUICK)
    result = run(*command, "--json", tmp_path / "both.json", "--run", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "no difference can be shown with 3 questions; their means are equal" in result.stdout
    document = json.loads((tmp_path / "both.json").read_text())
    assert set(document) == {"a", "b", "comparison"}
    assert document["comparison"]["reranked"]["ndcg@10"]["is_shown"] is False
    assert (tmp_path / "run-b.first.trec").is_file()


def test_a_threshold_is_used_by_what_it_means(measured):
    # Seven wrong candidates show no rate of one in ten.
    command = ("search", measured / "store", "a red mug", "--reranker", "pocket", "--json", "--threshold")
    found = run(*command, "probability=0.5")
    assert found.exit_code == 0, found.output
    assert len(json.loads(found.stdout)["results"]) < 3
    refused = run(*command, "fpr=0.1")
    assert refused.exit_code == 2
    assert "was not measured" in " ".join(refused.output.split())


def test_an_interrupted_command_goes_on(measured, dataset, monkeypatch):
    asked = []
    add = WorkingFile.add

    def add_and_stop(self, done):
        add(self, done)
        asked.append(done.question_id)
        if len(asked) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(WorkingFile, "add", add_and_stop)
    command = ("eval", measured / "store", "--questions", dataset, "--allow-unknown", *QUICK)
    stopped = run(*command)
    assert stopped.exit_code == 130
    assert "What was judged is kept" in stopped.output
    resumed = run(*command)
    assert resumed.exit_code == 0, resumed.output
    assert "2 of 3 questions were asked before" in resumed.output
    assert asked == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["STORE"], "give an index and --questions, or --dataset and --to"),
        (["--dataset", "SET"], "--dataset and --to belong together"),
        (["STORE", "--dataset", "SET", "--to", "STORE"], "has its own questions and index"),
        (["STORE", "STORE", "STORE", "--questions", "SET"], "3 indexes were given"),
        (["STORE", "--questions", "SET", "--depths", "few"], "give numbers such as 5,10,20,50, or none"),
        (["STORE", "--questions", "SET"], "names 1 source that the index does not hold"),
    ],
)
def test_what_cannot_be_measured_is_a_usage_error(measured, dataset, arguments, message):
    names = {"STORE": str(measured / "store"), "SET": str(dataset)}
    result = run("eval", *(names.get(argument, argument) for argument in arguments), "--reranker", "pocket")
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_a_corpus_with_an_id_twice_or_without_entries_is_refused(tmp_path):
    embedder = Qwen3VLEmbedder.from_pretrained("pocket")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "queries.jsonl").write_text('{"_id": "q", "text": "a"}\n')
    corpus = tmp_path / "set" / "corpus.jsonl"
    with MultimodalIndex.open(tmp_path / "store", embedder) as index:
        corpus.write_text('{"_id": "d", "text": "a"}\n{"_id": "d", "text": "b"}\n')
        with pytest.raises(InputError, match=r"corpus.jsonl, line 2: the id 'd' is that of another entry"):
            index_dataset(index, tmp_path / "set")
        corpus.write_text("\n")
        with pytest.raises(InputError, match="the corpus of set holds no entries"):
            index_dataset(index, tmp_path / "set")
        corpus.write_text('{"_id": "d", "text": "a"}\n{"_id": "e", "text": "b"}\n')
        assert index_dataset(index, tmp_path / "set").embedded_units == 2
        assert index_dataset(index, tmp_path / "set").embedded_units == 0
        with pytest.raises(ValueError, match="metadata is a list of 1, and there are 2"):
            index.add(["a", "b"], metadata=[{"x": 1}])
