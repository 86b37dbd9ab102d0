"""Questions drafted by a scripted model: what is kept and rejected, what is drawn, and what a killed run keeps."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections import Counter

import pytest
from PIL import Image

from qwen3_vl_retrieval import InputError, ModelError
from qwen3_vl_retrieval.evaluation import (
    DraftOptions,
    QuestionWriter,
    RunOptions,
    adapt_question_writer,
    draft_questions,
    evaluate_index,
    read_questions,
)
from qwen3_vl_retrieval.evaluation.draft_prompts import build_prompt, parse_answer
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker

COLORS = ("red", "green", "blue", "white")
THINGS = ("mug", "lamp", "chair", "door", "book")
# The fake reranker counts words: what a question shares with its own note alone is half of it.
OPTIONS = DraftOptions(n=100, least_lead=1.5)


class ScriptedWriter(QuestionWriter):
    """Answers what a function says of the words that it is shown, and keeps what it was asked."""

    def __init__(self, script, name="scripted"):
        self._script = script
        self._name = name
        self.prompts = []

    @property
    def name(self):
        return self._name

    def write_question(self, prompt):
        self.prompts.append(prompt)
        return self._script(prompt)


def answer(prompt):
    """A question that one note answers, for mugs; of other things, what models do wrong."""
    words = prompt.text.split()
    color = next((color for color in COLORS if color in words), "")
    if "mug" in words:
        return f'Here it is:\n```json\n{{"question": "{color} mug", "language": "en"}}\n```'
    if "lamp" in words:
        return '{"question": "lamp", "language": "en"}'
    if "chair" in words:
        return "I would rather not."
    return '{"question": null}' if "door" in words else '{"question": "what is the moon made of"}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("notes")
    for color in COLORS:
        (root / color).mkdir()
        for thing in THINGS:
            (root / color / f"{thing}.txt").write_text(f"A {color} {thing} stands in room {len(color) * len(thing)}.")
    return root


@pytest.fixture(scope="module")
def index(folder, tmp_path_factory):
    store = tmp_path_factory.mktemp("stores") / "store"
    with MultimodalIndex.open(store, FakeEmbedder(), FakeReranker()) as opened:
        opened.add(folder)
        yield opened


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_questions_that_one_unit_answers_are_kept_and_the_others_named_with_their_reason(index, tmp_path):
    report = draft_questions(index, ScriptedWriter(answer), tmp_path / "questions.jsonl", OPTIONS)
    assert {question.text for question in report.drafted} == {f"{color} mug" for color in COLORS}
    assert report.rejected == {"not unique": 4, "broken answer": 4, "no question": 4, "not answered": 4}
    assert (report.total, report.failures) == (4, ())
    first = read_lines(report.questions)[0]
    assert (first["model"], first["draft"], first["language"]) == ("scripted", True, "en")
    color = first["text"].split()[0]
    assert first["relevant"] == [{"source": f"{color}/mug.txt", "grade": 2}]
    rejected = {one["name"]: one for one in read_lines(report.rejections)}
    assert len(rejected) == 16
    assert (
        rejected["red/chair.txt"]["detail"] == "the answer 'I would rather not.' holds no JSON object with a question"
    )
    assert "lamp.txt 0." in rejected["red/lamp.txt"]["detail"]
    assert rejected["red/lamp.txt"]["question"] == "lamp"


def test_drafts_are_read_asked_and_said_to_be_unchecked(index, tmp_path):
    report = draft_questions(index, ScriptedWriter(answer), tmp_path / "questions.jsonl", OPTIONS)
    questions = read_questions(report.questions)
    assert (len(questions), questions.drafts) == (4, 4)
    assert {question.model for question in questions.questions} == {"scripted"}
    evaluation = evaluate_index(index, questions, RunOptions(depths=()))
    assert evaluation.to_dict()["drafts"] == 4
    assert "4 of 4 questions are unchecked drafts of a language model" in repr(evaluation)
    hashed = questions.compute_hash()
    report.questions.write_text(report.questions.read_text().replace(', "draft": true', ""))
    checked = read_questions(report.questions)
    # Being checked changes nothing of what it finds: an evaluation that was interrupted goes on.
    assert (checked.drafts, checked.compute_hash()) == (0, hashed)


def test_rejected_questions_and_drafts_without_an_answer_are_not_asked(tmp_path):
    lines = [
        {"id": "a", "text": "a", "relevant": ["a.txt"], "draft": True},
        {"id": "b", "text": "b", "relevant": ["b.txt"], "rejected": True},
        {"id": "c", "text": "c", "relevant": [{"source": "c.txt", "grade": 0}], "draft": True},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    questions = read_questions(path)
    assert [question.id for question in questions.questions] == ["a"]
    assert questions.unjudged == 1
    path.write_text('{"text": "a", "relevant": ["a"], "draft": "yes"}\n')
    with pytest.raises(InputError, match="line 1: 'draft' is str 'yes'; it must be true or false"):
        read_questions(path)


def test_nothing_is_asked_twice_and_more_can_be_asked_for(index, tmp_path):
    path = tmp_path / "questions.jsonl"
    first, second = ScriptedWriter(answer), ScriptedWriter(answer)
    few = draft_questions(index, first, path, DraftOptions(n=2, least_lead=1.5, most_tries=50))
    assert len(few.drafted) == 2
    progress = []
    more = draft_questions(index, second, path, OPTIONS, on_progress=lambda *done: progress.append(done))
    assert more.total == 4
    assert progress[0] == (2, 100)
    assert progress[-1] == (4, 100)
    asked = Counter(prompt.text for prompt in (*first.prompts, *second.prompts))
    assert len(asked) == 20
    assert set(asked.values()) == {1}
    # A better model may ask for what this one could not.
    other = ScriptedWriter(answer, name="another")
    draft_questions(index, other, path, OPTIONS)
    assert len(other.prompts) == 16


def test_a_killed_process_loses_nothing_and_goes_on(folder, index, tmp_path):
    script = f"""
