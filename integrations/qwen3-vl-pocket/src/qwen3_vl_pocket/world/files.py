"""Images as files of other formats: videos as MP4, pages as PDF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from PIL import Image

from qwen3_vl_pocket.world.clips import CLIP_FRAME_RATE

__all__ = ["write_clip", "write_pdf"]

# One thread, and no date or version in the container: equal frames give equal bytes as a rule. On a busy machine x264
# departed from it now and then (`benchmarks/LOG.md`); the images are the same.
_X264 = {"crf": "20", "preset": "fast", "threads": "1"}
_BITEXACT = {"fflags": "+bitexact"}


def write_clip(frames: Sequence[Image.Image], target: Path | BinaryIO, *, frame_rate: int = CLIP_FRAME_RATE) -> None:
    """Writes frames as an MP4 with H.264 (yuv420p, CRF 20). Equal frames give equal images.

    Args:
        frames: RGB, all of one size, with even width and height.
        target: A path, or a file to write to that can seek.
        frame_rate: Frames a second.

    Raises:
        ValueError: There are no frames, their sizes differ, or a side is odd.
    """
    sizes = {frame.size for frame in frames}
    if len(sizes) != 1:
        raise ValueError(f"frames of sizes {sorted(sizes)} were given: a clip needs frames, all of one size")
    width, height = sizes.pop()
    if width % 2 or height % 2:
        raise ValueError(f"frames are {width}x{height}: H.264 with 4:2:0 colours needs even sides")
    file = str(target) if isinstance(target, Path) else target
    with av.open(file, mode="w", format="mp4", options=_BITEXACT) as container:
        stream = container.add_stream("libx264", rate=frame_rate, options=_X264)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            # Converted here, so that what goes into the encoder is known.
            planes = av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24").to_ndarray(format="yuv420p")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())


def write_pdf(pages: Sequence[Image.Image], path: Path, *, width_points: float = 420.0, quality: int = 95) -> None:
    """Writes each image as a page of a PDF: a scan, without a text layer. Equal pages give equal bytes.

    Args:
        pages: RGB, any sizes.
        path: Where to write.
        width_points: The width of every page in points of 1/72 inch; heights follow the images.
        quality: Quality of the JPEGs inside, 1 to 100.

    Raises:
        ValueError: There are no pages.
    """
    if not pages:
        raise ValueError("no pages were given: a PDF needs one or more")
    kids = " ".join(f"{3 + 3 * index} 0 R" for index in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>".encode(),
    ]
    for index, page in enumerate(pages):
        objects += _write_page(page, 3 + 3 * index, width_points, quality)
    path.write_bytes(_join_objects(objects))


def _write_page(page: Image.Image, number: int, width: float, quality: int) -> list[bytes]:
    height = width * page.height / page.width
    content = f"q {width:.2f} 0 0 {height:.2f} 0 0 cm /Scan Do Q".encode()
    jpeg = io.BytesIO()
    page.convert("RGB").save(jpeg, "JPEG", quality=quality, subsampling=0)
    return [
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.2f} {height:.2f}] /Contents {number + 1} 0 R "
        f"/Resources << /XObject << /Scan {number + 2} 0 R >> >> >>".encode(),
        _make_stream("", content),
        _make_stream(
            f"/Type /XObject /Subtype /Image /Width {page.width} /Height {page.height} "
            "/ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode ",
            jpeg.getvalue(),
        ),
    ]


def _make_stream(entries: str, data: bytes) -> bytes:
    return f"<< {entries}/Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"


def _join_objects(objects: Sequence[bytes]) -> bytes:
    """Puts a header before the objects, and behind them the table of their offsets that readers start from."""
    body = bytearray(b"%PDF-1.7\n")
    offsets: list[int] = []
    for number, data in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n".encode() + data + b"\nendobj\n"
    start = len(body)
    body += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    for offset in offsets:
        body += f"{offset:010d} 00000 n \n".encode()
    body += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(body)
