"""`qwen3vl eval draft` and `label` beside `qwen3vl eval`, with the pocket models and a scripted language model."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.evaluation.question_file import name_question_file
from qwen3_vl_retrieval.server import listening

QUICK = ("--reranker", "pocket")
# Of the world that the pocket models know: each note, and the question that it answers.
NOTES = {
    "A black circle is to the left of a purple square.": "Which image shows a black circle left of a purple square?",
    "line chart: maximum 84, drawn in green, subject energy, highest in Q2": (
        "Find a line chart in green about energy with the value 84 and its peak in Q2"
    ),
    "We sell a pink cross made by Delta for 61.": "Find a pink cross to buy from Delta for 61",
}
MODELS = f"""
NOTES = {NOTES!r}
class Writer:
    name = "scripted"
    def write_question(self, prompt):
        note = prompt.text.split("<item>")[1].split("</item>")[0].strip()
        return '{{"question": "%s", "language": "en"}}' % NOTES[note]
def make():
    return Writer()
broken = 3
"""


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def read_output(result):
    return " ".join(result.output.replace("│", " ").split())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drafted")
    (folder / "notes").mkdir()
    for number, text in enumerate(NOTES):
        (folder / "notes" / f"{number}.txt").write_text(text)
    result = run("index", folder / "notes", "--to", folder / "store", "--model", "pocket")
    assert result.exit_code == 0, result.output
    (folder / "scripted_models.py").write_text(MODELS)
    return folder


@pytest.fixture
def store(built, tmp_path, monkeypatch):
    monkeypatch.chdir(built)
    shutil.copytree(built / "store", tmp_path / "draft")
    return tmp_path / "draft"


def test_questions_are_drafted_measured_with_a_warning_and_asked_for_once(store):
    command = ("eval", "draft", store, "--n", 2, "--llm-from", "scripted_models:make", *QUICK)
    drafted = run(*command)
    assert drafted.exit_code == 0, drafted.output
    assert "2 questions drafted" in drafted.stdout
    assert "qwen3vl eval label" in drafted.stdout
    path = name_question_file(store)
    assert path == store.with_name("draft-questions.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["text"] for line in lines} <= set(NOTES.values())
    assert all(line["draft"] is True and line["model"] == "scripted" for line in lines)
    again = run(*command)
    assert "0 questions drafted, 0 units without one; 2 of 2 are there" in again.stdout
    out = store.with_name("all.json")
    measured = run("eval", store, "--questions", path, "--depths", "none", "--json", out, *QUICK)
    assert measured.exit_code == 0, measured.output
    assert "2 of 2 questions are unchecked drafts of a language model" in " ".join(measured.stdout.split())
    assert json.loads(out.read_text())["drafts"] == 2


def test_help_of_eval_names_the_commands_below_and_each_has_its_own():
    plain, draft, label = (read_output(run("eval", *below, "--help")) for below in ((), ("draft",), ("label",)))
    assert "Usage: qwen3vl eval [OPTIONS] [STORE]..." in plain.replace("root", "qwen3vl")
    assert "--questions" in plain
    assert "eval draft STORE" in plain
    assert "./draft or ./label" in plain
    assert "--llm-from" in draft
    assert "--port" in label
    assert "--dataset" not in draft + label


def test_a_store_that_is_called_like_a_command_is_measured_by_its_path(store, monkeypatch):
    monkeypatch.chdir(store.parent)
    (store.parent / "questions.jsonl").write_text('{"text": "a pink cross", "relevant": ["2.txt"]}\n')
    measured = run("eval", "./draft", "--questions", "questions.jsonl", "--depths", "none", *QUICK)
    assert measured.exit_code == 0, measured.output
    assert "ndcg@10" in measured.stdout
    (store.parent / "measure").mkdir()
    refused = read_output(run("eval", "measure"))
    assert "give an index and --questions, or --dataset and --to" in refused


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "give the language model: --llm PROVIDER:MODEL, or --llm-from MODULE:NAME"),
        (("--llm", "a:b", "--llm-from", "a:b"), 2, "give the language model"),
        (("--llm-from", "scripted_models:make", "--reranker", "none"), 2, "filtered by a reranker"),
        (("--llm-from", "scripted_models"), 1, "'scripted_models' names no object; give module:name"),
        (("--llm-from", "no_such_module:llm"), 1, "cannot be imported: ModuleNotFoundError: No module named"),
        (("--llm-from", "scripted_models:nothing"), 1, "has no attribute 'nothing'"),
        (("--llm-from", "scripted_models:broken"), 1, "int 3 cannot be asked for questions"),
        (("--llm", "nowhere:model"), 1, "the chat model 'nowhere:model' cannot be made"),
    ],
)
def test_a_model_that_cannot_be_asked_is_named(store, arguments, status, message):
    result = run("eval", "draft", store, *arguments)
    assert result.exit_code == status, result.output
    assert message in read_output(result)
    assert not name_question_file(store).exists()


def test_the_page_listens_on_this_machine_and_says_where_it_saves(store, monkeypatch):
    served = {}
    monkeypatch.setattr(listening, "listen", lambda app, **options: served.update(options, app=app))
    result = run("eval", "label", store, "--port", 0, *QUICK)
    assert result.exit_code == 0, result.output
    assert (served["host"], served["port"]) == ("127.0.0.1", 0)
    assert "draft-questions.jsonl" in read_output(result).replace(" ", "")
    assert "/v1/label/judge" in served["app"].openapi()["paths"]
