"""What the models of a command had to compute, as a table."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from qwen3_vl_retrieval.engine.statistics import EngineStatistics

__all__ = ["Profile"]


class _Counting(Protocol):
    @property
    def stats(self) -> EngineStatistics: ...


@dataclass(slots=True)
class Profile:
    """Models whose counters are shown when a command is done."""

    models: dict[str, _Counting] = field(default_factory=dict[str, _Counting])

    def print(self, console: Console) -> None:
        """Prints the counters of each model; the names are those of `EngineStatistics`, which describes them."""
        if not self.models:
            return
        table = Table("", *self.models, title="profile")
        for column in table.columns[1:]:
            column.justify = "right"
        columns = [model.stats for model in self.models.values()]
        for counter in fields(columns[0]):
            values = [getattr(column, counter.name) for column in columns]
            shown = [f"{value:.2f}" if isinstance(value, float) else f"{value:,}" for value in values]
            table.add_row(counter.name, *shown)
        console.print(table)
