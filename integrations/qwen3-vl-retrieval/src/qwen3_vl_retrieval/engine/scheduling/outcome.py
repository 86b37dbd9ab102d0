"""What a run produced, and what becomes of the items that failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from jaxtyping import Float32
from torch import Tensor

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.options import OnError

__all__ = ["Outcome", "raise_first_failure"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run produced.

    Attributes:
        hidden_states: State of each request's last token; rows of failed requests are zero.
        failures: Position of a request whose media could no longer be read, and why.
    """

    hidden_states: Float32[Tensor, "requests hidden"]
    failures: dict[int, InputError] = field(default_factory=dict[int, InputError])

    def select(self, start: int, end: int) -> Outcome:
        """Returns the outcome of the requests from `start` up to `end`, counted from 0 again."""
        failures = {at - start: error for at, error in self.failures.items() if start <= at < end}
        return Outcome(self.hidden_states[start:end], failures)

    def raise_failures(self, on_error: OnError) -> None:
        """Raises the first failure if errors are to be raised; passes silently otherwise."""
        if on_error == "raise":
            raise_first_failure([self.failures[position] for position in sorted(self.failures)])

    def place_failures(self, results: Iterable[T]) -> list[T | InputError]:
        """Returns the results with the error of each failed request in its place."""
        placed: list[T | InputError] = list(results)
        for position, error in self.failures.items():
            placed[position] = error
        return placed


def raise_first_failure(failures: Sequence[InputError]) -> None:
    """Raises the first of the errors, with a note that counts the others; passes silently if there are none."""
    if not failures:
        return
    first, *others = failures
    if others:
        positions = ", ".join(str(error.index) for error in others[:10]) + (", …" if len(others) > 10 else "")
        first.add_note(f'{len(others)} more failed: {positions}. Use on_error="return" to compute the others.')
    raise first
