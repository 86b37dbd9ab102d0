"""The whole recipe: foundation, s0, s1, reranker, s2, s3, each kept in a folder and measured."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from qwen3_vl_pocket.checkpoint import write_checkpoint
from qwen3_vl_pocket.tokenizer import ModelKind, build_tokenizer
from qwen3_vl_pocket.training.contrastive import QuantizationSteps
from qwen3_vl_pocket.training.corpus import Corpus, draw_corpus
from qwen3_vl_pocket.training.distillation import merge_weights, train_by_distillation
from qwen3_vl_pocket.training.embedding import EmbeddingOptions, train_contrastively
from qwen3_vl_pocket.training.foundation import FoundationOptions, Learner, train_foundation, train_sight
from qwen3_vl_pocket.training.judgement import SLOTS
from qwen3_vl_pocket.training.mining import mine_groups
from qwen3_vl_pocket.training.model import (
    HIDDEN_SIZE,
    MAX_PIXELS,
    RETRIEVAL_DEFAULTS,
    build_config,
    build_model,
)
from qwen3_vl_pocket.training.reading import FactReader
from qwen3_vl_pocket.training.reranking import RerankingOptions, train_reranker
from qwen3_vl_pocket.training.rows import Prompter
from qwen3_vl_pocket.training.stage import StageOptions
from qwen3_vl_pocket.world.sentences import list_words

__all__ = ["Recipe", "train_pair"]


def _plan(name: str, steps: int, matrix_rate: float, *, final_scale: float = 0.05) -> StageOptions:
    """AdamW's rate is a tenth of Muon's throughout."""
    return StageOptions(
        name=name, steps=steps, matrix_rate=matrix_rate, other_rate=matrix_rate / 10, final_scale=final_scale
    )


_SIGHT = _plan("sight", 700, 0.02, final_scale=0.3)
_FOUNDATION = _plan("foundation", 900, 0.02, final_scale=0.3)
_S0 = _plan("s0", 220, 0.01)
_S1 = _plan("s1", 130, 0.006)
_RERANKER = _plan("reranker", 750, 0.01)
_LATE_RERANKER = _plan("late_reranker", 1200, 0.008)
_S2 = _plan("s2", 80, 0.003)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All choices of a run.

    Attributes:
        families: Image families of the corpus, five drawings each.
        seed: Seed of weights, corpus and everything that is drawn.
        sight: Schedule of the vision tower alone.
        foundation: Schedule of captioning, reading and verifying.
        s0: Schedule of contrastive training on random batches.
        s1: Schedule of contrastive training on mined batches.
        reranker: Schedule of yes and no.
        late_reranker: Schedule of the same with near misses from the first step on.
        s2: Schedule of distillation.
        merge_share: Share of s2 in the merge.
    """

    families: int = 10_000
    seed: int = 1
    sight: StageOptions = _SIGHT
    foundation: StageOptions = _FOUNDATION
    s0: StageOptions = _S0
    s1: StageOptions = _S1
    reranker: StageOptions = _RERANKER
    late_reranker: StageOptions = _LATE_RERANKER
    s2: StageOptions = _S2
    merge_share: float = 0.5

    def shorten(self, share: float) -> Recipe:
        """Returns the recipe with so much of its steps and families, at least one and a batch's worth."""
        names = ("sight", "foundation", "s0", "s1", "reranker", "late_reranker", "s2")
        stages = {name: getattr(self, name) for name in names}
        shorter: dict[str, Any] = {
            name: replace(stage, steps=max(int(stage.steps * share), 1)) for name, stage in stages.items()
        }
        return replace(self, families=max(int(self.families * share), 48), **shorter)


