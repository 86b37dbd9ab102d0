"""Lowest scores that were chosen on questions with known answers, kept with an index and called by what they mean.

`fpr=0.01` lets one of a hundred wrong candidates pass; `probability=0.9` is where nine of ten candidates are right.
What they are as scores holds for the vectors, the reranker and the instruction that they were measured with, and for no
others. `qwen3vl eval` measures them and writes the file `thresholds.json` into the folder of the index.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from qwen3_vl_retrieval.errors import FingerprintMismatchError, StoreError, explain_disk_errors, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint

__all__ = [
    "Calibration",
    "CutOff",
    "FittedThresholds",
    "ThresholdStage",
    "find_relevance_threshold",
    "find_threshold",
    "load_thresholds",
    "place_score",
    "save_thresholds",
]

ThresholdStage: TypeAlias = Literal["first", "reranked"]

_FILE = "thresholds.json"

_FORMAT = 1

_LEAST_PROBABILITY = 1e-7
"""What float32 can tell from 0 and 1."""

_HINT = "measure them with qwen3vl eval STORE --questions FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """A lowest score.

    Attributes:
        score: The score.
        false_positive_rate: Share of the wrong candidates that pass, on questions that it was not chosen on.
        recall: Share of the right ones that do.
    """

    score: float
    false_positive_rate: float
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A logistic curve from scores to the share of candidates that are right.

    Attributes:
        slope: By the log-odds of a probability, or by a cosine.
        intercept: Where they are 0.
        brier: Mean squared error, on questions that the curve was not fitted to.
        error: How far probabilities are from shares on average, on the same.
    """

    slope: float
    intercept: float
    brier: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedThresholds:
    """What scores of a stage mean, for one embedder, reranker and instruction.

    Attributes:
        stage: Whose scores: `"first"` has cosines, `"reranked"` probabilities.
        fingerprint: Fingerprint of the index.
        reranker: Model of the second stage; `None` for the first.
        instruction: What was asked with; `None` is the models' own.
        questions: Questions that were measured.
        positives: Candidates that were right.
        negatives: Candidates that were wrong, or of which nobody has said.
        auc: How often a right candidate has a higher score than a wrong one.
        cut_offs: By the false-positive rate, as text; only those that the number of negatives can show.
        calibration: `None` if scores say nothing about answers.
    """

    stage: ThresholdStage
    fingerprint: Fingerprint
    reranker: str | None
    instruction: str | None
    questions: int
    positives: int
    negatives: int
    auc: float
    cut_offs: Mapping[str, CutOff] = field(default_factory=dict[str, CutOff])
    calibration: Calibration | None = None

    def find_score(self, wanted: str) -> float:
        """Returns the lowest score that `fpr=0.01` or `probability=0.9` stands for.

        Raises:
            ValueError: It is not understood, or was not measured.
        """
        kind, value = _parse(wanted)
        if kind == "fpr":
            found = next((one for rate, one in self.cut_offs.items() if math.isclose(float(rate), value)), None)
            if found is None:
                held = ", ".join(f"fpr={rate}" for rate in self.cut_offs) or "none"
                raise ValueError(
                    f"threshold={quote(wanted)} was not measured: with {self.negatives:,} wrong candidates there is "
                    f"{held}; a rate needs at least one over it, 1,000 for 0.001"
                )
            return found.score
        curve = self.calibration
        if curve is None:
            raise ValueError(f"threshold={quote(wanted)} cannot be had: the scores say nothing about the answers")
        place = (math.log(value / (1 - value)) - curve.intercept) / curve.slope
        return place if self.stage == "first" else 1 / (1 + math.exp(-place))

    def find_probability(self, score: float) -> float | None:
        """Returns the share of candidates with a score that are right; `None` if there is no curve."""
        if self.calibration is None:
            return None
        odds = self.calibration.slope * place_score(score, self.stage) + self.calibration.intercept
        return 1 / (1 + math.exp(-odds))

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FittedThresholds:
        """Returns what `to_dict` wrote."""
        given = dict(values)
        given["fingerprint"] = Fingerprint.from_dict(given["fingerprint"])
        given["cut_offs"] = {rate: CutOff(**one) for rate, one in given["cut_offs"].items()}
        given["calibration"] = None if given["calibration"] is None else Calibration(**given["calibration"])
        return cls(**given)


def place_score(score: float, stage: ThresholdStage) -> float:
    """Returns where a score is on the axis of a calibration: log-odds of a probability, or the cosine."""
    if stage == "first":
        return score
    inside = min(max(score, _LEAST_PROBABILITY), 1 - _LEAST_PROBABILITY)
    return math.log(inside / (1 - inside))


