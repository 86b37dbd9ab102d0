"""What a search result depends on, as regions of what was found, and how that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from PIL import Image

from qwen3_vl_retrieval.explanations.boxes import Box
from qwen3_vl_retrieval.explanations.overlays import OverlayMark, draw_overlay, render_overlay

__all__ = ["ExplainMethod", "Explanation", "Region"]

ExplainMethod: TypeAlias = Literal["auto", "words", "occlusion"]
"""How a hit is explained. `"words"`: where the words of the question stand in the text. `"occlusion"`: which parts take
most from the score when they are covered. `"auto"`: the words, and occlusion where none of them stands."""

_STATEMENTS = {
    "words": "Words of the question in the text. They are found by themselves: no score was asked.",
    "margin": "What the reranker's score depends on: what takes most from it when it is shuffled or covered.",
    "cosine": "What the similarity of the vectors depends on: what takes most from it when it is shuffled or covered.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A part of an image or page, a span of a video, or words of a text.

    Attributes:
        weight: How much it matters: 1 for the strongest region, less for the others, above 0.
        box: Where it is, in shares of width and height; `None` in a video and in a text.
        start: First second in the video; `None` in anything else.
        end: Last second in the video.
        text: The words, if it was found by them.
        effect: What it takes from the score to alter it, summed over shuffling and covering: log-odds of the reranker
            with ten times the cosine; or cosine. `None` for words.
    """

    weight: float
    box: Box | None = None
    start: float | None = None
    end: float | None = None
    text: str | None = None
    effect: float | None = None

    def describe(self) -> dict[str, Any]:
        """Returns the region as JSON takes it, without what it has not."""
        values: dict[str, Any] = {
            "weight": round(self.weight, 4),
            "box": None if self.box is None else [round(edge, 4) for edge in self.box.edges],
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "effect": None if self.effect is None else round(self.effect, 4),
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """Why something was found, strongest region first.

    Attributes:
        method: `"words"` or `"occlusion"`.
        measure: What the weights are of: `"words"`, `"margin"` (log-odds of the reranker) or `"cosine"`.
        regions: The regions; empty if no word was found, or nothing that was covered took anything from the score.
        score: Log-odds or cosine with nothing covered; `None` for words.
        judged: How many images, pages or videos the model has looked at.
        image: What is explained; of a video, a frame from the middle of the strongest span; `None` for a text.
    """

    method: Literal["words", "occlusion"]
    measure: Literal["words", "margin", "cosine"]
    regions: Sequence[Region]
    score: float | None = None
    judged: int = 0
    image: Image.Image | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", tuple(self.regions))

    @property
    def statement(self) -> str:
        """What the regions are, and are not, in a sentence."""
        return _STATEMENTS[self.measure]

    def describe(self) -> dict[str, Any]:
        """Returns the explanation as JSON takes it: `method`, `measure`, `statement` and `regions`."""
        return {
            "method": self.method,
            "measure": self.measure,
            "statement": self.statement,
            "regions": [region.describe() for region in self.regions],
        }

    def show(self) -> Image.Image | None:
        """Returns a copy of the image with its regions framed, the strongest most; `None` for a text.

        A notebook shows it when it is the last value of a cell.
        """
        return None if self.image is None else draw_overlay(self.image, self._list_marks())

    def to_html(self) -> str:
        """Returns the image with its regions, and what they are, as HTML that holds everything it shows."""
        return render_overlay(self.image, self._list_marks(), statement=self.statement, notes=self._list_notes())

    def _repr_html_(self) -> str:
        return self.to_html()

    def _list_marks(self) -> list[OverlayMark]:
        return [
            OverlayMark(box=region.box, weight=region.weight, label=_label(region))
            for region in self.regions
            if region.box is not None
        ]

    def _list_notes(self) -> list[str]:
        if not self.regions:
            return [
                "No words were found." if self.method == "words" else "Nothing that was covered took from the score."
            ]
        return [f"{_label(region)} ({region.weight:.2f})" for region in self.regions if region.box is None]


def _label(region: Region) -> str:
    if region.text is not None:
        return region.text
    if region.start is not None and region.end is not None:
        return f"{region.start:.1f} to {region.end:.1f} s"
    return "" if region.effect is None else f"-{region.effect:.2f}"
