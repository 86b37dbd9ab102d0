"""What a viewer shows of a decoded image: upright, its transparency on white, its levels and colours as sRGB.

The official scripts do none of this; `qwen3_vl_retrieval.media.images` has their reading, too. docs/semantics.md lists
the differences.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin, features
from PIL.Image import Transpose

__all__ = ["convert_to_srgb", "find_key_scale", "find_orientation", "has_late_metadata", "view_image"]

# The colour space of a profile, bytes 16 to 19 of its header (ICC.1:2022, section 7.2.6), by the mode it belongs to.
_SPACES = {"RGB": b"RGB ", "L": b"GRAY", "CMYK": b"CMYK"}

_SAME_LEVELS = 2
"""Profiles that move no colour by more than this are sRGB, however they are written."""

_MOST_TRANSFORMS = 16

_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What undoes an orientation of EXIF (CIPA DC-008-2023, section 4.6.5.1), as in `PIL.ImageOps.exif_transpose`."""

_DEEP_GREYS = ("I;16", "I;16L", "I;16B", "I;16N")

_STRIP_PIXELS = 2**22
"""Pixels of a deep image that are scaled at a time: numbers take four bytes and more where a level takes one."""

# What gray levels of fewer than 8 bits, as Pillow spreads them, have to be multiplied by.
_KEY_SCALES = {"L;2": 85, "L;4": 17}

_PALETTE_ENTRIES = 256

_SHALLOW_LEVELS = 255

_DEEP_LEVELS = 65_535


def convert_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Returns an RGB, grey or CMYK image in sRGB; as it is without a profile, or if the profile is damaged or foreign.

    A grey image comes back grey if there is nothing to convert, else as RGB; a CMYK image as RGB in any case.
    """
    transform = None if not profile or image.mode not in _SPACES else _build_transform(profile, image.mode)
    if transform is not None:
        return transform.apply(image)
    return image.convert("RGB") if image.mode == "CMYK" else image


@lru_cache(maxsize=_MOST_TRANSFORMS)
def _build_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """`None` for a profile that changes nothing, or that cannot be used. Transforms are safe to share by threads."""
    if profile[16:20] != _SPACES[mode] or not features.check("littlecms2"):
        return None
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            # Pillow does not say what it returns.
            ImageCms.ImageCmsProfile(cast("Any", ImageCms.createProfile("sRGB"))),
            mode,
            "RGB",
        )
        return None if mode != "CMYK" and _keeps_colors(transform, mode) else transform
    # LittleCMS has its own error, and Pillow raises others for a profile that cannot be read.
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _keeps_colors(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.arange(0, 256, 17 if mode == "L" else 51, dtype=np.uint8)
    grid = levels[None] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    probe = Image.fromarray(np.ascontiguousarray(grid))
    converted = np.asarray(transform.apply(probe), dtype=np.int16)
    return bool(np.abs(converted - np.asarray(probe.convert("RGB"), dtype=np.int16)).max() <= _SAME_LEVELS)


def find_orientation(image: Image.Image) -> int:
    """Returns the orientation that the image notes, 1 to 8; 1 if it notes none, or Pillow turns it while it loads.

    The pixels of a PNG are not read for it; what follows them is known once they are, see `has_late_metadata`.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1
    try:
        # Not the method of PNGs, which reads all the pixels first.
        noted: object = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - cameras and editors write EXIF of every kind, and no viewer stops at it
        return 1
    return noted if isinstance(noted, int) and noted in _TURNS else 1


def has_late_metadata(file: BinaryIO) -> bool:
    """Returns whether a PNG has an orientation, or text that may hold one, after its pixels."""
    file.seek(8)
    has_pixels = False
    while len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if has_pixels and kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
            return True
        if kind == b"IEND":
            return False
        has_pixels = has_pixels or kind == b"IDAT"
        file.seek(length + 4, 1)
    return False


def find_key_scale(image: Image.Image) -> int:
    """Returns what the transparent grey level of a PNG has to be multiplied by; only known before it is loaded."""
    arguments = {tile[3] for tile in getattr(image, "tile", ()) if isinstance(tile[3], str)}
    return next((scale for raw, scale in _KEY_SCALES.items() if raw in arguments), 1)


def view_image(image: Image.Image, *, key_scale: int = 1) -> Image.Image:
    """Returns a new RGB image as a viewer shows it; `image`, which is loaded, stays as it is.

    Args:
        image: An image of any mode.
        key_scale: See `find_key_scale`.
    """
    profile = image.info.get("icc_profile")
    color, alpha = _split_alpha(image, key_scale)
    if color.mode in (*_DEEP_GREYS, "I", "F"):
        color = _scale_levels(color, image)
    elif color.mode in ("RGBX", "YCbCr", "HSV", "LAB"):
        color, profile = color.convert("RGB"), None if color.mode == "LAB" else profile
    shown = convert_to_srgb(color, profile if isinstance(profile, bytes) else None)
    if shown.mode != "RGB":
        shown = shown.convert("RGB")
    if alpha is not None:
        canvas = Image.new("RGB", shown.size, (255, 255, 255))
        canvas.paste(shown, mask=alpha)
        shown = canvas
    turn = _TURNS.get(find_orientation(image))
    if turn is not None:
        shown = shown.transpose(turn)
    elif shown is image:
        shown = shown.copy()
    # Whoever reads the result must not turn or convert it once more.
    shown.info = {}
    return shown


