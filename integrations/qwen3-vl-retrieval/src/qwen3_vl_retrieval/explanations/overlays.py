"""Regions drawn over an image: as pixels, and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape
from PIL import Image, ImageDraw

from qwen3_vl_retrieval.documents.labels import clean_text, cut_excerpt
from qwen3_vl_retrieval.documents.previews import encode_thumbnail
from qwen3_vl_retrieval.explanations.boxes import Box

__all__ = ["OverlayMark", "draw_overlay", "render_marks", "render_overlay"]

_COLOR = (214, 40, 120)
_FILL_OPACITY = 0.28
_LEAST_OPACITY = 0.25
_LINE_SHARE = 0.004
_LABEL_CHARACTERS = 60
_HTML_SIDE_PIXELS = 900
_MARGIN = 0.006
"""Room between what is framed and its frame, as a share of width and height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayMark:
    """A rectangle over an image.

    Attributes:
        box: Where, in shares of width and height.
        weight: How strongly it is drawn, above 0 and up to 1.
        label: What it is; `""` is nothing.
    """

    box: Box
    weight: float
    label: str


def draw_overlay(image: Image.Image, marks: Sequence[OverlayMark]) -> Image.Image:
    """Returns a copy of an image with the marks on it, the strongest last."""
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    line = max(2, round(_LINE_SHARE * max(image.size)))
    for mark in sorted(marks, key=lambda one: one.weight):
        opacity = _find_opacity(mark)
        box = _widen(mark.box).scale(*image.size)
        fill = (*_COLOR, round(255 * _FILL_OPACITY * opacity))
        draw.rectangle(box.edges, fill=fill, outline=(*_COLOR, round(255 * opacity)), width=line)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def render_overlay(
    image: Image.Image | None, marks: Sequence[OverlayMark], *, statement: str, notes: Sequence[str] = ()
) -> str:
    """Returns an image with marks on it as HTML: no script, nothing is fetched, and no style but its own.

    Args:
        image: The image; `None` leaves only the words.
        marks: What to mark.
        statement: A line below the image.
        notes: Further lines.
    """
    parts: list[str] = ['<figure class="qwen3vl-explanation" style="margin:0;max-width:720px">']
    if image is not None:
        source = encode_thumbnail(image, side_pixels=_HTML_SIDE_PIXELS)
        parts.append('<div style="position:relative;display:inline-block;max-width:100%">')
        parts.append(f'<img src="{source}" alt="" style="display:block;max-width:100%">')
        parts.append(render_marks(marks))
        parts.append("</div>")
    parts.append(f'<figcaption style="font:13px/1.5 sans-serif">{escape(statement)}')
    parts += [f"<br>{escape(cut_excerpt(note, most_characters=_LABEL_CHARACTERS))}" for note in notes]
    parts.append("</figcaption></figure>")
    return "".join(parts)


def render_marks(marks: Sequence[OverlayMark]) -> Markup:
    """Returns marks as an SVG that covers the positioned element around it."""
    shapes: list[str] = []
    for mark in sorted(marks, key=lambda one: one.weight):
        box, opacity = _widen(mark.box), _find_opacity(mark)
        title = escape(clean_text(mark.label))
        place = " ".join(
            f'{name}="{100 * share:.2f}%"'
            for name, share in (
                ("x", box.left),
                ("y", box.top),
                ("width", box.right - box.left),
                ("height", box.bottom - box.top),
            )
        )
        shapes.append(
            f'<rect {place} fill="rgb{_COLOR}" fill-opacity="{_FILL_OPACITY * opacity:.2f}" stroke="rgb{_COLOR}" '
            f'stroke-opacity="{opacity:.2f}" stroke-width="2"><title>{title}</title></rect>'
        )
    style = "position:absolute;inset:0;width:100%;height:100%;overflow:visible"
    return Markup(f'<svg style="{style}" role="img" aria-label="what was found">{"".join(shapes)}</svg>')  # noqa: S704 - labels are escaped above


def _find_opacity(mark: OverlayMark) -> float:
    return max(_LEAST_OPACITY, mark.weight)


def _widen(box: Box) -> Box:
    return Box(
        max(box.left - _MARGIN, 0.0),
        max(box.top - _MARGIN, 0.0),
        min(box.right + _MARGIN, 1.0),
        min(box.bottom + _MARGIN, 1.0),
    )
