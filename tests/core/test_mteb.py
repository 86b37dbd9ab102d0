"""Benchmarks of mteb run with both models; on pages of one's own they give the numbers of an index that is measured."""

from __future__ import annotations

import importlib
import json
import random
import sys
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import qwen3_vl_pocket
from qwen3_vl_pocket.world.facts import draw_facts, draw_near_misses
from qwen3_vl_pocket.world.pictures import draw_picture
from qwen3_vl_pocket.world.sentences import ask
from qwen3_vl_retrieval import InputError, PixelBudget, Qwen3VLEmbedder, Qwen3VLReranker, StoreError
from qwen3_vl_retrieval.evaluation import (
    Judgement,
    MTEBCrossEncoder,
    MTEBEncoder,
    Question,
    QuestionSet,
    RunOptions,
    evaluate_index,
)
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker

PROMPT = "Find a page that answers the question."
FEW_PIXELS = PixelBudget(max_pixels=65536)


class Side(Enum):
    """The sides of a task, by the values of mteb's `PromptType`."""

    QUERY = "query"
    DOCUMENT = "document"


@pytest.fixture(scope="module")
def mteb():
    # Imported here: it takes seconds, and every process collects this file.
    return importlib.import_module("mteb")


@pytest.fixture(scope="module")
def embedder():
    return Qwen3VLEmbedder.from_pretrained("pocket", pixel_budget=FEW_PIXELS)


@pytest.fixture(scope="module")
def reranker():
    return Qwen3VLReranker.from_pretrained("pocket", pixel_budget=FEW_PIXELS)


@pytest.fixture(scope="module")
def pages():
    """Pages by id, questions by id, and the page that answers each: near misses make some of them hard."""
    rng = random.Random(21)
    images, questions, answers = {}, {}, {}
    for number in range(6):
        facts = draw_facts("page", rng, split="test")
        near = [missed for _, missed in draw_near_misses(facts, rng, count=3, split=None)]
        for place, one in enumerate((facts, *near)):
            images[f"page-{number}-{place}"] = draw_picture(one, rng, scale=1.0)
        questions[f"question-{number}"] = ask(facts, "en", rng)
        answers[f"question-{number}"] = f"page-{number}-0"
    return images, questions, answers


@pytest.fixture(scope="module")
def make_task(mteb, pages):
    """Makes a task of these pages, which mteb does not list."""
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval

    images, questions, answers = pages

    class OwnPages(AbsTaskRetrieval):
        metadata = mteb.TaskMetadata(
            name="OwnPages",
            description="Drawn pages.",
            reference=None,
            dataset={"path": "own/pages", "revision": "1"},
            type="DocumentUnderstanding",
            category="t2i",
            modalities=["text", "image"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            sample_creation=None,
            bibtex_citation=None,
            prompt={"query": PROMPT},
        )

        def load_data(self, num_proc=None, **_):
            self.dataset = {
                "default": {
                    "test": {
                        "corpus": Dataset.from_dict({"id": list(images), "image": list(images.values())}),
                        "queries": Dataset.from_dict({"id": list(questions), "text": list(questions.values())}),
                        "relevant_docs": {name: {page: 1} for name, page in answers.items()},
                        "top_ranked": None,
                    }
                }
            }
            self.data_loaded = True

    return OwnPages


@pytest.fixture(scope="module")
def evaluation(pages, embedder, reranker, tmp_path_factory):
    """The same pages and questions, measured by this package."""
    images, questions, answers = pages
    asked = QuestionSet(
        questions=tuple(
            Question(id=name, text=text, judgements=(Judgement(source=answers[name]),))
            for name, text in questions.items()
        ),
        origin="drawn",
    )
    options = RunOptions(k=10, fetch_k=10, depths=(), instruction=PROMPT, match_words=False)
    with MultimodalIndex.open(tmp_path_factory.mktemp("store") / "store", embedder, reranker) as index:
        index.add([{"image": image} for image in images.values()], metadata=[{"corpus_id": name} for name in images])
        yield evaluate_index(index, asked, options)


@pytest.fixture(scope="module")
def predictions(mteb, make_task, embedder, tmp_path_factory):
    """Both stages, run by mteb: scores of the first and of the second, and the folder of what was found."""
    return tmp_path_factory.mktemp("predictions")


@pytest.fixture(scope="module")
def first_stage(mteb, make_task, embedder, predictions):
    done = mteb.evaluate(
        MTEBEncoder(embedder), make_task(), cache=None, prediction_folder=predictions, show_progress_bar=False
    )
    return done.task_results[0].scores["test"][0]


@pytest.fixture(scope="module")
def second_stage(mteb, make_task, reranker, predictions, first_stage):
    task = make_task().convert_to_reranking(predictions, top_k=10)
    done = mteb.evaluate(MTEBCrossEncoder(reranker, revision="1"), task, cache=None, show_progress_bar=False)
    return done.task_results[0].scores["test"][0]


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("first", {"ndcg@10": "ndcg_at_10", "ndcg@1": "ndcg_at_1", "recall@5": "recall_at_5"}),
        ("reranked", {"ndcg@10": "ndcg_at_10", "ndcg@1": "ndcg_at_1", "recall@5": "recall_at_5"}),
    ],
)
def test_both_stages_have_the_numbers_of_an_index_measured_with_the_same_questions(
    evaluation, first_stage, second_stage, stage, names
):
    scores = first_stage if stage == "first" else second_stage
    for ours, theirs in names.items():
        assert scores[theirs] == pytest.approx(evaluation.stages[stage].means[ours], abs=1e-5)
    assert 0.3 < scores["ndcg_at_1"] <= 1.0


