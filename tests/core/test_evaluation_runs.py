"""An index measured: what its stages find, what is named, what a killed run goes on from, and what is kept of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import pytrec_eval

from qwen3_vl_retrieval import FingerprintMismatchError, InputError, StoreError
from qwen3_vl_retrieval.evaluation import (
    Judgement,
    Question,
    QuestionSet,
    RunOptions,
    compare_evaluations,
    evaluate_index,
    fit_thresholds,
    read_questions,
)
from qwen3_vl_retrieval.index import MultimodalIndex, find_threshold
from qwen3_vl_retrieval.index.thresholds import save_thresholds
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker

COLORS = ("red", "green", "blue", "white", "black", "golden", "silver", "purple")
THINGS = ("mug", "lamp", "chair", "door", "book", "coat")
OPTIONS = RunOptions(k=10, fetch_k=20, depths=(5, 10, 20, 40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A note for each thing and colour, in folders by colour; file names repeat."""
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


@pytest.fixture(scope="module")
def questions():
    return QuestionSet(
        questions=tuple(
            Question(
                id=f"{color}-{thing}",
                text=f"where is the {thing} {color}",
                language="en" if color < "m" else "de",
                tags=(thing,),
                judgements=(
                    Judgement(source=f"{color}/{thing}.txt", grade=2, where="q, line 1"),
                    Judgement(source=f"{color}/{THINGS[0] if thing != THINGS[0] else THINGS[1]}.txt"),
                ),
            )
            for color in COLORS[::2]
            for thing in THINGS
        ),
        origin="notes",
    )


@pytest.fixture(scope="module")
def evaluation(index, questions):
    return evaluate_index(index, questions, OPTIONS)


def test_measures_are_those_of_pytrec_eval_on_the_runs_that_are_written(evaluation, tmp_path):
    first, reranked, judged = evaluation.write_runs(tmp_path / "run")
    assert [path.name for path in (first, reranked, judged)] == ["run.first.trec", "run.reranked.trec", "run.qrels"]
    with judged.open() as file:
        qrels = pytrec_eval.parse_qrel(file)
    names = {"ndcg@10": "ndcg_cut_10", "recall@10": "recall_10", "recall@20": "recall_20", "precision@5": "P_5"}
    for stage, path in (("first", first), ("reranked", reranked)):
        with path.open() as file:
            run = pytrec_eval.parse_run(file)
        evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut", "recall", "P", "recip_rank"})
        found = evaluator.evaluate(run)
        for ours, theirs in (names | {"mrr": "recip_rank"}).items():
            mean = np.mean([values[theirs] for values in found.values()])
            assert evaluation.stages[stage].means[ours] == pytest.approx(mean, abs=1e-9)


def test_stages_are_what_a_search_returns(index, evaluation, questions):
    place = 7
    question, run = questions.questions[place], evaluation.runs[place]
    for limit in OPTIONS.limits:
        reranked = index.search(question.text, k=limit, fetch_k=limit)
        assert run.rank_candidates(limit) == [hit.id for hit in reranked]
        assert list(run.candidates[limit]) == [hit.id for hit in index.search(question.text, k=limit, rerank=False)]


def test_json_has_both_stages_groups_curves_and_latency(evaluation):
    document = json.loads(json.dumps(evaluation.to_dict()))
    assert document["stages"]["reranked"]["ndcg@10"] > document["stages"]["first"]["ndcg@10"]
    low, high = document["intervals"]["reranked"]["ndcg@10"]
    assert low <= document["stages"]["reranked"]["ndcg@10"] <= high
    assert document["groups"]["media_type"]["text"]["questions"] == 24
    assert set(document["groups"]["language"]) == {"en", "de"}
    assert set(document["groups"]["tag"]) == set(THINGS)
    assert [point["depth"] for point in document["depth_curve"]] == [5, 10, 20, 40]
    assert all(point["seconds"] > 0 for point in document["depth_curve"])
    assert document["depth_curve"][2]["ndcg@10"] == document["stages"]["reranked"]["ndcg@10"]
    settings = {(point["dimensions"], point["precision"]) for point in document["vector_curve"]}
    assert settings == {(length, name) for length in (64, 32) for name in ("float16", "int8", "ubinary")}
    assert set(document["latency_seconds"]) == {"embedding", "finding", "reranking"}
    assert document["reranking"]["is_shown"]
    assert "reranking is better by" in repr(evaluation)


def test_full_vectors_of_the_curve_find_what_a_search_by_vectors_finds(index, evaluation, questions):
    point = next(one for one in evaluation.vector_curve if one.setting.dimensions == 64)
    question = questions.questions[3]
    hits = index.search(question.text, k=20, rerank=False, match_words=False)
    units = [evaluation.units[hit.id] for hit in hits]
    documents = evaluation.questions[3].name_units(units)
    found = [documents.index(name) + 1 for name in evaluation.questions[3].grades if name in documents]
    assert point.values["mrr"][3] == pytest.approx(1 / min(found) if found else 0.0)


