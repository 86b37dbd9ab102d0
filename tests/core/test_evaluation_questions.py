"""Questions and judgements in the files that people have, and what is said about broken ones."""

from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet
import pytest

from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.evaluation import read_questions
from qwen3_vl_retrieval.evaluation.readers.files import find_corpus

QUESTION = {"id": "q1", "text": "total due", "relevant": ["a.pdf"]}


@pytest.fixture
def write_lines(tmp_path):
    def write(*lines, name="questions.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return path

    return write


@pytest.fixture
def write_beir(write_lines, tmp_path):
    def write(qrels=("query-id\tcorpus-id\tscore", "q1\td1\t2"), queries=({"_id": "q1", "text": "a mug"},)):
        write_lines(
            {"_id": "d1", "title": "Mugs", "text": "red"}, {"_id": "d2", "text": "blue"}, name="set/corpus.jsonl"
        )
        write_lines(*queries, name="set/queries.jsonl")
        write_lines(*qrels, name="set/qrels/test.tsv")
        return tmp_path / "set"

    return write


@pytest.fixture
def write_parquet(tmp_path):
    def write(**parts):
        given = {
            "corpus": {
                "corpus-id": [7, 8],
                "image": [{"bytes": b"png", "path": "a.png"}, {"bytes": b"x", "path": None}],
            },
            "queries": {"query-id": [1], "query": ["a mug"]},
            "qrels": {"query-id": [1], "corpus-id": [8], "score": [1]},
        }
        for part, columns in (given | parts).items():
            folder = tmp_path / "pages" / part
            folder.mkdir(parents=True)
            pyarrow.parquet.write_table(pyarrow.table(columns), folder / "test-00000-of-00001.parquet")
        return tmp_path / "pages"

    return write


def test_a_file_of_our_own_has_pages_times_grades_languages_and_tags(write_lines):
    path = write_lines(
        {
            "id": "q1",
            "text": "wie viel",
            "language": "de",
            "tags": ["tables"],
            "relevant": [{"source": "a.pdf", "page": 3, "grade": 2}, {"source": "t.mp4", "time": 9.5}, "b.png"],
        },
        "",
        {"text": "what", "relevant": {"source": "v.mp4", "start": 10, "end": 20}},
    )
    first, second = read_questions(path).questions
    assert (first.language, first.tags, second.id) == ("de", ("tables",), "2")
    assert [one.name for one in first.judgements] == ["a.pdf#page=3", "t.mp4#t=9.5,9.5", "b.png"]
    assert [one.grade for one in first.judgements] == [2, 1, 1]
    assert second.judgements[0].name == "v.mp4#t=10,20"


def test_the_image_of_a_question_lies_beside_its_file(write_lines, media):
    (path := write_lines({"image": "mug.png", "text": "in red", "relevant": ["a"]})).with_name("mug.png").write_bytes(
        (media / "rgb_320x240.png").read_bytes()
    )
    (question,) = read_questions(path).questions
    assert question.item == {"image": path.with_name("mug.png"), "text": "in red"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([QUESTION, "{"], "questions.jsonl, line 2: not JSON"),
        (["[1]"], "line 1: .* is no JSON object"),
        ([QUESTION, QUESTION], r"line 2: the id 'q1' is that of another question, too \(questions.jsonl, line 1\)"),
        ([{"text": "a"}], "line 1: there is no 'relevant'"),
        ([{"id": "q", "text": "a", "relevant": []}], "line 1: question 'q' has no answer"),
        ([{"text": "a", "relevant": [{"source": "a", "grade": 0}]}], "has no answer"),
        ([{"text": " ", "relevant": ["a"]}], "neither text nor image"),
        ([{"text": "a", "relevant": ["a", "a"]}], "'a' is judged twice"),
        ([{"text": "a", "relevant": [{"source": "a", "page": 0}]}], "'page' is 0; .* at least 1"),
        ([{"text": "a", "relevant": [{"source": "a", "start": 3}]}], "a moment needs"),
        ([{"text": "a", "relevant": [{"source": "a", "start": 3, "end": 2}]}], "not before it"),
        ([{"text": "a", "relevant": [{"source": "a", "pages": 3}]}], "'pages' is unknown; allowed are"),
        ([{"text": "a", "relevant": ["a"], "image": "none.png"}], "there is no image"),
        ([{"text": "a", "relevant": ["a"], "tags": "x"}], "'tags' is .* list of texts"),
        ([{"id": "a b", "text": "a", "relevant": ["a"]}], "white space"),
        ([], "questions.jsonl holds no questions"),
    ],
)
def test_a_broken_line_is_named_with_its_number(write_lines, lines, message):
    with pytest.raises(InputError, match=message):
        read_questions(write_lines(*lines))


def test_files_that_are_none_of_these_are_refused(write_lines, tmp_path):
    with pytest.raises(InputError, match="for judgements of TREC"):
        read_questions(write_lines("q1 0 a 1", name="qrels.txt"))
    with pytest.raises(InputError, match="is no data set: BEIR has"):
        read_questions(tmp_path)
    with pytest.raises(InputError, match="there are no questions at"):
        read_questions(tmp_path / "none.jsonl")