def test_candidates_are_those_of_a_search_by_vectors_alone(evaluation, first_stage, predictions):
    (path,) = predictions.glob("**/*.json")
    found = json.loads(path.read_text())["default"]["test"]
    for judged in evaluation.questions:
        scores = found[judged.question.id]
        ranking = sorted(scores, key=scores.__getitem__, reverse=True)[:10]
        assert ranking == list(evaluation.stages["first"].documents[judged.question.id])


@pytest.mark.parametrize("setting", [(96, "int8"), (192, "ubinary"), (48, "float16")], ids=str)
def test_shorter_and_coarser_vectors_find_what_the_curve_of_an_index_says(
    mteb, make_task, embedder, evaluation, setting
):
    dimensions, precision = setting
    encoder = MTEBEncoder(embedder, dimensions=dimensions, precision=precision)
    assert encoder.mteb_model_meta.name.endswith(f"-{dimensions}d-{precision}")
    done = mteb.evaluate(encoder, make_task(), cache=None, show_progress_bar=False)
    (point,) = [
        one
        for one in evaluation.vector_curve
        if (one.setting.dimensions, one.setting.precision) == (dimensions, precision)
    ]
    found = done.task_results[0].scores["test"][0]["ndcg_at_10"]
    assert found == pytest.approx(point.values["ndcg@10"].mean(), abs=1e-5)


def test_names_and_revisions_tell_apart_what_has_other_results(mteb):
    embedder = FakeEmbedder()
    encoders = [
        MTEBEncoder(embedder),
        MTEBEncoder(embedder, dimensions=32),
        MTEBEncoder(embedder, precision="int8"),
        MTEBEncoder(embedder, use_task_instructions=False),
        MTEBEncoder(FakeEmbedder(dimensions=32)),
    ]
    kept = {(one.mteb_model_meta.name, one.mteb_model_meta.revision) for one in encoders}
    # A vector of 32 dimensions is the same whether the embedder or the encoder shortens it.
    assert len(kept) == 4
    assert MTEBEncoder(embedder).mteb_model_meta == encoders[0].mteb_model_meta
    reranker = MTEBCrossEncoder(FakeReranker(), revision="7")
    assert (reranker.mteb_model_meta.name, reranker.mteb_model_meta.revision) == ("qwen3-vl-retrieval/fake", "7")
    assert reranker.mteb_model_meta.is_cross_encoder


class Recording(FakeEmbedder, FakeReranker):
    """Notes the instructions that it is given."""

    def __init__(self):
        FakeEmbedder.__init__(self)
        FakeReranker.__init__(self)
        self.instructions = []

    def embed(self, inputs, **options):
        self.instructions.append((options["input_type"], options["instruction"]))
        return super().embed(inputs, **options)

    def score(self, query, documents, **options):
        self.instructions.append(options["instruction"])
        return super().score(query, documents, **options)


def ask_for(prompt, name="OwnPages"):
    """The arguments that mteb gives besides batches."""
    return {"task_metadata": SimpleNamespace(name=name, prompt=prompt), "hf_split": "test", "hf_subset": "default"}


