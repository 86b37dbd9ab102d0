"""What became of requests, whoever computed them: a row of numbers each, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import OnError
from qwen3_vl_retrieval.options import ScoreOutput
from qwen3_vl_retrieval.outputs.scoring import compute_probabilities
from qwen3_vl_retrieval.outputs.vectors import VectorFormat

__all__ = ["Outcome", "form_scores", "form_vectors", "raise_first_failure"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run produced.

    Attributes:
        values: One row per request: the state of its last token, or what a server made of it. Those of failed requests
            are zero.
        failures: Position of a request that could not be computed, and why.
    """

    values: Float32[np.ndarray, "requests width"]
    failures: dict[int, InputError] = field(default_factory=dict[int, InputError])

    def select(self, start: int, end: int) -> Outcome:
        """Returns the outcome of the requests from `start` up to `end`, counted from 0 again."""
        failures = {at - start: error for at, error in self.failures.items() if start <= at < end}
        return Outcome(self.values[start:end], failures)

    def spread(self, prepared: Sequence[Request | InputError], *, role: str) -> Outcome:
        """Returns the outcome of all positions of `prepared`, of which this is that of the requests alone.

        Args:
            prepared: Requests, and errors in place of those that could not be built.
            role: What the items are called in errors, each of which names its own position.
        """
        positions = [position for position, request in enumerate(prepared) if isinstance(request, Request)]
        values = np.zeros((len(prepared), self.values.shape[1]), dtype=np.float32)
        values[positions] = self.values
        failures = {position: request for position, request in enumerate(prepared) if isinstance(request, InputError)}
        for at, error in self.failures.items():
            failures[positions[at]] = error.at(positions[at], role=role)
        return Outcome(values, failures)

    def raise_failures(self, on_error: OnError) -> None:
        """Raises the first failure if errors are to be raised; does nothing otherwise."""
        if on_error == "raise":
            raise_first_failure([self.failures[position] for position in sorted(self.failures)])

    def place_failures(self, results: Iterable[T]) -> list[T | InputError]:
        """Returns the results with the error of each failed request in its place."""
        placed: list[T | InputError] = list(results)
        for position, error in self.failures.items():
            placed[position] = error
        return placed


def raise_first_failure(failures: Sequence[InputError]) -> None:
    """Raises the first of the errors, with a note that counts the others; does nothing if there are none."""
    if not failures:
        return
    first, *others = failures
    if others:
        positions = ", ".join(str(error.index) for error in others[:10]) + (", …" if len(others) > 10 else "")
        first.add_note(f'{len(others)} more failed: {positions}. Use on_error="return" to compute the others.')
    raise first


def form_vectors(
    outcome: Outcome, form: VectorFormat, on_error: OnError
) -> npt.NDArray[Any] | list[npt.NDArray[Any] | InputError]:
    """Returns states as the vectors that a call of an embedder returns.

    Raises:
        InputError: A request failed, and `on_error` is `"raise"`.
    """
    outcome.raise_failures(on_error)
    vectors = form.apply(outcome.values)
    return vectors if on_error == "raise" else outcome.place_failures(vectors)


def form_scores(
    outcome: Outcome, margins: Float32[np.ndarray, " requests"], output: ScoreOutput, on_error: OnError
) -> npt.NDArray[np.float32] | list[float | InputError]:
    """Returns margins as the scores that a call of a reranker returns.

    Raises:
        InputError: A request failed, and `on_error` is `"raise"`.
    """
    outcome.raise_failures(on_error)
    scores = margins if output == "margin" else compute_probabilities(margins)
    return scores if on_error == "raise" else outcome.place_failures(scores.tolist())