def train_pair(recipe: Recipe, folder: Path, *, device: str = "cpu", until: str = "s3", processes: int = 2) -> None:
    """Trains embedder and reranker and writes a checkpoint folder of each stage; finished stages are not repeated.

    Args:
        recipe: What to do.
        folder: Where everything is kept; an interrupted run goes on from there.
        device: Where to compute.
        until: The last stage to run.
        processes: How many draw the corpus at a time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(describe_recipe(recipe), indent=2), encoding="utf-8")
    corpus = draw_corpus(recipe.families, seed=recipe.seed, split="training", folder=folder, processes=processes)
    run = _Run(recipe, folder, corpus, device)
    for name in ("sight", "foundation", "s0", "s1", "reranker", "s2", "s3"):
        getattr(run, f"train_{name}")()
        if name == until:
            return


def describe_recipe(recipe: Recipe) -> dict[str, Any]:
    """Returns the recipe as plain values."""
    return {
        name: value
        if isinstance(value, int | float)
        else {slot: getattr(value, slot) for slot in StageOptions.__slots__}
        for name, value in ((name, getattr(recipe, name)) for name in Recipe.__slots__)
    }


class _Run:
    """A recipe being carried out; each stage starts from copies, so that earlier ones stay as they are."""

    def __init__(self, recipe: Recipe, folder: Path, corpus: Corpus, device: str) -> None:
        self._recipe, self._folder, self._corpus = recipe, folder, corpus
        self._tokenizer = build_tokenizer("embedding", words=list_words())
        self._config = build_config(self._tokenizer)
        torch.manual_seed(recipe.seed)
        self._foundation = self._build_learner(device)
        self._steps = QuantizationSteps().to(device)

    def _build_learner(self, device: str) -> Learner:
        model = cast("Any", build_model(self._config)).to(device)
        vocabulary = self._tokenizer.get_vocab()
        return Learner(
            model=model,
            token_reader=FactReader().to(device),
            state_reader=FactReader().to(device),
            asked_reader=FactReader().to(device),
            found_reader=FactReader().to(device),
            slot_head=nn.Linear(HIDDEN_SIZE, len(SLOTS)).to(device),
            answer_ids=(vocabulary["yes"], vocabulary["no"]),
            prompter=Prompter(self._tokenizer, device=device),
        )

    def train_sight(self) -> None:
        """What visual tokens show."""
        train_sight(self._foundation, self._corpus, self._recipe.sight, folder=self._folder)

    def train_foundation(self) -> None:
        """Captions, retelling, verification."""
        options = FoundationOptions()
        train_foundation(self._foundation, self._corpus, self._recipe.foundation, options=options, folder=self._folder)

    def train_s0(self) -> None:
        """Contrast on random batches."""
        self._s0, self._steps = copy.deepcopy((self._foundation, self._steps))
        train_contrastively(
            self._s0,
            self._steps,
            self._corpus,
            self._recipe.s0,
            options=EmbeddingOptions(),
            fact_weight=0.3,
            folder=self._folder,
        )
        self._export("s0", "embedding", self._s0)

    def train_s1(self) -> None:
        """Contrast on batches of families that s0 confuses."""
        self._s1, self._steps = copy.deepcopy((self._s0, self._steps))
        train_contrastively(
            self._s1,
            self._steps,
            self._corpus,
            self._recipe.s1,
            options=EmbeddingOptions(),
            groups=self._mine(),
            fact_weight=0.1,
            folder=self._folder,
        )
        self._export("s1", "embedding", self._s1)

    def train_reranker(self) -> None:
        """Yes and no, from the foundation."""
        self._reranker = copy.deepcopy(self._foundation)
        train_reranker(
            self._reranker, self._corpus, self._recipe.reranker, options=RerankingOptions(), folder=self._folder
        )
        train_reranker(
            self._reranker,
            self._corpus,
            self._recipe.late_reranker,
            options=RerankingOptions(),
            goes_on=True,
            folder=self._folder,
        )
        self._export("reranker", "reranker", self._reranker)

    def train_s2(self) -> None:
        """The reranker's order of candidates."""
        self._s2 = copy.deepcopy(self._s1)
        train_by_distillation(
            self._s2,
            self._steps,
            self._reranker,
            self._corpus,
            self._recipe.s2,
            options=EmbeddingOptions(families=28, texts=12),
            groups=self._mine(),
            folder=self._folder,
        )
        self._export("s2", "embedding", self._s2)

    def train_s3(self) -> None:
        """The merge."""
        self._s3 = copy.deepcopy(self._s2)
        merged = merge_weights(self._s1.model.state_dict(), self._s2.model.state_dict(), share=self._recipe.merge_share)
        self._s3.model.load_state_dict(merged)
        self._export("s3", "embedding", self._s3)

    def _mine(self) -> list[list[int]]:
        file = self._folder / "groups.json"
        if not file.exists():
            groups = mine_groups(self._s0, self._corpus, count=8, seed=self._recipe.seed)
            file.write_text(json.dumps(groups), encoding="utf-8")
        return json.loads(file.read_text(encoding="utf-8"))

    def _export(self, name: str, kind: ModelKind, learner: Learner) -> None:
        export_checkpoint(self._folder / "checkpoints" / name, kind, self._config, learner.model.state_dict())


def export_checkpoint(folder: Path, kind: ModelKind, config: dict[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Writes a stage's model as a checkpoint folder."""
    tokenizer: Tokenizer = build_tokenizer(kind, words=list_words())
    write_checkpoint(
        folder,
        kind,
        config=config,
        tokenizer=tokenizer,
        weights={name: weight.cpu() for name, weight in weights.items()},
        max_pixels=MAX_PIXELS,
        defaults=RETRIEVAL_DEFAULTS,
    )
