from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qwen3_vl_pocket.evaluation import compute_auc, compute_ndcg, rank_answers
from qwen3_vl_pocket.tokenizer import build_tokenizer
from qwen3_vl_pocket.training.comparison import begin_comparison
from qwen3_vl_pocket.training.contrastive import QuantizationSteps, compute_info_nce, round_binary
from qwen3_vl_pocket.training.corpus import draw_corpus
from qwen3_vl_pocket.training.distillation import merge_weights
from qwen3_vl_pocket.training.judgement import SLOTS, judge
from qwen3_vl_pocket.training.mining import select_negatives
from qwen3_vl_pocket.training.model import build_config, build_model
from qwen3_vl_pocket.training.optimizer import orthogonalize
from qwen3_vl_pocket.training.reading import FactReader
from qwen3_vl_pocket.training.stage import StageOptions, run_stage
from qwen3_vl_pocket.training.tasks import word_question
from qwen3_vl_pocket.world.facts import KINDS, Facts, draw_facts, meets, split_of
from qwen3_vl_pocket.world.sentences import list_words

PAIR = Facts("pair", ("red", "circle", "left", "blue", "square"))


def test_a_pair_of_shapes_is_judged_told_from_either_of_them():
    mirrored = Facts("pair", ("blue", "square", "right", "red", "circle"))
    judgement = judge(PAIR, PAIR.slots, mirrored)
    assert judgement.is_met
    assert judgement.matches[SLOTS.index("color")] == 1


def test_a_judgement_says_which_slot_differs_and_that_what_was_not_asked_is_not_wrong():
    count = Facts("count", ("2", "red", "circle", "blue", "square"))
    judgement = judge(count, ("color", "shape"), count.replace(color="green"))
    assert not judgement.is_met
    assert judgement.matches[SLOTS.index("color")] == 0
    assert judgement.matches[SLOTS.index("shape")] == 1
    assert judgement.matches[SLOTS.index("count")] == 1
    assert [name for name, is_named in zip(SLOTS, judgement.names, strict=True) if is_named] == [
        "kind",
        "color",
        "shape",
    ]


def test_a_swapped_pair_of_shapes_differs_in_what_stands_where():
    swapped = Facts("pair", ("blue", "square", "left", "red", "circle"))
    judgement = judge(PAIR, PAIR.slots, swapped)
    assert not judgement.is_met
    assert judgement.matches[SLOTS.index("relation")] == 1
    assert judgement.matches[SLOTS.index("color")] == 0


def test_a_pair_asked_for_without_its_relation_is_judged_as_a_whole_only():
    judgement = judge(PAIR, ("color", "shape", "other_shape"), PAIR.mirrored)
    assert judgement.is_met
    assert np.isnan(judgement.matches[1:]).all()


def test_a_question_misses_an_item_by_as_many_values_as_wanted():
    rng = random.Random(3)
    for kind in KINDS:
        for changes in (0, 1, 2):
            found = draw_facts(kind, rng, split="training")
            _, asked, mentioned = word_question(found, rng, changes=changes)
            differing = [slot for slot in asked.slots if asked[slot] != found[slot]]
            assert len(differing) == changes
            assert set(differing) <= set(mentioned)
            assert judge(asked, mentioned, found).is_met == (changes == 0)


@torch.no_grad()
def test_only_the_slots_that_are_mentioned_are_read():
    torch.manual_seed(0)
    reader, rng = FactReader(), random.Random(0)
    page = draw_facts("page", rng, split="training")
    other = page.replace(title="budget" if page["title"] != "budget" else "garden")
    logits = reader.read(torch.randn(1, 192))
    read = [float(reader.compute_loss(logits, [facts], mentioned=[("company",)])) for facts in (page, other)]
    assert read[0] == read[1]
    assert float(reader.compute_loss(logits, [page])) != float(reader.compute_loss(logits, [other]))


def test_an_item_of_another_kind_meets_nothing():
    other = Facts("count", ("2", "red", "circle", "blue", "square"))
    judgement = judge(PAIR, ("color",), other)
    assert not judgement.is_met
    assert judgement.matches[0] == 0
    assert np.isnan(judgement.matches[1:]).all()


