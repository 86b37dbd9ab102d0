"""Small valid files of every format that is read, to be damaged by `fuzz_media.py`."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from PIL import Image
from poisonous_pdfs import write_pdf_objects

__all__ = ["write_image_seeds", "write_pdf_seeds", "write_video_seeds"]

_SIDES = (64, 48)

_VIDEOS = {
    "mp4": ("mp4", ("libx264", "mpeg4")),
    "mov": ("mov", ("mjpeg",)),
    "mkv": ("matroska", ("mpeg4",)),
    "webm": ("webm", ("libvpx-vp9", "libvpx")),
    "avi": ("avi", ("mpeg4",)),
    "ts": ("mpegts", ("mpeg2video",)),
    "mpg": ("mpeg", ("mpeg1video",)),
    "flv": ("flv", ("flv",)),
    "ogv": ("ogg", ("libtheora", "libvpx")),
}
"""Suffix: container, and codecs of which the first that is there is used."""


def write_image_seeds() -> dict[str, list[bytes]]:
    """Returns small images of every mode and compression that Pillow writes, by suffix."""
    colour = Image.fromarray(_draw(0))
    grey = colour.convert("L")
    alpha = colour.copy()
    alpha.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    floats = Image.fromarray(np.asarray(grey).astype(np.float32) / 255)
    palette = colour.convert("P")
    bits = grey.convert("1")
    exif = Image.Exif()
    exif[0x0112] = 6
    second = Image.fromarray(_draw(9))
    more = {"save_all": True, "append_images": [second]}
    return {
        "png": [
            *(_save(image, "PNG") for image in (colour, grey, alpha, deep, palette, bits, alpha.convert("LA"))),
            _save(palette, "PNG", transparency=3),
            _save(colour, "PNG", exif=exif, icc_profile=b"no profile"),
            _save(colour, "PNG", **more),
        ],
        "jpg": [
            _save(colour, "JPEG", exif=exif),
            _save(colour, "JPEG", progressive=True),
            _save(grey, "JPEG"),
            _save(colour.convert("CMYK"), "JPEG"),
            _save(colour, "MPO", **more),
        ],
        "gif": [_save(palette, "GIF", **more), _save(palette, "GIF", transparency=3), _save(bits, "GIF")],
        "webp": [
            _save(colour, "WEBP"),
            _save(alpha, "WEBP", lossless=True),
            _save(alpha, "WEBP", **more),
            _save(colour, "WEBP", exif=exif),
        ],
        "bmp": [_save(image, "BMP") for image in (colour, grey, palette, bits, alpha)],
        "tif": [
            *(_save(image, "TIFF") for image in (colour, grey, alpha, deep, floats, palette, bits)),
            *(
                _save(colour, "TIFF", compression=name)
                for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
            ),
            *(_save(bits, "TIFF", compression=name) for name in ("group3", "group4")),
            _save(colour.copy(), "TIFF", exif=exif, save_all=True, append_images=[second.copy()]),
            _save(colour.convert("CMYK"), "TIFF"),
        ],
        "avif": [_save(colour, "AVIF"), _save(alpha, "AVIF", exif=exif)],
    }


def write_pdf_seeds() -> list[bytes]:
    """Returns documents of one or two pages that use text, forms, patterns, shadings, masks, images, annotations."""
    pixels = _draw(0)
    height, width, _ = pixels.shape
    raw = pixels.tobytes()
    bits = Image.fromarray(pixels).convert("1").tobytes()
    encodings = {
        b"/FlateDecode": zlib.compress(raw),
        b"/ASCIIHexDecode": raw.hex().encode() + b">",
        b"/ASCII85Decode": base64.a85encode(raw) + b"~>",
        b"[/ASCII85Decode/FlateDecode]": base64.a85encode(zlib.compress(raw)) + b"~>",
        b"/RunLengthDecode": b"".join(b"\x7f" + raw[at : at + 128] for at in range(0, len(raw), 128)) + b"\x80",
        b"/DCTDecode": _save(Image.fromarray(pixels), "JPEG"),
        b"/JPXDecode": _save(Image.fromarray(pixels), "JPEG2000"),
    }
    images = [_write_pdf_image(width, height, b"/DeviceRGB", 8, filters, data) for filters, data in encodings.items()]
    fax = io.BytesIO(_save(Image.fromarray(pixels).convert("1"), "TIFF", compression="group4"))
    strip = Image.open(fax).tag_v2
    data = fax.getvalue()[strip[273][0] : strip[273][0] + strip[279][0]]
    parameters = b"/CCITTFaxDecode/DecodeParms<</K -1/Columns %d/Rows %d>>" % (width, height)
    images += [
        _write_pdf_image(width, height, b"/DeviceGray", 1, parameters, data),
        _write_pdf_image(width, height, b"/DeviceGray", 1, b"/FlateDecode", zlib.compress(bits)),
        _write_pdf_image(
            width, height, b"[/Indexed/DeviceRGB 1<ff000000ff00>]", 1, b"/FlateDecode", zlib.compress(bits)
        ),
    ]
    listed: dict[int, bytes] = {
        1: b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[8 0 R]/DR<</Font<</F 5 0 R>>>>/DA(/F 9 Tf)>>"
        b"/Outlines 9 0 R>>",
        2: b"<</Type/Pages/Count 2/Kids[3 0 R 30 0 R]>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/CropBox[10 10 290 190]/Rotate 90/UserUnit 2"
        b"/Contents[4 0 R 31 0 R]"
        b"/Annots[7 0 R 8 0 R]/Resources 6 0 R>>",
        4: _stream(
            b"q 1 0 0 1 20 20 cm /X Do Q BT /F 12 Tf 20 100 Td (Forms and text) Tj /T 9 Tf (ab) Tj ET /G gs "
            b"/Pattern cs /P scn 0 0 90 90 re f /S sh [3 2] 0 d 9 w 0 0 m 90 9 9 90 200 200 c S /OC /L BDC "
            b"5 5 9 9 re f EMC"
        ),
        5: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica"
        b"/Encoding<</BaseEncoding/WinAnsiEncoding/Differences[65/B/C]>>>>",
        6: b"<</Font<</F 5 0 R/T 10 0 R>>/XObject<</X 12 0 R>>/ExtGState<</G 14 0 R>>"
        b"/Pattern<</P 16 0 R>>/Shading<</S 17 0 R>>/Properties<</L 20 0 R>>>>",
        7: b"<</Type/Annot/Subtype/Square/Rect[10 10 90 90]/F 4/AP<</N 13 0 R>>>>",
        8: b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(filled)/Rect[100 10 190 40]/DA(/F 9 Tf 0 g)/F 4/P 3 0 R>>",
        9: b"<</Type/Outlines/First 21 0 R/Last 21 0 R/Count 1>>",
        10: b"<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[.1 0 0 .1 0 0]/FirstChar 97/LastChar 98"
        b"/Widths[9 9]/Encoding<</Differences[97/a/b]>>/CharProcs<</a 11 0 R/b 11 0 R>>"
        b"/Resources 6 0 R/ToUnicode 22 0 R>>",
        11: _stream(b"9 0 0 0 9 9 d1 0 0 5 5 re f"),
        12: _stream(
            b"/X Do 0 0 20 20 re S", b"/Type/XObject/Subtype/Form/BBox[0 0 99 99]/Resources<</XObject<</X 13 0 R>>>>"
        ),
        13: _stream(b"1 0 0 rg 0 0 9 9 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 99 99]/Matrix[1 0 0 1 5 5]"),
        14: b"<</Type/ExtGState/ca .5/BM/Multiply/SMask<</S/Luminosity/G 15 0 R/TR 19 0 R>>>>",
        15: _stream(
            b"1 g 0 0 200 200 re f",
            b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Group<</S/Transparency/CS/DeviceGray/I true>>",
        ),
        16: _stream(
            b"0 1 0 rg 0 0 4 4 re f",
            b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep 9/YStep 9/Resources<<>>",
        ),
        17: b"<</ShadingType 3/ColorSpace/DeviceRGB/Coords[50 50 9 90 90 80]/Function 18 0 R/Extend[true true]>>",
        18: b"<</FunctionType 3/Domain[0 1]/Bounds[.5]/Encode[0 1 0 1]/Functions[23 0 R 24 0 R]>>",
        19: _stream(b"{dup mul 1 exch sub}", b"/FunctionType 4/Domain[0 1]/Range[0 1]"),
        20: b"<</Type/OCG/Name(layer)>>",
        21: b"<</Title(first)/Parent 9 0 R/Dest[3 0 R/Fit]>>",
        22: _stream(b"1 beginbfrange <61><62><0041> endbfrange"),
        23: b"<</FunctionType 2/Domain[0 1]/N 1.5/C0[1 0 0]/C1[0 1 0]>>",
        24: _stream(b"\0\x80\xff\xff\x80\0", b"/FunctionType 0/Domain[0 1]/Range[0 1 0 1 0 1]/Size[2]/BitsPerSample 8"),
        30: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 300]/Contents 31 0 R/Resources 6 0 R>>",
        31: _stream(
            zlib.compress(b"BT /F 12 Tf 20 100 Td 14 TL (More) ' [(text) -200 (spread)] TJ ET"), b"/Filter/FlateDecode"
        ),
    }
    meshes = [
        (b"/ShadingType 1/ColorSpace/DeviceRGB/Domain[0 1 0 1]/Matrix[99 0 0 99 0 0]/Function 11 0 R", None),
        (b"/ShadingType 4/BitsPerFlag 8/Decode[0 99 0 99 0 1 0 1 0 1]", bytes(range(54)) * 2),
        (b"/ShadingType 5/VerticesPerRow 2/Decode[0 99 0 99 0 1 0 1 0 1]", bytes(range(50)) * 2),
        (b"/ShadingType 6/BitsPerFlag 8/Decode[0 99 0 99 0 1 0 1 0 1]", (b"\0" + bytes(range(0, 240, 4))) * 2),
        (b"/ShadingType 7/BitsPerFlag 8/Decode[0 99 0 99 0 1 0 1 0 1]", (b"\0" + bytes(range(0, 228, 3))) * 2),
    ]
    shaded = [
        _write_pdf_page(
            b"/Shading<</S 10 0 R>>",
            b"/S sh",
            {
                10: b"<<%b>>" % entries
                if data is None
                else _stream(data, entries + b"/ColorSpace/DeviceRGB/BitsPerCoordinate 8/BitsPerComponent 8"),
                11: _stream(b"{2 copy add 2 div}", b"/FunctionType 4/Domain[0 1 0 1]/Range[0 1 0 1 0 1]"),
            },
        )
        for entries, data in meshes
    ]
    packed = {number: value for number, value in listed.items() if number not in (1, 2) and b"stream" not in value}
    plain = {number: value for number, value in listed.items() if number not in packed}
    saved = _save(Image.fromarray(pixels), "PDF")
    # The documents that use most are damaged most.
    return [*[write_pdf_objects(listed)] * 6, write_pdf_objects(plain, packed), *images, *shaded, saved]


def write_video_seeds() -> dict[str, list[bytes]]:
    """Returns a video of twelve frames in every container that is read, by suffix."""
    seeds = {}
    for suffix, (container, codecs) in _VIDEOS.items():
        codec = next((name for name in codecs if name in av.codecs_available), None)
        if codec is not None:
            seeds[suffix] = [_encode(container, codec)]
    return seeds


def _encode(container: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height = _SIDES
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for frame in _draw_frames():
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def _draw_frames() -> Iterator[av.VideoFrame]:
    for number in range(12):
        yield av.VideoFrame.from_ndarray(_draw(number), format="rgb24")


def _draw(shift: int) -> np.ndarray:
    width, height = _SIDES
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    planes = [(across * 4 + shift * 7) % 256, (down * 5) % 256, (across * down + shift) % 256]
    return np.stack(planes, axis=2).astype(np.uint8)


def _save(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _write_pdf_image(width: int, height: int, space: bytes, bits: int, filters: bytes, data: bytes) -> bytes:
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace%b/BitsPerComponent %d/Filter%b" % (
        *(width, height, space, bits, filters),
    )
    return _write_pdf_page(b"/XObject<</I 10 0 R>>", b"90 0 0 90 5 5 cm /I Do", {10: _stream(data, entries)})


def _write_pdf_page(resources: bytes, content: bytes, objects: dict[int, bytes]) -> bytes:
    return write_pdf_objects(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Contents 4 0 R/Resources<<%b>>>>" % resources,
            4: _stream(content),
            **objects,
        }
    )


def _stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%b>>\nstream\n%b\nendstream" % (len(content), entries, content)