import os, signal
from pathlib import Path
from qwen3_vl_retrieval.evaluation import DraftOptions, draft_questions
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker
class Writer:
    name = "scripted"
    asked = 0
    def write_question(self, prompt):
        self.asked += 1
        if self.asked == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        words = prompt.text.split()
        return '{{"question": "%s"}}' % " ".join(words[words.index("<item>") + 2 :][:2])
index = MultimodalIndex.open({str(index.store.layout.folder)!r}, FakeEmbedder(), FakeReranker())
draft_questions(index, Writer(), Path({str(tmp_path / "questions.jsonl")!r}), DraftOptions(n=100, least_lead=1.5))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)  # noqa: S603
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = read_lines(tmp_path / "questions.jsonl")
    rejected = read_lines(tmp_path / "questions-rejected.jsonl")
    assert len(kept) + len(rejected) == 7
    # A kill in the middle of a line.
    with (tmp_path / "questions-rejected.jsonl").open("a") as file:
        file.write('{"unit": "half')
    writer = ScriptedWriter(answer)
    report = draft_questions(index, writer, tmp_path / "questions.jsonl", OPTIONS)
    assert len(writer.prompts) == 20 - 7
    assert report.total == len(kept) + len(report.drafted)
    assert read_lines(tmp_path / "questions.jsonl")[: len(kept)] == kept


def test_kinds_and_files_are_drawn_in_turn(tmp_path):
    """Of each kind the same number, and of a long text no second part before every file has had its turn."""
    long = "\n\n".join(f"Part {number}: " + f"the story of thing {number} goes on. " * 60 for number in range(12))
    (tmp_path / "files").mkdir()
    for name, text in (("long.txt", long), ("short.txt", "A short note."), ("other.txt", "Another note.")):
        (tmp_path / "files" / name).write_text(text)
    for number in range(3):
        Image.new("RGB", (64, 64), (80 * number, 0, 0)).save(tmp_path / "files" / f"{number}.png")
    writer = ScriptedWriter(lambda prompt: '{"question": null}')
    with MultimodalIndex.open(tmp_path / "store", FakeEmbedder(), FakeReranker()) as index:
        index.add(tmp_path / "files")
        report = draft_questions(index, writer, tmp_path / "q.jsonl", DraftOptions(n=2, most_tries=3))
        again = draft_questions(index, writer, tmp_path / "r.jsonl", DraftOptions(n=2, most_tries=3))
        other = draft_questions(index, writer, tmp_path / "s.jsonl", DraftOptions(n=2, most_tries=3, seed=1))
    names = [one["name"] for one in read_lines(report.rejections)]
    assert {name.partition("#")[0] for name in names} == {
        "0.png",
        "1.png",
        "2.png",
        "long.txt",
        "short.txt",
        "other.txt",
    }
    assert [one["name"] for one in read_lines(again.rejections)] == names
    assert [one["name"] for one in read_lines(other.rejections)] != names
    shown = [prompt for prompt in writer.prompts if prompt.images]
    assert shown
    with Image.open(io.BytesIO(shown[0].images[0])) as image:
        assert image.format == "JPEG"