@pytest.mark.parametrize(
    ("prompt", "query", "document"),
    [
        ({"query": "Find it"}, "Find it.", "Represent the user's input."),
        ({"query": "Find it!", "document": " Keep it "}, "Find it!", "Keep it."),
        ("Say it", "Say it.", "Say it."),
        (None, "Represent the user's input.", "Represent the user's input."),
    ],
    ids=["queries only", "both", "one for both", "none, and not listed by mteb"],
)
def test_instructions_of_a_task_are_those_of_the_wrappers_of_mteb(mteb, prompt, query, document):
    model = Recording()
    encoder = MTEBEncoder(model)
    for side in (Side.QUERY, Side.DOCUMENT, None):
        encoder.encode([{"text": ["a"]}], prompt_type=side, show_progress_bar=False, **ask_for(prompt))
    neither = "Say it." if isinstance(prompt, str) else "Represent the user's input."
    assert model.instructions == [("query", query), ("document", document), ("document", neither)]


def test_a_listed_task_without_a_prompt_has_that_of_its_kind(mteb):
    model = Recording()
    name = "SciFact"
    encoder = MTEBEncoder(model)
    encoder.encode([{"text": ["a"]}], prompt_type=Side.QUERY, show_progress_bar=False, **ask_for(None, name))
    assert model.instructions == [("query", mteb.get_task(name).abstask_prompt)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ({"query": "Find it"}, "Find it."),
        ({"document": "Keep it"}, "Keep it."),
        ("Say it", "Say it."),
        (None, "Retrieve images or text relevant to the user's query."),
    ],
)
def test_a_reranker_has_the_instruction_of_queries(mteb, prompt, expected):
    model = Recording()
    judge = MTEBCrossEncoder(model, revision="1").predict
    judge([{"text": ["a"]}], [{"text": ["b"]}], show_progress_bar=False, **ask_for(prompt))
    assert model.instructions == [expected]


def test_without_task_instructions_the_models_keep_their_own(mteb):
    model = Recording()
    given = {"show_progress_bar": False, **ask_for("Say it")}
    MTEBEncoder(model, use_task_instructions=False).encode([{"text": ["a"]}], prompt_type=Side.QUERY, **given)
    judge = MTEBCrossEncoder(model, revision="1", use_task_instructions=False)
    judge.predict([{"text": ["a"]}], [{"text": ["b"]}], **given)
    assert model.instructions == [("query", None), None]
    assert judge.mteb_model_meta.name.endswith("-own-instruction")


def test_rows_of_text_of_images_and_of_both_are_mixed_in_a_batch(mteb):
    image = Image.new("RGB", (8, 8), "red")
    model = FakeEmbedder()
    batches = [
        {"id": ["1", "2", "3"], "text": ["a mug", "", "a lamp"], "image": [image, image, None]},
        {"id": ["4"], "image": [image]},
    ]
    vectors = MTEBEncoder(model).encode(batches, show_progress_bar=False, **ask_for("Say it"))
    expected = model.embed(
        [{"image": image, "text": "a mug"}, {"image": image}, "a lamp", {"image": image}], instruction="Say it."
    )
    np.testing.assert_array_equal(vectors, expected)


def test_pairs_are_judged_by_query_whatever_the_batches(mteb):
    model = FakeReranker()
    queries, documents = ["red mug"] * 40 + ["green lamp"] * 2, [f"thing {number} mug" for number in range(42)]

    def batch(values, size, names):
        return [
            {"id": names[first : first + size], "text": values[first : first + size]}
            for first in range(0, len(values), size)
        ]

    names = ["q1"] * 40 + ["q2"] * 2
    given = {"show_progress_bar": False, **ask_for(None)}
    encoder = MTEBCrossEncoder(model, revision="1")
    scores = encoder.predict(batch(queries, 16, names), batch(documents, 10, names), **given)
    assert model.asked == [32, 8, 2]
    expected = [model.score(query, [one], output="margin")[0] for query, one in zip(queries, documents, strict=True)]
    np.testing.assert_array_equal(scores, expected)
    with pytest.raises(ValueError, match="zip"):
        encoder.predict(batch(queries, 16, names), batch(documents[:-1], 10, names), **given)


