"""Plots of an evaluation as SVG, which take the colours of the page that they stand in."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from qwen3_vl_retrieval.evaluation.evaluation import Evaluation
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["draw_depths", "draw_stages", "draw_vectors"]

_INK, _LINE, _FIRST, _SECOND, _THIRD = "#010101", "#020202", "#030303", "#040404", "#050505"
"""Stand for colours of the page."""

_VARIABLES = {
    _INK: "var(--quiet)",
    _LINE: "var(--line)",
    _FIRST: "var(--quiet)",
    _SECOND: "var(--accent)",
    _THIRD: "var(--answer)",
}

_SIZE_INCHES = (6.0, 3.2)


def draw_stages(evaluation: Evaluation) -> Markup:
    """Returns the measures of both stages with their intervals."""
    figure, axes = _begin()
    names = [name for name in next(iter(evaluation.stages.values())).values if not name.startswith("precision")]
    for place, (stage, color) in enumerate(zip(evaluation.stages, (_FIRST, _SECOND), strict=False)):
        intervals = evaluation.stages[stage].intervals
        means = [intervals[name].mean for name in names]
        reach = [
            [intervals[name].mean - intervals[name].low for name in names],
            [intervals[name].high - intervals[name].mean for name in names],
        ]
        heights = [row + 0.22 * (2 * place - 1) if len(evaluation.stages) > 1 else row for row in range(len(names))]
        label = {"first": "first stage", "reranked": "reranked"}[stage]
        axes.errorbar(means, heights, xerr=reach, fmt="o", color=color, capsize=3, markersize=5, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.legend(frameon=False, loc="lower left", labelcolor=_INK)
    return _finish(figure, axes)


def draw_depths(evaluation: Evaluation) -> Markup:
    """Returns the main measure, and seconds for a question, by the number of judged candidates."""
    figure, axes = _begin()
    name = evaluation.main_measure
    depths = [point.depth for point in evaluation.depth_curve]
    axes.plot(depths, [float(point.values[name].mean()) for point in evaluation.depth_curve], "o-", color=_SECOND)
    axes.axhline(evaluation.stages["first"].means[name], color=_FIRST, linestyle="--", linewidth=1)
    axes.set_xlabel("judged candidates", color=_INK)
    axes.set_ylabel(name, color=_SECOND)
    axes.set_xlim(0, max(depths) * 1.05)
    timed = [(point.depth, point.seconds) for point in evaluation.depth_curve if point.seconds is not None]
    if timed:
        clock = axes.twinx()
        clock.plot([depth for depth, _ in timed], [seconds for _, seconds in timed], "s:", color=_THIRD)
        clock.set_ylim(bottom=0)
        clock.set_ylabel("seconds for a question", color=_THIRD)
        _style(clock)
    return _finish(figure, axes)


def draw_vectors(evaluation: Evaluation) -> Markup:
    """Returns the main measure by bytes of a vector, one line for each number format."""
    figure, axes = _begin()
    name = evaluation.main_measure
    lines: dict[str, list[tuple[int, float]]] = {}
    for point in evaluation.vector_curve:
        mean = float(point.values[name].mean())
        lines.setdefault(point.setting.precision, []).append((point.setting.vector_bytes, mean))
    for (precision, points), color, mark in zip(
        sorted(lines.items()), (_FIRST, _SECOND, _THIRD, _INK), ("o-", "s-", "^-", "d-"), strict=False
    ):
        points.sort()
        axes.plot([size for size, _ in points], [mean for _, mean in points], mark, color=color, label=precision)
    sizes = sorted({point.setting.vector_bytes for point in evaluation.vector_curve})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("bytes of a vector", color=_INK)
    axes.set_ylabel(f"{name}, vectors alone", color=_INK)
    axes.legend(frameon=False, labelcolor=_INK)
    return _finish(figure, axes)


def _begin() -> tuple[Any, Any]:
    # Without pyplot: nothing is shown, and no figure is kept.
    figures = import_extra("matplotlib.figure", purpose="plots", extra="evaluation")
    figure = figures.Figure(figsize=_SIZE_INCHES, layout="tight")
    axes = figure.add_subplot()
    _style(axes)
    axes.grid(visible=True, color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _style(axes: Any) -> None:
    axes.patch.set_visible(False)
    axes.tick_params(colors=_INK, which="both")
    for side in axes.spines.values():
        side.set_color(_LINE)


def _finish(figure: Any, axes: Any) -> Markup:
    matplotlib = import_extra("matplotlib", purpose="plots", extra="evaluation")
    written = io.StringIO()
    nothing: Mapping[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    del axes
    # matplotlib has escaped the texts in it.
    return Markup(_adapt(written.getvalue(), list(_VARIABLES.items())))  # noqa: S704 - an image is not escaped again


def _adapt(svg: str, colors: Sequence[tuple[str, str]]) -> str:
    """The drawing alone, as wide as its place, in the colours of the page."""
    drawing = svg[svg.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawing, count=1)
    drawing = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 class="plot"', drawing, count=1)
    drawing = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", drawing)
    for color, variable in colors:
        drawing = drawing.replace(color, variable)
    return drawing
