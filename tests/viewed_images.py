"""Images that viewers and the official scripts see otherwise, and what ImageMagick shows of them.

`python tests/viewed_images.py` asks ImageMagick and writes `viewed_images.json`, which the tests compare with
whether or not ImageMagick is installed.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

SHOWN_BY_IMAGEMAGICK = Path(__file__).with_name("viewed_images.json")

TURNED_SINCE_IMAGEMAGICK_7 = ("orientation.png", "orientation.webp")
"""Version 6 turns JPEGs and TIFFs alone, browsers turn all four."""

SIZE = (48, 32)
# Row by row.
CORNERS = ((220, 40, 30), (30, 160, 60), (40, 70, 200), (240, 200, 40))
GREYS = (30, 100, 160, 230)

_ORIENTATION = 0x0112


def draw_corners() -> Image.Image:
    """Four colours, so that every turn is seen."""
    return Image.fromarray(_fill(np.array(CORNERS, dtype=np.uint8)))


def draw_greys() -> Image.Image:
    return Image.fromarray(_fill(np.array(GREYS, dtype=np.uint8)))


def _fill(values: np.ndarray) -> np.ndarray:
    width, height = SIZE
    canvas = np.empty((height, width, *values.shape[1:]), dtype=values.dtype)
    for place, value in enumerate(values):
        row, column = divmod(place, 2)
        canvas[row * height // 2 :][: height // 2, column * width // 2 :][:, : width // 2] = value
    return canvas


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def note_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return exif


def pack_png(size: tuple[int, int], depth: int, color: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of any kind, its rows uncompressed and without filters."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    width, height = size
    stride = len(rows) // height
    lines = b"".join(b"\0" + rows[stride * row : stride * (row + 1)] for row in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    before = b"".join(chunk(kind, data) for kind, data in chunks if not kind.startswith(b"late "))
    after = b"".join(chunk(kind[5:], data) for kind, data in chunks if kind.startswith(b"late "))
    pixels = chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + after + chunk(b"IEND", b"")


def pack_tiff(pixels: np.ndarray, *, photometric: int = 1, extra: tuple[int, ...] = (), order: str = "<") -> bytes:
    """An uncompressed TIFF of numbers of any type, little or big endian."""
    height, width = pixels.shape[:2]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    bits = struct.pack(f"{order}{samples}H", *[8 * pixels.dtype.itemsize] * samples)
    formats = struct.pack(f"{order}{samples}H", *[kind] * samples)
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, samples, bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, b"strip"),
        (277, 3, 1, samples),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
        (284, 3, 1, 1),
        *([(338, 3, len(extra), struct.pack(f"{order}{len(extra)}H", *extra))] if extra else []),
        (339, 3, samples, formats),
    ]
    offset = 8 + 2 + 12 * len(entries) + 4
    blobs = b""
    directory = struct.pack(f"{order}H", len(entries))
    strip = offset + sum(len(value) for _, _, _, value in entries if isinstance(value, bytes) and 4 < len(value) != 5)
    for tag, form, count, value in entries:
        if value == b"strip":
            field = struct.pack(f"{order}I", strip)
        elif isinstance(value, bytes) and len(value) > 4:
            field = struct.pack(f"{order}I", offset + len(blobs))
            blobs += value
        elif isinstance(value, bytes):
            field = value.ljust(4, b"\0")
        else:
            field = struct.pack(f"{order}H2x" if form == 3 else f"{order}I", value)
        directory += struct.pack(f"{order}HHI", tag, form, count) + field
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}I", 8) + directory + struct.pack(f"{order}I", 0) + blobs + data


def make_profile() -> bytes:
    """A profile whose red and green are exchanged, as no viewer could miss: that of sRGB with two tags renamed."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = content.replace(b"rXYZ", b"?XYZ").replace(b"gXYZ", b"rXYZ").replace(b"?XYZ", b"gXYZ")
    assert swapped != content
    return swapped


