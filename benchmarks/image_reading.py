"""What reading images as a viewer shows them costs, and what it is worth.

    uv run python benchmarks/image_reading.py

Prints the processor time of the viewer reading over that of the reference reading, image by image in turns, and the
cosine of a file with the image that a person sees in it, under both readings, with the small model `pocket`.
"""

from __future__ import annotations

import io
import json
import statistics
import time

import numpy as np
from PIL import Image

from qwen3_vl_retrieval import MediaPolicy, Qwen3VLEmbedder
from qwen3_vl_retrieval.media import read_image

POLICY = MediaPolicy()
ROUNDS = 15


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def draw_scene(width: int, height: int) -> Image.Image:
    """Shapes on paper, with a little noise so that nothing compresses to nothing."""
    from PIL import ImageDraw

    image = Image.new("RGB", (width, height), (250, 248, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 10, height // 10, width // 2, height // 3), fill=(200, 30, 40))
    draw.ellipse((width // 2, height // 2, width * 9 // 10, height * 9 // 10), fill=(20, 80, 190))
    draw.polygon(
        [(width // 8, height * 7 // 8), (width // 4, height // 2), (width * 3 // 8, height * 7 // 8)],
        fill=(30, 140, 60),
    )
    noise = np.random.default_rng(0).integers(0, 6, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(np.asarray(image) - noise)


def measure_cost() -> dict[str, float]:
    photo = draw_scene(4000, 3000)
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {
        "JPEG of 12 megapixels": encode(photo, "JPEG", quality=90),
        "JPEG of 12 megapixels with an sRGB profile": encode(photo, "JPEG", quality=90, icc_profile=srgb),
        "PNG of 1920x1080": encode(draw_scene(1920, 1080), "PNG"),
        "PNG of 1920x1080 with a palette": encode(draw_scene(1920, 1080).quantize(64), "PNG"),
    }
    ratios: dict[str, float] = {}
    for name, content in files.items():
        seconds: dict[str, list[float]] = {"viewer": [], "reference": []}
        for turn in range(2 * ROUNDS):
            reading = ("viewer", "reference")[turn % 2]
            begun = time.process_time()
            read_image(content, POLICY, reading=reading)
            seconds[reading].append(time.process_time() - begun)
        ratios[name] = round(min(seconds["viewer"]) / min(seconds["reference"]), 3)
        ratios[name + ", median"] = round(
            statistics.median(seconds["viewer"]) / statistics.median(seconds["reference"]), 3
        )
    return ratios


def measure_worth() -> dict[str, dict[str, float]]:
    """Cosine of what a person sees with the file, by the reading of the model."""
    seen = draw_scene(480, 320)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = seen.transpose(Image.Transpose.ROTATE_90)
    grey = seen.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    fractions = Image.fromarray(np.asarray(grey, dtype=np.float32) / 255)
    ink = np.asarray(grey) < 200
    logo = Image.fromarray(np.dstack([np.zeros((*ink.shape, 3), np.uint8), np.where(ink, 255, 0).astype(np.uint8)]))
    drawn = Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).convert("RGB")
    cases = {
        "photograph noted as turned (EXIF 6)": (seen, encode(turned, "JPEG", quality=95, exif=exif)),
        "16-bit grey": (grey.convert("RGB"), encode(deep, "TIFF")),
        "float TIFF": (grey.convert("RGB"), encode(fractions, "TIFF")),
        "black logo, transparent around (LA)": (drawn, encode(logo.convert("LA"), "PNG")),
        "black logo, transparent around (palette)": (drawn, encode(logo.quantize(16), "PNG")),
        "CMYK": (seen, encode(seen.convert("CMYK"), "JPEG", quality=95)),
    }
    readings = ("viewer", "reference")
    embedders = {
        reading: Qwen3VLEmbedder.from_pretrained("pocket", dtype="float32", image_reading=reading)
        for reading in readings
    }
    table: dict[str, dict[str, float]] = {}
    for name, (expected, content) in cases.items():
        table[name] = {}
        for reading, embedder in embedders.items():
            one, other = embedder.embed([{"image": expected}, {"image": content}])
            table[name][reading] = round(float(one @ other), 3)
    return table


if __name__ == "__main__":
    print(json.dumps({"time over reference": measure_cost(), "cosine with what is seen": measure_worth()}, indent=1))