def test_a_run_that_was_killed_goes_on_without_judging_anything_again(index, questions, evaluation, tmp_path):
    working_file = tmp_path / "work" / "run.jsonl"

    def stop(done, _):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_index(index, questions, OPTIONS, working_file=working_file, on_progress=stop)
    # A kill in the middle of a line.
    with working_file.open("a") as file:
        file.write('{"question_id": "half')
    asked = index.reranker.asked
    asked.clear()
    resumed = evaluate_index(index, questions, OPTIONS, working_file=working_file)
    timed = 3 * len(OPTIONS.limits)
    assert len(asked) >= len(questions) - 5
    assert len(asked) <= 3 * (len(questions) - 5) + timed
    asked.clear()
    again = evaluate_index(index, questions, OPTIONS, working_file=working_file)
    assert asked == []
    for one in (resumed, again):
        assert one.to_dict()["stages"] == evaluation.to_dict()["stages"]
        assert one.to_dict()["vector_curve"] == evaluation.to_dict()["vector_curve"]


def test_what_was_kept_of_another_run_is_not_taken(index, questions, tmp_path):
    few = questions.select([questions.questions[0].id, questions.questions[1].id])
    evaluate_index(index, few, RunOptions(k=5, fetch_k=5, depths=()), working_file=tmp_path / "run.jsonl")
    index.reranker.asked.clear()
    evaluate_index(index, few, RunOptions(k=5, fetch_k=6, depths=()), working_file=tmp_path / "run.jsonl")
    assert index.reranker.asked == [6, 6]


def test_unknown_sources_are_named_with_their_place_and_count_as_not_found_only_if_asked(index):
    lost = Judgement(source="red/spoon.txt", where="questions.jsonl, line 4")
    known = Judgement(source="red/mug.txt")
    asked = QuestionSet(
        questions=(Question(id="q", text="a spoon", judgements=(lost, known)),), origin="questions.jsonl"
    )
    with pytest.raises(InputError, match=r"1 source .* 'red/spoon.txt' \(questions.jsonl, line 4\)"):
        evaluate_index(index, asked, RunOptions(depths=()))
    found = evaluate_index(index, asked, RunOptions(k=10, fetch_k=48, depths=()), allow_unknown=True)
    assert found.unknown == ("red/spoon.txt (questions.jsonl, line 4)",)
    assert found.stages["first"].means["recall@48"] == 0.5


def test_a_name_that_several_files_end_in_is_refused(index):
    asked = QuestionSet(
        questions=(Question(id="q", text="a mug", judgements=(Judgement(source="mug.txt"),)),), origin="here"
    )
    with pytest.raises(InputError, match=r"'mug.txt' is the end of 8 paths"):
        evaluate_index(index, asked, RunOptions(depths=()))


