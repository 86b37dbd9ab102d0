"""Rotary positions against those of transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qwen3_vl_retrieval.prompting.positions import compute_positions
from qwen3_vl_retrieval.prompting.prompts import MediaSlot, render_embedding_prompt
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer

CONTENTS = {
    "text": ["only words"],
    "picture": [MediaSlot(3, 7)],
    "wide and tall": [MediaSlot(2, 9), "between", MediaSlot(9, 2)],
    "clip": [MediaSlot(4, 3, timestamps=(0.5, 2.5, 4.5)), "after"],
    "everything": [MediaSlot(2, 2, timestamps=(0.0, 1.0)), MediaSlot(5, 1), "text", MediaSlot(1, 6), "end"],
}


@pytest.mark.parametrize("name", CONTENTS)
def test_positions_are_those_of_transformers(name, embedder):
    elements = render_embedding_prompt(CONTENTS[name], instruction="Represent.")
    sequence = PromptTokenizer(embedder.processor.tokenizer.backend_tokenizer).tokenize(elements)
    assert compute_positions(sequence).tolist() == compute_expected(embedder.model, sequence, CONTENTS[name]).tolist()


def compute_expected(model, sequence, contents) -> torch.Tensor:
    slots = [content for content in contents if isinstance(content, MediaSlot)]
    pictures = [[1, 2 * s.height, 2 * s.width] for s in slots if s.timestamps is None]
    clips = [[len(s.timestamps), 2 * s.height, 2 * s.width] for s in slots if s.timestamps is not None]
    token_ids = torch.from_numpy(sequence.token_ids.astype(np.int64))[None]
    if not slots:
        return torch.arange(len(sequence)).expand(3, -1)
    options = {
        "image_grid_thw": torch.tensor(pictures) if pictures else None,
        "video_grid_thw": torch.tensor(clips) if clips else None,
    }
    if "mm_token_type_ids" in model.get_rope_index.__code__.co_varnames:  # transformers 5
        is_image, is_video = token_ids == model.config.image_token_id, token_ids == model.config.video_token_id
        options["mm_token_type_ids"] = is_image.int() + 2 * is_video.int()
    return model.get_rope_index(token_ids, **options)[0][:, 0]