def save_thresholds(folder: Path, fitted: Sequence[FittedThresholds]) -> Path:
    """Writes thresholds into the folder of an index, in the place of older ones for the same, and returns the file.

    Raises:
        StoreError: The folder cannot be written to, or the file there is damaged.
    """
    path = folder / _FILE
    fresh = {_identify(one) for one in fitted}
    kept = [one for one in (load_thresholds(folder) if path.is_file() else []) if _identify(one) not in fresh]
    document = {"format": _FORMAT, "thresholds": [one.to_dict() for one in (*kept, *fitted)]}
    with explain_disk_errors(folder):
        temporary = path.with_name(f"{_FILE}.new")
        temporary.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")
        temporary.replace(path)
    return path


def load_thresholds(path: str | Path) -> list[FittedThresholds]:
    """Returns the thresholds in a file, or in the folder of an index.

    Raises:
        StoreError: There are none, or the file is damaged or of another version.
    """
    given = Path(path)
    file = given / _FILE if given.is_dir() else given
    if not file.is_file():
        raise StoreError(f"no thresholds are kept with {quote(str(path))}; {_HINT}")
    try:
        document = cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))
        if document["format"] != _FORMAT:
            raise StoreError(f"{quote(str(file))} is of another version; {_HINT}")
        return [FittedThresholds.from_dict(one) for one in document["thresholds"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, FingerprintMismatchError) as error:
        raise StoreError(f"{quote(str(file))} holds no thresholds that can be read; {_HINT}") from error


def find_threshold(
    path: str | Path,
    wanted: str,
    *,
    stage: ThresholdStage,
    reranker: str | None,
    instruction: str | None,
    fingerprint: Fingerprint | None = None,
) -> float:
    """Returns the lowest score that `fpr=0.01` or `probability=0.9` stands for.

    Args:
        path: Where thresholds are kept: the folder of an index, or a file.
        wanted: What is asked for.
        stage: Whose scores are compared with it.
        reranker: Model of the second stage.
        instruction: What is asked with; `None` is the models' own.
        fingerprint: Fingerprint of the index that is searched; `None` where no vectors are compared.

    Raises:
        ValueError: `wanted` is not understood, or was not measured.
        FingerprintMismatchError: What was measured holds for another embedder.
        StoreError: Nothing was measured for this stage, reranker or instruction.
    """
    _parse(wanted)
    kept = [one for one in load_thresholds(path) if one.stage == stage]
    if not kept:
        said = "after reranking" if stage == "reranked" else "without a reranker"
        raise StoreError(f"no thresholds are kept for scores {said}; {_HINT}")
    if fingerprint is not None:
        same = [one for one in kept if one.fingerprint == fingerprint]
        if not same:
            fingerprint.require_match(kept[0].fingerprint)
        kept = same
    _require_same("reranker", reranker, [one.reranker for one in kept])
    kept = [one for one in kept if one.reranker == reranker]
    _require_same("instruction", instruction, [one.instruction for one in kept])
    return next(one for one in kept if one.instruction == instruction).find_score(wanted)


def find_relevance_threshold(
    wanted: float | str | None, folder: str | Path | None, *, reranker: Callable[[], str], instruction: str | None
) -> float | None:
    """Returns the lowest probability for a reranker that ranks without an index; what is no text is returned as it is.

    Args:
        wanted: A probability, or what it means, as in `find_threshold`.
        folder: Folder of the index on which thresholds were measured.
        reranker: Returns the name of the model; called only if thresholds are read.
        instruction: What is asked with; `None` is the model's own.

    Raises:
        ValueError: The folder is missing, or `wanted` is not understood or was not measured.
        StoreError: Nothing was measured for this reranker or instruction.
    """
    if not isinstance(wanted, str):
        return wanted
    if folder is None:
        raise ValueError(
            f"score_threshold={quote(wanted)} needs thresholds, the folder of the index that qwen3vl eval has "
            "measured; give it, or a number"
        )
    return find_threshold(folder, wanted, stage="reranked", reranker=reranker(), instruction=instruction)


def _require_same(name: str, wanted: str | None, measured: Sequence[str | None]) -> None:
    if wanted not in measured:
        raise StoreError(
            f"the thresholds were measured with another {name}: {quote(measured[0])}, and now it is {quote(wanted)}; "
            f"{_HINT} with this one"
        )


def _identify(fitted: FittedThresholds) -> tuple[object, ...]:
    return fitted.stage, fitted.fingerprint, fitted.reranker, fitted.instruction


def _parse(wanted: str) -> tuple[str, float]:
    kind, _, text = wanted.partition("=")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if kind.strip() not in ("fpr", "probability") or not 0 < value < 1:
        raise ValueError(
            f"threshold={quote(wanted)} is not understood; give a score, or fpr=0.1, fpr=0.01, fpr=0.001 (share of "
            "wrong candidates that pass) or probability=0.9 (share of right ones at this score)"
        )
    return kind.strip(), value