def _split_alpha(image: Image.Image, key_scale: int) -> tuple[Image.Image, Image.Image | None]:
    """The image without its transparency, and the transparency by itself."""
    key = image.info.get("transparency")
    if key is not None:
        # Converting would look for the key, and stumble over one that is no colour of the image.
        image = image.copy()
        del image.info["transparency"]
    if image.mode in ("RGBa", "La"):
        image = image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode])
    elif image.mode == "P" and not _is_key_of_palette(key) and (image.palette is None or image.palette.mode == "RGB"):
        return image.convert("RGB"), None
    elif image.mode in ("P", "PA"):
        if _is_key_of_palette(key):
            image.info["transparency"] = key
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA"):
        bands = image.split()
        color = Image.merge("RGB", bands[:3]) if image.mode == "RGBA" else bands[0]
        return color, bands[-1]
    clear = _find_key(image, key, key_scale) if key is not None else None
    return image, None if clear is None else Image.fromarray(np.where(clear, np.uint8(0), np.uint8(255)))


def _is_key_of_palette(key: object) -> bool:
    return (isinstance(key, int) and 0 <= key < _PALETTE_ENTRIES) or (
        isinstance(key, bytes) and len(key) <= _PALETTE_ENTRIES
    )


def _find_key(image: Image.Image, key: object, key_scale: int) -> npt.NDArray[np.bool_] | None:
    """Where an image has the one colour that stands for transparency; `None` for a key that is no colour."""
    if image.mode not in ("1", "L", "RGB", *_DEEP_GREYS):
        return None
    pixels = np.asarray(image)
    if image.mode != "RGB":
        if not isinstance(key, int):
            return None
        return pixels == (key != 0) if image.mode == "1" else pixels == key * (key_scale if image.mode == "L" else 1)
    if not isinstance(key, tuple):
        return None
    levels = cast("tuple[object, ...]", key)
    if len(levels) != 3 or not all(isinstance(level, int) for level in levels):
        return None
    numbers = np.array(levels, dtype=np.int64)
    # Pillow keeps the upper byte of levels of 16 bits, and all of the key.
    return (pixels == (numbers >> 8 if numbers.max() > _SHALLOW_LEVELS else numbers)).all(axis=2)


def _scale_levels(image: Image.Image, source: Image.Image) -> Image.Image:
    """A grey image of numbers in 8 bits.

    Unsigned numbers of a known depth are levels between black and white. Other numbers, of which no file says what is
    white, are spread from the lowest to the highest, except fractions between 0 and 1. Of numbers that come from no
    file those within 8 or 16 bits are levels of that depth, as in Pillow.
    """
    tags: Any = source.tag_v2 if isinstance(source, TiffImagePlugin.TiffImageFile) else None
    values = np.asarray(image)
    if tags is not None and image.mode == "I" and _find_first(tags, TiffImagePlugin.SAMPLEFORMAT) == 1:
        # Pillow has no unsigned numbers of 32 bits.
        values = values.view(np.uint32)
    if image.mode in _DEEP_GREYS:
        bits = 16 if tags is None else _find_first(tags, TiffImagePlugin.BITSPERSAMPLE)
        low, high = 0.0, float(2**bits - 1 if 8 < bits <= 16 else _DEEP_LEVELS)
    else:
        low, high = _find_range(values, is_from_file=tags is not None)
    levels = np.empty(values.shape, dtype=np.uint8)
    rows = max(_STRIP_PIXELS // max(values.shape[1], 1), 1)
    for first in range(0, values.shape[0], rows):
        levels[first : first + rows] = _spread(values[first : first + rows], low, high)
    if tags is not None and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
        # Pillow turns levels of 8 bits where white is zero, and no others.
        levels = 255 - levels
    return Image.fromarray(levels)


def _find_first(tags: Any, tag: int) -> int:
    value = tags.get(tag, 1)
    return int(cast("tuple[Any, ...]", value)[0] if isinstance(value, tuple) else value)


def _find_range(values: npt.NDArray[Any], *, is_from_file: bool) -> tuple[float, float]:
    """What is black and what is white."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if finite.size == 0:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    if not is_from_file and low >= 0 and high <= _DEEP_LEVELS:
        return 0.0, float(_SHALLOW_LEVELS if high <= _SHALLOW_LEVELS else _DEEP_LEVELS)
    if low == high:
        # One number says nothing: black up to 0, white above.
        return (low, low + 1.0) if low <= 0 else (low - 1.0, low)
    return low, high


def _spread(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    numbers = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    return np.rint((np.clip(numbers, low, high) - low) * (255.0 / (high - low))).astype(np.uint8)
