"""Files of plain colours, and hits and results that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from qwen3_vl_retrieval import MediaPolicy
from qwen3_vl_retrieval.index import Hit, SearchResults, Unit
from qwen3_vl_retrieval.paths import decode_path

__all__ = ["BLUE", "GREEN", "ORANGE", "RED", "encode_clip", "find_color", "make_hit", "make_results", "write_samples"]

RED, BLUE, GREEN, ORANGE = (200, 30, 40), (30, 60, 200), (20, 150, 60), (240, 140, 20)

_FRAME_RATE = 4
_CLIP_SIZE = (96, 64)


def write_samples(folder: Path) -> Path:
    """Writes a red and a blue picture, a PDF with a green and an orange page, and a clip that turns from blue to red.

    The clip lasts eight seconds and turns after four.
    """
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (160, 120), RED).save(folder / "red.png")
    Image.new("RGB", (120, 120), BLUE).save(folder / "blue.png")
    pages = [Image.new("RGB", (210, 297), color) for color in (GREEN, ORANGE)]
    pages[0].save(folder / "pages.pdf", save_all=True, append_images=pages[1:])
    encode_clip(folder / "turning.mp4", [BLUE] * 16 + [RED] * 16)
    return folder


def encode_clip(path: Path, colors: list[tuple[int, int, int]]) -> None:
    """Writes a video in H.264, a frame of each colour, four a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FRAME_RATE)
        stream.width, stream.height = _CLIP_SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"threads": "1", "g": "4"}
        for color in colors:
            pixels = np.full((_CLIP_SIZE[1], _CLIP_SIZE[0], 3), color, dtype=np.uint8)
            container.mux(stream.encode(VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def find_color(picture: Image.Image, place: tuple[float, float] = (0.5, 0.5)) -> tuple[int, int, int]:
    """The colour of the sample that the pixel at `place` (shares of width and height) is nearest to."""
    pixel = np.array(picture.getpixel((int(place[0] * picture.width), int(place[1] * picture.height))))
    return min((RED, BLUE, GREEN, ORANGE), key=lambda color: int(np.abs(pixel - np.array(color)).sum()))


def make_hit(**fields: Any) -> Hit:
    """A hit of an id only, with `fields` instead of that; those of a unit are of its unit."""
    source = fields.pop("source", None)
    unit: dict[str, Any] = {"media_type": "image"} | ({} if source is None else {"source": decode_path(source)})
    unit |= {name: fields.pop(name) for name in ("media_type", "page", "start", "end", "text") if name in fields}
    given: dict[str, Any] = {
        "rank": 1,
        "id": "0123456789abcdef0123",
        "unit": Unit(**unit),
        "sources": () if source is None else (source,),
        "similarity_score": 0.5,
        "relevance_score": 0.25,
        "keyword_rank": None,
        "metadata": {},
        "stored_item": None,
        "policy": MediaPolicy(),
    }
    return Hit(**(given | fields))


def make_results(*hits: Hit, **fields: Any) -> SearchResults:
    """Results of a reranked search for `q`, with `fields` instead of that."""
    given: dict[str, Any] = {"query": "q", "is_reranked": True, "failures": (), "seconds": {}}
    return SearchResults(hits=hits, **(given | fields))