def test_a_folder_of_beir_is_read(write_beir):
    folder = write_beir(queries=({"_id": "q1", "text": "a mug"}, {"_id": "q2", "text": "not judged"}))
    found = read_questions(folder)
    assert [(one.id, one.text, one.judgements[0].source) for one in found.questions] == [("q1", "a mug", "d1")]
    assert found.unjudged == 1
    assert [(entry.id, entry.item) for entry in find_corpus(folder)()] == [("d1", "Mugs\nred"), ("d2", "blue")]


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        (["q1\td1\t2"], "test.tsv, line 1: the column 'query-id' is missing"),
        (["query-id\tcorpus-id\tscore", "q9\td1\t1"], "test.tsv, line 2: there is no question 'q9'"),
        (["query-id\tcorpus-id\tscore", "q1\td1\tyes"], "line 2: the score 'yes' is no whole number"),
        (["query-id\tcorpus-id\tscore", "q1\td1"], "line 2: 2 fields, and the first line names 3"),
        (["query-id\tcorpus-id\tscore"], "test.tsv holds no judgements"),
        (["query-id\tcorpus-id\tscore", "q1\td1\t1", "q1\td1\t2"], "line 3: 'd1' is judged twice"),
    ],
)
def test_a_broken_folder_of_beir_is_named_with_file_and_line(write_beir, qrels, message):
    with pytest.raises(InputError, match=message):
        read_questions(write_beir(qrels=qrels))


def test_a_split_that_is_not_there_is_named(write_beir, write_lines):
    folder = write_beir()
    write_lines("query-id\tcorpus-id\tscore", name="set/qrels/dev.tsv")
    with pytest.raises(InputError, match=r"no qrels/train.tsv .* holds dev.tsv, test.tsv"):
        read_questions(folder, split="train")


def test_judgements_of_trec_are_joined_with_their_questions(write_lines):
    queries = write_lines("q1\ta red mug", "q2\tthe total", name="topics.tsv")
    qrels = write_lines("q1 0 a%20b.pdf#page=2 1", "q1 0 talk.mp4#t=10,20 2", "q1 0 d3 0", name="judged.qrels")
    found = read_questions(queries, qrels=qrels)
    assert [one.name for one in found.questions[0].judgements] == ["a b.pdf#page=2", "talk.mp4#t=10,20", "d3"]
    assert found.unjudged == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 0 d1", "judged.qrels, line 1: .* has 3 fields"),
        ("q1 0 d1 high", "line 1: the grade 'high'"),
        ("q7 0 d1 1", "line 1: there is no question 'q7'"),
        ("q1 0 a.pdf#page=x 1", "line 1: the page 'x'"),
        ("q1 0 a.mp4#t=x 1", "line 1: the time 'x'"),
    ],
)
def test_a_broken_judgement_of_trec_is_named(write_lines, line, message):
    queries = write_lines("q1\ta red mug", name="topics.tsv")
    with pytest.raises(InputError, match=message):
        read_questions(queries, qrels=write_lines(line, name="judged.qrels"))


def test_questions_without_a_tab_or_with_one_id_twice_are_named(write_lines):
    qrels = write_lines("q1 0 d1 1", name="judged.qrels")
    with pytest.raises(InputError, match=r"topics.tsv, line 1: .* has no tab"):
        read_questions(write_lines("q1 a mug", name="topics.tsv"), qrels=qrels)
    with pytest.raises(InputError, match=r"topics.tsv, line 2: the id 'q1' is that of another"):
        read_questions(write_lines("q1\ta", "q1\tb", name="topics.tsv"), qrels=qrels)


def test_parquet_of_vidore_is_read_with_the_bytes_of_its_images(write_parquet):
    folder = write_parquet()
    (question,) = read_questions(folder).questions
    assert (question.id, question.text, question.judgements[0].source) == ("1", "a mug", "8")
    assert [(entry.id, entry.item) for entry in find_corpus(folder)()] == [
        ("7", {"image": b"png"}),
        ("8", {"image": b"x"}),
    ]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"queries": {"query-id": [1], "text": ["a"]}}, "the column 'query' is missing; .* has query-id, text"),
        ({"qrels": {"query-id": [2], "corpus-id": [8], "score": [1]}}, "row 1: there is no question '2'"),
        ({"queries": {"query-id": [1, 1], "query": ["a", "b"]}}, "row 2: the id '1' is that of another"),
        ({"qrels": {"query-id": [1], "corpus-id": [8], "score": ["x"]}}, "row 1: the score 'x'"),
        ({"qrels": {name: pyarrow.array([], "int64") for name in ("query-id", "corpus-id", "score")}}, "holds no rows"),
    ],
)
def test_broken_parquet_is_named_with_file_and_row(write_parquet, parts, message):
    with pytest.raises(InputError, match=message):
        read_questions(write_parquet(**parts))


def test_parquet_that_is_none_or_has_no_images_is_named(write_parquet):
    folder = write_parquet(corpus={"corpus-id": [7], "image": ["a.png"]})
    with pytest.raises(InputError, match=r"row 1: 'image' is .* bytes of an image"):
        list(find_corpus(folder)())
    next((folder / "qrels").iterdir()).write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_questions(folder)
    next((folder / "qrels").iterdir()).unlink()
    with pytest.raises(InputError, match="there is no part 'qrels'"):
        read_questions(folder)