def test_a_question_that_cannot_be_asked_costs_its_own_answer(index, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    path = tmp_path / "questions.jsonl"
    lines = [{"image": "broken.png", "relevant": ["red/mug.txt"]}, {"text": "red mug", "relevant": ["red/mug.txt"]}]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = evaluate_index(index, read_questions(path), RunOptions(depths=()))
    assert list(found.failures) == ["1"]
    assert found.stages["reranked"].values["mrr"].tolist()[0] == 0.0


def test_without_a_reranker_there_is_one_stage(index, questions):
    alone = MultimodalIndex(index.store, FakeEmbedder())
    found = evaluate_index(alone, questions, RunOptions(k=10, fetch_k=20, depths=()))
    assert list(found.stages) == ["first"]
    assert found.compare_stages() is None
    assert found.to_dict()["depth_curve"] == []


def test_settings_are_compared_question_by_question(index, questions, evaluation):
    shallow = evaluate_index(index, questions, RunOptions(k=10, fetch_k=10, depths=()))
    compared = compare_evaluations(shallow, evaluation)
    assert compared["reranked"]["ndcg@10"].interval.questions == len(questions)
    same = compare_evaluations(evaluation, evaluation)
    assert not any(one.is_shown for stage in same.values() for one in stage.values())
    with pytest.raises(InputError, match="not of the same questions"):
        compare_evaluations(evaluation, evaluate_index(index, questions.select(["red-mug"]), RunOptions(depths=())))


def test_files_count_once_however_many_of_their_pages_are_found(tmp_path):
    """A text of many chunks that answers as a whole."""
    (tmp_path / "files").mkdir()
    text = "\n\n".join(f"Part {number}: " + "the long story of a lamp goes on. " * 80 for number in range(6))
    (tmp_path / "files" / "story.txt").write_text(text)
    (tmp_path / "files" / "mug.txt").write_text("A mug.")
    asked = QuestionSet(
        questions=(Question(id="q", text="story lamp", judgements=(Judgement(source="story.txt"),)),), origin="here"
    )
    with MultimodalIndex.open(tmp_path / "store", FakeEmbedder(), FakeReranker()) as index:
        index.add(tmp_path / "files")
        assert len(index) > 3
        found = evaluate_index(index, asked, RunOptions(depths=()))
    assert found.stages["reranked"].means["recall@10"] == 1.0
    assert found.stages["reranked"].means["precision@10"] == pytest.approx(0.1)
    documents = found.stages["reranked"].documents["q"]
    assert documents[0] == "story.txt"
    assert len(set(documents)) == len(documents)


@pytest.fixture
def thresholds(index, evaluation):
    fitted = fit_thresholds(evaluation)
    path = save_thresholds(index.store.layout.folder, fitted)
    yield {one.stage: one for one in fitted}
    path.unlink()


def test_thresholds_let_as_many_wrong_candidates_pass_as_they_say(evaluation, thresholds):
    fitted = thresholds["reranked"]
    assert (fitted.questions, fitted.positives + fitted.negatives) == (24, 24 * 20)
    wrong = [
        run.relevances[unit_id]
        for question, run in zip(evaluation.questions, evaluation.runs, strict=True)
        for unit_id in run.candidates[20]
        if not question.grade_unit(unit_id)
    ]
    for rate in (0.1, 0.01):
        passed = sum(score >= fitted.cut_offs[f"{rate:g}"].score for score in wrong) / len(wrong)
        # Of equal scores all pass, or none.
        assert 0 < passed <= rate
        assert fitted.cut_offs[f"{rate:g}"].false_positive_rate <= 2 * rate
    # 0.001 of fewer than a thousand is none.
    assert "0.001" not in fitted.cut_offs
    assert fitted.auc > 0.9
    assert fitted.calibration.error < 0.1
    assert fitted.find_score("probability=0.9") > fitted.find_score("probability=0.5")
    assert fitted.find_probability(fitted.find_score("probability=0.7")) == pytest.approx(0.7)


def test_a_search_takes_thresholds_by_what_they_mean(index, thresholds):
    lowest = thresholds["reranked"].find_score("fpr=0.01")
    hits = index.search("where is the mug red", threshold="fpr=0.01")
    assert [hit.id for hit in hits] == [hit.id for hit in index.search("where is the mug red", threshold=lowest)]
    assert 0 < len(hits) < 10
    cosines = index.search("where is the mug red", threshold="fpr=0.1", rerank=False)
    assert all(hit.similarity_score >= thresholds["first"].find_score("fpr=0.1") for hit in cosines)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threshold": "fpr=0.05"}, ValueError, "was not measured: with .* there is fpr=0.1, fpr=0.01"),
        ({"threshold": "high"}, ValueError, "is not understood; give a score, or fpr=0.1"),
        ({"threshold": "fpr=2"}, ValueError, "is not understood"),
        ({"threshold": "fpr=0.1", "instruction": "Find a receipt."}, StoreError, "another instruction"),
    ],
)
def test_a_threshold_that_was_not_measured_is_refused(index, thresholds, options, error, message):
    with pytest.raises(error, match=message):
        index.search("a red mug", **options)


def test_thresholds_of_another_embedder_or_reranker_are_refused(index, thresholds, tmp_path):
    with MultimodalIndex.open(tmp_path / "store", FakeEmbedder(dimensions=32), FakeReranker()) as other:
        other.add(["a red mug"])
        with pytest.raises(StoreError, match="no thresholds are kept with"):
            other.search("a mug", threshold="fpr=0.1")
        path = save_thresholds(tmp_path / "store", list(thresholds.values()))
        with pytest.raises(FingerprintMismatchError, match="dimensions: stored 64, now 32"):
            other.search("a mug", threshold="fpr=0.1")
    with pytest.raises(StoreError, match="measured with another reranker: 'fake', and now it is 'mine'"):
        find_threshold(path, "fpr=0.1", stage="reranked", reranker="mine", instruction=None)
    path.write_text("{}")
    with pytest.raises(StoreError, match="no thresholds that can be read"):
        find_threshold(path, "fpr=0.1", stage="reranked", reranker="fake", instruction=None)


def test_thresholds_that_are_measured_again_replace_the_old_ones(index, evaluation, thresholds):
    path = save_thresholds(index.store.layout.folder, list(thresholds.values()))
    assert len(json.loads(path.read_text())["thresholds"]) == 2
