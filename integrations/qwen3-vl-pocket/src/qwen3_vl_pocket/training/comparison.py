"""The layer that compares: built from what reads both sides, before it is trained.

Behind the foundation a pair's middle state holds what is asked and what is found, each read linearly by a `FactReader`
(96 and 97 % of the values right). Whether the two agree is a product of both, and learning that from nothing is slow:
the layers behind the middle state had reached ROC-AUC 0.82 on pairs that differ in one value, where the readers alone
would give 0.92. A gated MLP multiplies. So its gates begin as the readings of what is asked, its other factors as the
readings of what is found, and what it adds as one direction for each slot. The last layer begins as the rule that one
disagreement is enough for no. Training goes on from there (benchmarks/LOG.md).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from qwen3_vl_pocket.training.forward import LAYERS_BEHIND_MIDDLE
from qwen3_vl_pocket.training.judgement import SLOTS
from qwen3_vl_pocket.training.reading import FactReader

__all__ = ["begin_comparison"]

_THRESHOLD = 3.0
"""A reading counts from here on: between those of the values that are there (6.5 on average) and the others (-0.9)."""

_SHARPNESS = 2.0
"""How steep the gates are."""

_AGREEMENT = 0.025
"""What a unit of agreement adds, as a share of the state's length."""

_HEAD_SCALE = 0.3

_VERDICT = 0.1
"""What a unit of disagreement takes from the verdict, and what it begins with, as shares of the state's length."""


def begin_comparison(
    layers: nn.ModuleList,
    norm: Any,
    slot_head: nn.Linear,
    *,
    asked_reader: FactReader,
    found_reader: FactReader,
    score_weight: Float[Tensor, " hidden"],
    middles: Float[Tensor, "pairs hidden"],
) -> None:
    """Makes the layers behind the middle state compare, in place.

    Args:
        layers: Layers of the language model.
        norm: Behind the last of them.
        slot_head: Tells which slots match.
        asked_reader: Reads off a middle state what is asked.
        found_reader: Reads off it what is found.
        score_weight: w_yes - w_no.
        middles: Some hundred middle states; their mean stands in for the constant that an MLP without biases lacks.
    """
    behind: list[Any] = list(layers)[len(layers) - LAYERS_BEHIND_MIDDLE :]
    states = functional.normalize(middles, dim=-1) * middles.shape[1] ** 0.5
    mean = states.mean(dim=0)
    constant = mean / (mean @ mean)
    asked, found = (_read_above_threshold(reader, constant) for reader in (asked_reader, found_reader))
    directions = nn.init.orthogonal_(torch.empty(middles.shape[1], len(SLOTS))).to(middles.device)
    length = float(middles.square().sum(dim=1).sqrt().mean())
    agreement = _AGREEMENT * length / _SHARPNESS
    with torch.no_grad():
        for layer in behind:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
            layer.post_attention_layernorm.weight.fill_(1.0)
        mlp = behind[0].mlp
        mlp.gate_proj.weight[: len(asked)] = _SHARPNESS * asked
        mlp.up_proj.weight[: len(found)] = found
        for slot, start, count in asked_reader.list_spans():
            mlp.down_proj.weight[:, start : start + count] = agreement * directions[:, [SLOTS.index(slot)]]
        # The last layer's gates open where sides disagree, and speak for no; one that is always open speaks for yes.
        last, slots = behind[-1].mlp, len(SLOTS)
        verdict = _VERDICT * length * functional.normalize(score_weight, dim=0)[:, None]
        last.gate_proj.weight[: slots + 1] = torch.cat([-directions.T, 2 * constant[None]])
        last.up_proj.weight[: slots + 1] = constant
        last.down_proj.weight[:, : slots + 1] = torch.cat([-verdict.expand(-1, slots), verdict], dim=1)
        norm.weight.fill_(1.0)
        slot_head.weight.copy_(_HEAD_SCALE * directions.T)
        slot_head.bias.zero_()


@torch.no_grad()
def _read_above_threshold(reader: FactReader, constant: Float[Tensor, " hidden"]) -> Float[Tensor, "values hidden"]:
    """The reader's rows, relative to the mean of each slot, with everything constant put on the constant direction."""
    weight, bias = reader.classifiers.weight.clone(), reader.classifiers.bias.clone()
    for _, start, count in reader.list_spans():
        weight[start : start + count] -= weight[start : start + count].mean(dim=0)
        bias[start : start + count] -= bias[start : start + count].mean()
    return weight + torch.outer(bias - _THRESHOLD, constant)