def make_samples() -> dict[str, bytes]:
    """Files by name; the suffix is that of the format."""
    corners, greys = draw_corners(), draw_greys()
    clear = Image.fromarray(_fill(np.array([255, 128, 0, 255], dtype=np.uint8)))
    see_through = corners.copy()
    see_through.putalpha(clear)
    samples = {
        f"orientation {number}.jpg": encode(corners, "JPEG", quality=95, exif=note_orientation(number))
        for number in range(1, 9)
    }
    samples |= {
        "orientation.png": encode(corners, "PNG", exif=note_orientation(6)),
        "orientation.webp": encode(corners, "WEBP", lossless=True, exif=note_orientation(6)),
        "orientation.tiff": encode(corners, "TIFF", tiffinfo={_ORIENTATION: 5}),
        "orientation 6.tiff": encode(corners, "TIFF", tiffinfo={_ORIENTATION: 6}),
        "rgba.png": encode(see_through, "PNG"),
        "rgba.webp": encode(see_through, "WEBP", lossless=True, exact=True),
        "la.png": encode(Image.merge("LA", (greys, clear)), "PNG"),
        "palette.png": encode(corners.quantize(8), "PNG"),
    }
    indexed = corners.quantize(4)
    first = indexed.getpixel((0, 0))
    samples |= {
        "palette with a clear entry.png": encode(indexed, "PNG", transparency=first),
        "palette with clear entries.png": encode(indexed, "PNG", transparency=bytes([0, 128, 255, 64])),
        "palette with a clear entry.gif": encode(indexed, "GIF", transparency=first),
        "grey with a clear level.png": encode(greys, "PNG", transparency=30),
        "rgb with a clear colour.png": encode(corners, "PNG", transparency=CORNERS[1]),
        "4 bits with a clear level.png": pack_png(
            SIZE, 4, 0, _pack_nibbles(_fill(np.array([2, 6, 10, 15], dtype=np.uint8))), (b"tRNS", b"\0\x0a")
        ),
        "16 bits.png": _pack_deep_png(),
        "16 bits with a clear level.png": _pack_deep_png((b"tRNS", struct.pack(">H", GREYS[3] * 257))),
        "16 bits.tiff": pack_tiff(_fill(np.array(GREYS, dtype=np.uint16) * 257)),
        "16 bits big endian.tiff": pack_tiff(_fill(np.array(GREYS, dtype=np.uint16) * 257), order=">"),
        "16 bits white is zero.tiff": pack_tiff(_fill(np.array(GREYS, dtype=np.uint16) * 257), photometric=0),
        "16 bits rgb.tiff": pack_tiff(_fill(np.array(CORNERS, dtype=np.uint16) * 257), photometric=2),
        "fractions.tiff": pack_tiff(_fill(np.array(GREYS, dtype=np.float32) / 255)),
        "cmyk.jpg": encode(corners.convert("CMYK"), "JPEG", quality=95),
        "cmyk.tiff": encode(corners.convert("CMYK"), "TIFF"),
        "1 bit.png": encode(greys.convert("1", dither=Image.Dither.NONE), "PNG"),
        "1 bit.tiff": encode(greys.convert("1", dither=Image.Dither.NONE), "TIFF", compression="group4"),
        "profile.png": encode(corners, "PNG", icc_profile=make_profile()),
        "profile.jpg": encode(corners, "JPEG", quality=95, icc_profile=make_profile()),
        "animation.gif": encode(corners, "GIF", save_all=True, append_images=[greys.convert("RGB")]),
        "corners.bmp": encode(corners, "BMP"),
    }
    return samples


def _pack_nibbles(levels: np.ndarray) -> bytes:
    return (levels[:, ::2] << 4 | levels[:, 1::2]).astype(np.uint8).tobytes()


def _pack_deep_png(*chunks: tuple[bytes, bytes]) -> bytes:
    levels = _fill(np.array(GREYS, dtype=np.uint16) * 257)
    return pack_png(SIZE, 16, 0, levels.astype(">u2").tobytes(), *chunks)


def average_corners(image: Image.Image) -> list[list[float]]:
    """The mean colours of the four quarters, row by row."""
    pixels = np.asarray(image.convert("RGB"), dtype=float)
    height, width, _ = pixels.shape
    return [
        pixels[rows, columns].mean(axis=(0, 1)).round(1).tolist()
        for rows in (slice(height // 2), slice(height // 2, None))
        for columns in (slice(width // 2), slice(width // 2, None))
    ]


def find_imagemagick() -> str | None:
    """The program, if it is ImageMagick itself."""
    for name in ("magick", "convert-im6.q16", "convert"):
        program = shutil.which(name)
        if program is None or Path(program).resolve().read_bytes()[:2] == b"#!":
            continue
        version = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - fixed
        if "ImageMagick" in version:
            return program
    return None


def ask_imagemagick(program: str, name: str, content: bytes) -> Image.Image:
    """The first image of a file as ImageMagick shows it: upright, on white, in sRGB."""
    with tempfile.TemporaryDirectory() as folder:
        source, shown = Path(folder) / name, Path(folder) / "shown.png"
        source.write_bytes(content)
        profile: list[str] = []
        if name.startswith("profile"):
            (Path(folder) / "srgb.icc").write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
            profile = ["-profile", str(Path(folder) / "srgb.icc")]
        options = [
            "-auto-orient",
            *profile,
            "-colorspace",
            "sRGB",
            "-background",
            "white",
            "-alpha",
            "remove",
            "-alpha",
            "off",
        ]
        command = [program, f"{source}[0]", *options, "-depth", "8", f"PNG24:{shown}"]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - files of our own
        return Image.open(io.BytesIO(shown.read_bytes()))


def main() -> None:
    program = find_imagemagick()
    if program is None:
        raise SystemExit("ImageMagick is not installed")
    table: dict[str, object] = {}
    samples = make_samples()
    for name in samples:
        like = "orientation 6.tiff" if name in TURNED_SINCE_IMAGEMAGICK_7 else name
        image = ask_imagemagick(program, like, samples[like])
        table[name] = {"size": list(image.size), "corners": average_corners(image)}
    SHOWN_BY_IMAGEMAGICK.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