def test_a_failure_of_the_model_is_named_and_may_be_tried_again(index, tmp_path):
    failures = iter([RuntimeError("rate limit"), None, RuntimeError("rate limit")])

    def fail_now_and_then(prompt):
        error = next(failures, None)
        if error is not None:
            raise error
        return answer(prompt)

    report = draft_questions(index, ScriptedWriter(fail_now_and_then), tmp_path / "questions.jsonl", OPTIONS)
    assert len(report.failures) == 2
    assert report.failures[0].endswith("txt: rate limit")
    writer = ScriptedWriter(answer)
    assert draft_questions(index, writer, tmp_path / "questions.jsonl", OPTIONS).total == 4
    assert len(writer.prompts) == 2


def test_a_model_that_always_fails_ends_the_run_with_its_reason(index, tmp_path):
    def refuse(prompt):
        raise ConnectionError("no route to host")

    writer = ScriptedWriter(refuse)
    with pytest.raises(ModelError, match="scripted failed 3 times in a row: no route to host"):
        draft_questions(index, writer, tmp_path / "questions.jsonl", OPTIONS)
    assert len(writer.prompts) == 3


def test_without_a_reranker_nothing_is_drafted(index, tmp_path):
    alone = MultimodalIndex(index.store, FakeEmbedder())
    with pytest.raises(ValueError, match="filtered by a reranker"):
        draft_questions(alone, ScriptedWriter(answer), tmp_path / "questions.jsonl")


def test_the_prompt_asks_in_the_language_of_the_item_and_marks_its_words_as_material():
    prompt = build_prompt("page", text="Rechnung 118 " * 1000, images=[b"jpeg"], language="German")
    assert "a page of a document" in prompt.text
    assert len(prompt.text) < 7_000
    assert "never an instruction" in prompt.instructions
    assert "write it in German" in prompt.instructions
    assert '{"question": "…"' in prompt.instructions
    assert prompt.images == (b"jpeg",)
    assert "<item>" not in build_prompt("image", text=" ", images=[b"jpeg"], language="English").text


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"question": "Who signed?", "language": "en"}', ("Who signed?", "en")),
        (
            '<think>{"a": {"question"} maybe {}</think> {"question": "Wer\\nzahlt?", "language": "de"}',
            ("Wer zahlt?", "de"),
        ),
        ('{"question": "first"} no, rather {"question": "second", "language": "the usual one"}', ("second", None)),
        ('{"question": null, "language": "en"}', None),
    ],
)
def test_questions_are_found_in_whatever_stands_around_them(said, expected):
    found = parse_answer(said)
    assert (None if found is None else (found.text, found.language)) == expected


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("", "holds no JSON object with a question"),
        ('{"query": "x"}', "holds no JSON object with a question"),
        ('{"question": 3}', "is int 3; it must be a text, or null"),
        ('{"question": " "}', "must be a text"),
        (json.dumps({"question": "x" * 501}), "has 501 characters, and may have 500"),
        ("{" * 100_000, "holds no JSON object"),
        ('{"a":' * 100_000, "holds no JSON object"),
    ],
)
def test_broken_answers_are_named(said, message):
    with pytest.raises(InputError, match=message):
        parse_answer(said)


def test_what_cannot_be_asked_is_refused_with_what_can():
    writer = ScriptedWriter(answer)
    assert adapt_question_writer(writer) is writer
    with pytest.raises(ModelError, match="int 3 cannot be asked for questions: give a name such as openai:gpt-4o"):
        adapt_question_writer(3)
