"""`qwen3vl eval` on a data set, on an index and on two, with the pocket models; and the page that it writes."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import time
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


def test_a_question_that_could_not_be_asked_shows_its_answer_without_scores(measured, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "asked.jsonl").write_text('{"image": "broken.png", "relevant": ["10"]}\n')
    command = ("eval", measured / "store", "--questions", tmp_path / "asked.jsonl", *QUICK)
    result = run(*command, "--report", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    (worst,) = (tmp_path / "page.html").read_text().split("worst question 1")[1:]
    assert "The question could not be asked" in worst
    assert "Should have come" in worst
    assert "cosine" not in worst
    assert "candidates" not in worst


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


@pytest.fixture
def many_questions(tmp_path):
    path = tmp_path / "many.jsonl"
    asked = [{"id": f"q{place}", "text": f"a red mug for {place}", "relevant": ["10"]} for place in range(12)]
    path.write_text("".join(f"{json.dumps(one)}\n" for one in asked))
    return path


def wait_for_lines(folder, count):
    """Waits until the working file of a run in a folder has so many lines."""
    for _ in range(12_000):
        if any(path.read_bytes().count(b"\n") >= count for path in folder.glob("evaluation-*.jsonl")):
            return
        time.sleep(0.01)
    raise AssertionError("nothing is asked")


def test_a_command_that_was_killed_goes_on_without_asking_anything_again(
    measured, many_questions, tmp_path, monkeypatch
):
    store = tmp_path / "store"
    shutil.copytree(measured / "store", store)
    command = ("eval", str(store), "--questions", str(many_questions), *QUICK)
    begun = [sys.executable, "-c", "from qwen3_vl_retrieval.cli import app; app()", *command]
    with subprocess.Popen(begun, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - our own
        wait_for_lines(store, 5)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    (kept,) = store.glob("evaluation-*.jsonl")
    # The first line says what is run.
    done = kept.read_bytes().count(b"\n") - 1
    assert 4 <= done < 12
    asked = []
    add = WorkingFile.add
    monkeypatch.setattr(WorkingFile, "add", lambda self, one: (asked.append(one.question_id), add(self, one)))
    resumed = run(*command, "--json", tmp_path / "all.json")
    assert resumed.exit_code == 0, resumed.output
    assert f"{done} of 12 questions were asked before" in resumed.output
    assert asked == [f"q{place}" for place in range(done, 12)]
    assert len(json.loads((tmp_path / "all.json").read_text())["per_question"]) == 12
    assert list(store.glob("evaluation-*")) == []


def test_a_folder_of_beir_and_files_of_trec_give_the_same_numbers(tmp_path):
    root = tmp_path / "notes"
    (root / "qrels").mkdir(parents=True)
    corpus = {"d1": ("Lamp", "A green lamp."), "d2": ("", "A red mug."), "d3": ("Chair", "A blue chair of wood.")}
    asked = {"q1": "something to drink from", "q2": "light", "q3": "furniture"}
    judged = [("q1", "d2", 1), ("q2", "d1", 2), ("q3", "d3", 1), ("q3", "d1", 1)]
    lines = [json.dumps({"_id": name, "title": title, "text": text}) for name, (title, text) in corpus.items()]
    (root / "corpus.jsonl").write_text("\n".join(lines))
    (root / "queries.jsonl").write_text("\n".join(json.dumps({"_id": one, "text": asked[one]}) for one in asked))
    rows = [f"{question}\t{document}\t{grade}" for question, document, grade in judged]
    (root / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    outputs = [tmp_path / "beir.json", tmp_path / "trec.json"]
    command = ("eval", "--dataset", root, "--to", tmp_path / "store", "--model", "pocket", *QUICK)
    filled = run(*command, "--json", outputs[0])
    assert filled.exit_code == 0, filled.output
    (tmp_path / "topics.tsv").write_text("\n".join(f"{name}\t{text}" for name, text in asked.items()))
    (tmp_path / "judged.qrels").write_text("\n".join(f"{one} 0 {other} {grade}" for one, other, grade in judged))
    files = ("--questions", tmp_path / "topics.tsv", "--qrels", tmp_path / "judged.qrels")
    again = run("eval", tmp_path / "store", *files, *QUICK, "--json", outputs[1])
    assert again.exit_code == 0, again.output
    beir, trec = (json.loads(path.read_text()) for path in outputs)
    assert beir["dataset"]["entries"] == beir["dataset"]["embedded_units"] == 3
    assert beir["stages"] == trec["stages"]
    assert beir["per_question"] == trec["per_question"]
    assert beir["stages"]["first"]["recall@10"] == 1.0


def test_indexes_with_vectors_of_different_lengths_are_compared(measured, dataset, tmp_path):
    short = tmp_path / "short"
    command = ("eval", "--dataset", dataset, "--to", short, "--model", "pocket", "--dimensions", 32, *QUICK)
    filled = run(*command, "--json", tmp_path / "short.json")
    assert filled.exit_code == 0, filled.output
    both = ("eval", measured / "store", short, "--questions", dataset, "--allow-unknown", *QUICK)
    compared = run(*both, "--json", tmp_path / "both.json", "--report", tmp_path / "page.html")
    assert compared.exit_code == 0, compared.output
    document = json.loads((tmp_path / "both.json").read_text())
    assert [document[one]["fingerprint"]["dimensions"] for one in "ab"] == [192, 32]
    assert document["b"]["stages"] == json.loads((tmp_path / "short.json").read_text())["stages"]
    found = document["comparison"]["first"]["ndcg@10"]["difference"]
    means = [document[one]["stages"]["first"]["ndcg@10"] for one in "ab"]
    assert found == pytest.approx(means[1] - means[0])
    assert {path.name for path in tmp_path.glob("*.html")} == {"page-a.html", "page-b.html"}


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