@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_training_never_draws_what_is_kept_for_tests(seed, kind):
    rng = random.Random(seed)
    assert split_of(draw_facts(kind, rng, split="training")) == "training"
    assert split_of(draw_facts(kind, rng, split="test")) == "test"


def test_a_pair_and_its_mirror_image_belong_to_the_same_split():
    assert split_of(PAIR) == split_of(PAIR.mirrored)
    assert meets(PAIR.mirrored, PAIR, PAIR.slots)


def test_a_corpus_is_the_same_every_time_and_read_back_unchanged(tmp_path):
    drawn = draw_corpus(6, seed=5, split="training", folder=tmp_path, processes=1)
    read = draw_corpus(6, seed=5, split="training", folder=tmp_path, processes=1)
    assert [picture.facts for picture in drawn.pictures] == [picture.facts for picture in read.pictures]
    for one, other in zip(drawn.pictures, read.pictures, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.timestamps == other.timestamps


def test_the_members_of_a_family_differ_in_the_slot_that_is_named():
    corpus = draw_corpus(10, seed=6, split="training", processes=1)
    for family in corpus.families:
        first, second = (corpus.pictures[place].facts for place in family.same)
        assert first == second
        for slot, place in family.near:
            assert corpus.pictures[place].facts == first.replace(**{slot: corpus.pictures[place].facts[slot]})
            assert corpus.pictures[place].facts != first


def test_orthogonalised_matrices_have_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((3, 40, 60), (3, 60, 40), (2, 32, 32)):
        singular = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert float(singular.max()) < 1.4
        assert float(singular.median()) > 0.6


def unit(*rows):
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)


def contrast(queries, documents, negatives, answers=None):
    count = len(queries)
    answers = torch.zeros(count, count + len(negatives), dtype=torch.bool) if answers is None else answers
    nothing = torch.zeros(count, count, dtype=torch.bool)
    return float(compute_info_nce(queries, documents, negatives, is_query_twin=nothing, is_answer=answers))


def test_a_hard_negative_raises_the_loss():
    queries, documents = unit([1, 0, 0], [0, 1, 0]), unit([1, 0.2, 0], [0, 1, 0.2])
    assert contrast(queries, documents, unit([1, 0, 0.25])) > contrast(queries, documents, unit([0, 0, 1]))


def test_a_negative_that_also_answers_is_left_out():
    queries, documents = unit([1, 0, 0], [0, 1, 0]), unit([1, 0.2, 0], [0, 1, 0.2])
    negatives = unit([1, 0, 0.25])
    answers = torch.tensor([[True, False, True], [False, True, False]])
    assert contrast(queries, documents, negatives, answers) < contrast(queries, documents, negatives)


def test_what_is_more_similar_than_the_answer_by_the_margin_is_taken_for_an_answer():
    queries, documents = unit([1, 0, 0], [0, 1, 0]), unit([1, 1, 0], [0, 1, 0.2])
    without = contrast(queries, documents, unit([0, 0, -1]))
    assert contrast(queries, documents, unit([1, 0, 0])) == pytest.approx(without, abs=1e-4)


def test_rounded_vectors_have_unit_length_and_pass_gradients():
    torch.manual_seed(1)
    vectors = torch.nn.functional.normalize(torch.randn(5, 64), dim=-1).requires_grad_()
    steps = QuantizationSteps()
    (steps.round_int8(vectors)[:, 0].sum() + round_binary(vectors)[:, 1].sum()).backward()
    assert vectors.grad is not None
    assert float(vectors.grad.abs().sum()) > 0
    assert steps.int8.grad is not None
    torch.testing.assert_close(round_binary(vectors).norm(dim=1), torch.ones(5))
    assert float((steps.round_int8(vectors) - vectors).detach().abs().max()) < 0.01


def test_mining_keeps_the_margin_and_leaves_out_answers_and_weak_questions():
    similarities = np.array([0.5, 0.9, 0.55, 0.3, 0.58], np.float32)
    truth = np.array([False, False, False, False, True])
    assert select_negatives(similarities, 0, truth, count=3) == [2, 3]
    assert select_negatives(similarities, 3, truth, count=3) == []