def test_what_cannot_be_embedded_or_judged_is_named_by_its_position(mteb):
    given = {"show_progress_bar": False, **ask_for(None)}
    encoder = MTEBEncoder(FakeEmbedder(refused=["b"]))
    with pytest.raises(InputError, match="item 3: 'b' is refused"):
        encoder.encode([{"text": ["a", "a"]}, {"text": ["a", "b"]}], **given)
    judge = MTEBCrossEncoder(FakeReranker(refused=["b"]), revision="1")
    with pytest.raises(InputError, match="pair 2: 'b' is refused"):
        judge.predict([{"text": ["q", "q", "r"]}], [{"text": ["a", "a", "b"]}], **given)
    with pytest.raises(InputError, match="batches hold video; tasks of text and images are understood here"):
        encoder.encode([{"text": ["a"], "video": [object()]}], **given)
    with pytest.raises(ValueError, match="precision='int8' is in encode_kwargs"):
        encoder.encode([{"text": ["a"]}], precision="int8", **given)
    with pytest.raises(ValueError, match="dimensions=7 must be"):
        MTEBEncoder(FakeEmbedder(), dimensions=7)


def test_similarities_are_those_of_mteb_for_arrays_and_tensors(mteb):
    import torch
    from mteb.similarity_functions import dot_score, pairwise_dot_score

    drawn = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    encoder = MTEBEncoder(FakeEmbedder())
    np.testing.assert_allclose(encoder.similarity(*drawn), dot_score(*drawn), atol=1e-6)
    np.testing.assert_allclose(encoder.similarity_pairwise(*drawn), pairwise_dot_score(*drawn), atol=1e-6)
    one = torch.from_numpy(drawn[0, 0])
    assert encoder.similarity(one, torch.from_numpy(drawn[1])).shape == (1, 3)


def test_without_the_extra_it_is_named(monkeypatch):
    for module in ("mteb", "mteb.models.model_meta"):
        # What `import` takes for a module that is not there.
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StoreError, match=r'benchmarks need mteb: pip install "qwen3-vl-retrieval\[mteb\]"'):
        MTEBEncoder(FakeEmbedder())


@pytest.mark.filterwarnings("ignore")  # those of sentence-transformers and of the wrappers are theirs
def test_wrappers_of_mteb_compute_the_same(mteb, pages, make_task):
    from datasets import Dataset
    from mteb._create_dataloaders import create_dataloader
    from mteb.models.model_implementations import qwen3_vl_embedding_models, qwen3_vl_reranker
    from mteb.types import PromptType

    images, questions, _ = pages
    metadata = make_task.metadata
    rows = {
        PromptType.query: Dataset.from_dict({"id": ["q", "q"], "text": [next(iter(questions.values()))] * 2}),
        PromptType.document: Dataset.from_dict({"id": ["a", "b"], "image": list(images.values())[:2]}),
    }

    def load(side):
        return create_dataloader(rows[side], task_metadata=metadata, prompt_type=side)

    given = {"task_metadata": metadata, "hf_split": "test", "hf_subset": "default"}
    # The wrapper sets the official limits of pixels for vectors, and leaves those of the checkpoint for pairs.
    options = {"dtype": "float32", "image_reading": "reference"}
    data = Path(qwen3_vl_pocket.__file__).parent / "data"
    theirs = qwen3_vl_embedding_models.Qwen3VLEmbeddingWrapper(str(data / "embedding"), device="cpu")
    theirs.model.float()
    ours = MTEBEncoder(Qwen3VLEmbedder.from_pretrained("pocket", pixel_budget=PixelBudget(), **options))
    for side in PromptType:
        wanted = theirs.encode(load(side), prompt_type=side, **given)
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
        found = ours.encode(load(side), prompt_type=side, show_progress_bar=False, **given)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    theirs = qwen3_vl_reranker.Qwen3VLRerankerWrapper(str(data / "reranker"), device="cpu")
    theirs.model.float()
    theirs.mteb_model_meta = qwen3_vl_reranker.qwen3_vl_reranker_2b
    ours = MTEBCrossEncoder(Qwen3VLReranker.from_pretrained("pocket", **options), revision="1")
    wanted = theirs.predict(load(PromptType.query), load(PromptType.document), **given)
    found = ours.predict(load(PromptType.query), load(PromptType.document), show_progress_bar=False, **given)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    # The answer is told from the near miss.
    assert found[0] != pytest.approx(found[1], abs=0.1)
