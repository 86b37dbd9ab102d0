"""The training's own arrangement of the forward pass computes what transformers computes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from qwen3_vl_pocket.tokenizer import build_tokenizer
from qwen3_vl_pocket.training.corpus import draw_corpus
from qwen3_vl_pocket.training.model import build_config, build_model
from qwen3_vl_pocket.training.rows import Prompter, encode_pictures, read_rows, slot_of
from qwen3_vl_pocket.world.sentences import list_words
from qwen3_vl_retrieval import Qwen3VLEmbedder


@pytest.fixture(scope="module")
def pictures():
    corpus = draw_corpus(12, seed=3, split="training", processes=1)
    by_kind = {picture.facts.kind: picture for picture in corpus.pictures}
    return list(by_kind.values())


@pytest.fixture(scope="module")
def prompter():
    return Prompter(build_tokenizer("embedding", words=list_words()))


@pytest.fixture(scope="module")
def model():
    return Qwen3VLEmbedder.from_pretrained("pocket", device="cpu", dtype="float32")


def test_the_vision_tower_gives_what_transformers_gives(model, pictures):
    tower = model.model.visual
    with torch.no_grad():
        bank = encode_pictures(tower, pictures)
        for picture, (start, end) in zip(pictures, bank.spans, strict=True):
            from qwen3_vl_pocket.training.rows import PATCHES
            from qwen3_vl_retrieval.engine.vision.patches import cut_patches

            frames, height, width, _ = picture.pixels.shape
            grid = torch.tensor([[max(frames // 2, 1), height // 16, width // 16]])
            output = tower(cut_patches(torch.from_numpy(picture.pixels), PATCHES), grid_thw=grid)
            expected = output[0] if isinstance(output, tuple) else output.pooler_output
            torch.testing.assert_close(bank.features.embeddings[start:end], expected, atol=5e-5, rtol=1e-4)


def test_states_are_those_of_the_core(model, pictures, prompter):
    stills = [picture for picture in pictures if picture.timestamps is None]
    with torch.no_grad():
        bank = encode_pictures(model.model.visual, stills)
        rows = [prompter.embed_document([slot_of(picture)], (place,)) for place, picture in enumerate(stills)]
        rows.append(prompter.embed_document(["a red circle"]))
        asked = [prompter.embed_query(["Which invoice has the number 47?"])]
        model_ids = read_rows(
            model.model.language_model,
            [(rows, prompter.prefixes["document"]), (asked, prompter.prefixes["query"])],
            bank,
        )
    from PIL import Image

    items = [{"image": Image.fromarray(picture.pixels[0])} for picture in stills]
    documents = model.embed_documents([*items, "a red circle"])
    queries = model.embed_queries(["Which invoice has the number 47?"])
    for answer, expected in zip(model_ids, (documents, queries), strict=True):
        vectors = torch.nn.functional.normalize(answer.states, dim=-1).numpy()
        np.testing.assert_allclose(vectors, expected, atol=2e-5)


def test_a_batch_of_pairs_gives_the_states_of_single_pairs(model, prompter):
    rng = random.Random(0)
    words = list_words()
    texts = [
        (" ".join(rng.choices(words, k=count)), " ".join(rng.choices(words, k=20 - count))) for count in (2, 9, 17)
    ]
    rows = [prompter.judge_pair([query], [document]) for query, document in texts]
    language_model, prefix = model.model.language_model, prompter.prefixes["pair"]
    with torch.no_grad():
        together = read_rows(language_model, [(rows, prefix)], None)[0].states
        alone = torch.cat([read_rows(language_model, [([row], prefix)], None)[0].states for row in rows])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_fresh_models_start_from_the_words_alone():
    tokenizer = build_tokenizer("reranker", words=list_words())
    model = build_model(build_config(tokenizer))
    assert float(model.language_model.layers[0].mlp.down_proj.weight.abs().max()) == 0
    assert 0.1 < float(model.language_model.embed_tokens.weight.std()) < 0.2
    assert sum(parameter.numel() for parameter in model.parameters()) * 2 < 12_000_000