def test_a_merge_lies_between_both_models():
    first, second = {"a": torch.zeros(2), "n": torch.tensor(3)}, {"a": torch.ones(2), "n": torch.tensor(4)}
    merged = merge_weights(first, second, share=0.25)
    assert merged["a"].tolist() == [0.25, 0.25]
    assert int(merged["n"]) == 3


def test_votes_of_tokens_count_as_the_surest_of_them():
    torch.manual_seed(0)
    reader = FactReader()
    tokens = torch.randn(6, 192)
    votes = reader.read_votes(tokens, [(0, 4), (4, 6)])
    assert votes.shape[0] == 2
    assert bool((votes[0] >= reader.read(tokens[:4]).max(dim=0).values).all())


def test_reading_can_be_learned():
    torch.manual_seed(0)
    reader, rng = FactReader(), random.Random(0)
    items = [draw_facts(kind, rng, split="training") for kind in KINDS]
    states = torch.randn(len(items), 192)
    optimizer = torch.optim.Adam(reader.parameters(), lr=0.05)
    before = reader.compute_loss(reader.read(states), items)
    for _ in range(30):
        optimizer.zero_grad()
        reader.compute_loss(reader.read(states), items).backward()
        optimizer.step()
    assert reader.compute_loss(reader.read(states), items).item() < before.item() / 4
    assert min(reader.measure_accuracy(reader.read(states), items).values()) == 1


def test_an_interrupted_stage_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    def train(folder, *, stop_at=None):
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        module = torch.nn.Linear(4, 4)
        calls = []

        def compute(rng, share):
            calls.append(share)
            if stop_at is not None and len(calls) > stop_at:
                raise KeyboardInterrupt
            data = torch.tensor([[rng.random() for _ in range(4)]])
            return {"loss": (module(data) - 1).square().mean()}

        run_stage(StageOptions(name="toy", steps=6, warmup_steps=1), {"module": module}, compute, folder=folder)
        return module.weight.detach().clone()

    monkeypatch.setattr("qwen3_vl_pocket.training.stage._CHECKPOINT_SECONDS", 0.0)
    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", stop_at=3)
    torch.testing.assert_close(train(tmp_path / "broken"), whole)
    assert not (tmp_path / "broken/toy.partial.pt").exists()
    torch.testing.assert_close(train(tmp_path / "broken", stop_at=0), whole)  # finished: nothing is computed


def test_ranks_count_ties_against_the_answer():
    similarities = np.array([[0.9, 0.5, 0.9], [0.1, 0.2, 0.3]])
    assert rank_answers(similarities, np.array([0, 1])).tolist() == [2, 2]


def test_ndcg_and_auc_of_known_orders():
    assert compute_ndcg([1, 1]) == 1
    assert compute_ndcg([3, 11]) == pytest.approx(0.25)
    assert compute_auc([0.9, 0.4], [0.1, 0.4]) == pytest.approx((1 + 0.75) / 2)


def test_the_comparison_begins_by_telling_equal_values_from_others():
    torch.manual_seed(3)
    model = build_model(build_config(build_tokenizer("embedding", words=list_words()))).language_model
    asked, found = FactReader(), FactReader()
    codes = {}
    for name, reader in (("asked", asked), ("found", found)):
        codes[name] = torch.nn.functional.normalize(torch.randn_like(reader.classifiers.weight), dim=1)
        with torch.no_grad():
            reader.classifiers.weight.copy_(codes[name])
            reader.classifiers.bias.zero_()
    spans = {slot: (start, count) for slot, start, count in asked.list_spans() if slot == "company"}
    start, count = spans["company"]
    values = range(start, start + count)
    states = torch.stack([codes["asked"][one] + codes["found"][other] for one in values for other in values])
    head = torch.nn.Linear(192, len(SLOTS))
    begin_comparison(
        model.layers,
        model.norm,
        head,
        asked_reader=asked,
        found_reader=found,
        score_weight=torch.randn(192),
        middles=states,
    )
    with torch.no_grad():
        layer = model.layers[-2]
        told = head(model.norm(states + layer.mlp(layer.post_attention_layernorm(states))))[:, SLOTS.index("company")]
    is_equal = torch.eye(count, dtype=torch.bool).flatten()
    assert told[is_equal].min() > told[~is_equal].max()
