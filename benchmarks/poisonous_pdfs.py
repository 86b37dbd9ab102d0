"""PDFs of a few kilobytes that take all memory, or days, or never end, wherever no limit holds.

Written by hand, byte for byte the same each time. Every one is a PDF that a tolerant reader opens, or tries to.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

__all__ = ["POISONOUS_PDFS", "write_pdf_objects"]

_PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources %b>>"


def nest_forms(levels: int = 9, uses: int = 10) -> bytes:
    """A page that draws a form, which draws the next one ten times, and so on: 10^9 rectangles in 2 KB.

    A reader that expands forms before it draws them needs memory for each.
    """
    objects = {4: _stream(b"/F0 Do"), 3: _PAGE % b"<</XObject<</F0 10 0 R>>>>"}
    for level in range(levels):
        innermost = level == levels - 1
        resources = b"<<>>" if innermost else b"<</XObject<</F %d 0 R>>>>" % (11 + level)
        entries = b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Resources " + resources
        objects[10 + level] = _stream(b"0 0 9 9 re f " if innermost else b"/F Do " * uses, entries)
    return _write_page(objects)


def call_forms_in_a_circle() -> bytes:
    """Two forms that draw each other twice."""
    entries = b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Resources<</XObject<</F %d 0 R>>>>"
    return _write_page(
        {
            3: _PAGE % b"<</XObject<</F 10 0 R>>>>",
            4: _stream(b"/F Do"),
            10: _stream(b"/F Do /F Do", entries % 11),
            11: _stream(b"/F Do /F Do", entries % 10),
        }
    )


def nest_patterns(levels: int = 8, uses: int = 10) -> bytes:
    """A page filled with a tiling pattern, whose tile is filled ten times with the next pattern, and so on."""
    objects = {
        3: _PAGE % b"<</Pattern<</P 10 0 R>>>>",
        4: _stream(b"/Pattern cs /P scn 0 0 200 200 re f"),
    }
    entries = b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep 9/YStep 9/Resources "
    for level in range(levels):
        if level == levels - 1:
            objects[10 + level] = _stream(b"0 0 5 5 re f", entries + b"<<>>")
        else:
            resources = b"<</Pattern<</P %d 0 R>>>>" % (11 + level)
            objects[10 + level] = _stream(b"/Pattern cs /P scn " + b"0 0 9 9 re f " * uses, entries + resources)
    return _write_page(objects)


def tile_in_tiny_steps() -> bytes:
    """A page filled with a tile that is repeated every thousandth of a point: 4·10^10 tiles."""
    entries = (
        b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep 0.001/YStep 0.001/Resources<<>>"
    )
    return _write_page(
        {
            3: _PAGE % b"<</Pattern<</P 10 0 R>>>>",
            4: _stream(b"/Pattern cs /P scn 0 0 200 200 re f"),
            10: _stream(b"0 0 5 5 re f", entries),
        }
    )


def nest_glyphs(levels: int = 8, uses: int = 10) -> bytes:
    """Text in a Type 3 font whose glyph is ten letters in the next Type 3 font, and so on; the last calls the first."""
    objects = {
        3: _PAGE % b"<</Font<</F 10 0 R>>>>",
        4: _stream(b"BT /F 20 Tf 10 100 Td (" + b"a" * uses + b") Tj ET"),
    }
    for level in range(levels):
        following = 10 + 2 * ((level + 1) % levels)
        objects[10 + 2 * level] = (
            b"<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[.1 0 0 .1 0 0]/FirstChar 97/LastChar 97"
            b"/Widths[9]/Encoding<</Differences[97/a]>>/CharProcs<</a %d 0 R>>/Resources<</Font<</F %d 0 R>>>>>>"
            % (11 + 2 * level, following)
        )
        objects[11 + 2 * level] = _stream(b"9 0 d0 0 0 5 5 re f BT /F 9 Tf (" + b"a" * uses + b") Tj ET")
    return _write_page(objects)


def nest_soft_masks(levels: int = 12, uses: int = 4) -> bytes:
    """A form under a soft mask, whose own form lies under the next mask, and so on: a bitmap of the page for each."""
    objects = {3: _PAGE % b"<</ExtGState<</G 10 0 R>>>>", 4: _stream(b"/G gs 0 0 200 200 re f")}
    entries = b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Group<</S/Transparency/CS/DeviceGray>>/Resources "
    for level in range(levels):
        resources = b"<<>>" if level == levels - 1 else b"<</ExtGState<</G %d 0 R>>>>" % (12 + 2 * level)
        objects[10 + 2 * level] = b"<</Type/ExtGState/SMask<</S/Luminosity/G %d 0 R>>>>" % (11 + 2 * level)
        objects[11 + 2 * level] = _stream(b"/G gs 0 0 200 200 re f " * uses, entries + resources)
    return _write_page(objects)


def dash_a_long_line() -> bytes:
    """A line of 10^9 points in dashes of a ten-thousandth of a point."""
    return _write_page({3: _PAGE % b"<<>>", 4: _stream(b"[0.0001] 0 d -500000000 100 m 500000000 100 l S")})


def draw_many_curves(curves: int = 4_000_000) -> bytes:
    """Four million curves of the size of the page, with wide round strokes: 100 MB deflated twice."""
    content = _deflate_repeated(b"9 w 1 J 1 j 0 0 m ", b"0 200 200 0 200 200 c ", curves, b"S")
    return _write_page(
        {3: _PAGE % b"<<>>", 4: _stream(zlib.compress(content, 9), b"/Filter[/FlateDecode/FlateDecode]")}
    )


def inflate_content(size_mib: int = 1024) -> bytes:
    """A content stream that inflates to a gibibyte of blanks, deflated twice."""
    content = _deflate_repeated(b"", b" " * 1024, size_mib * 1024, b"0 0 9 9 re f")
    return _write_page(
        {3: _PAGE % b"<<>>", 4: _stream(zlib.compress(content, 9), b"/Filter[/FlateDecode/FlateDecode]")}
    )


def write_much_text(characters: int = 50_000_000) -> bytes:
    """A page whose text layer has 50 million letters, deflated twice."""
    content = _deflate_repeated(b"BT /F 9 Tf 10 100 Td ", b"(" + b"abcde " * 100 + b") Tj ", characters // 600, b"ET")
    return _write_page(
        {
            3: _PAGE % b"<</Font<</F 10 0 R>>>>",
            4: _stream(zlib.compress(content, 9), b"/Filter[/FlateDecode/FlateDecode]"),
            10: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        }
    )


def inflate_image(side: int = 20_000) -> bytes:
    """A picture of 400 million RGB pixels, deflated twice: 1.2 GB."""
    pixels = zlib.compress(_deflate_repeated(b"", bytes(3 * side), side, b""), 9)
    entries = b"/ColorSpace/DeviceRGB/BitsPerComponent 8/Filter[/FlateDecode/FlateDecode]"
    return _write_image(side, side, entries, pixels)


def declare_image(codec: str, side: int = 65_000) -> bytes:
    """A picture of 65,000 pixels square in one of the codecs of PDF, with a header that says so and no more."""
    sides = side.to_bytes(4, "big") * 2
    match codec:
        case "JBIG2Decode":
            # Segment 0, page information: width, height, resolution, flags, no striping; then its end.
            data = b"\0\0\0\0\x30\0\1" + (19).to_bytes(4, "big") + sides + bytes(11)
            data += b"\0\0\0\1\x31\0\1" + bytes(4)
            entries = b"/ColorSpace/DeviceGray/BitsPerComponent 1"
        case "JPXDecode":
            # A codestream: SIZ with one component of 8 bits in one tile, COD, QCD, an empty tile.
            size = b"\xff\x51" + (41).to_bytes(2, "big") + b"\0\0" + sides + bytes(8) + sides + bytes(8)
            size += b"\0\1\x07\1\1"
            data = b"\xff\x4f" + size + b"\xff\x52\0\x0c\0\0\0\1\0\5\4\4\0\1" + b"\xff\x5c\0\x13\x40" + b"\x40" * 16
            data += b"\xff\x90\0\x0a\0\0\0\0\0\0\0\1\xff\x93\xff\xd9"
            entries = b"/ColorSpace/DeviceGray/BitsPerComponent 8"
        case "CCITTFaxDecode":
            # Group 4: every line is as the one before, one bit each.
            data = b"\xff" * (side // 8)
            data = zlib.compress(data, 9)
            entries = (
                b"/ColorSpace/DeviceGray/BitsPerComponent 1/DecodeParms[null<</K -1/Columns %d/Rows %d>>]"
                b"/Filter[/FlateDecode/CCITTFaxDecode]" % (side, side)
            )
            return _write_image(side, side, entries, data)
        case "DCTDecode":
            data = b"\xff\xd8\xff\xc0\0\x0b\x08" + side.to_bytes(2, "big") * 2 + b"\1\1\x11\0"
            data += b"\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9"
            entries = b"/ColorSpace/DeviceGray/BitsPerComponent 8"
        case "RunLengthDecode":
            # 128 white bytes in two, deflated.
            data = zlib.compress(b"\x81\xff" * (side * side // 8 // 128), 9)
            entries = b"/ColorSpace/DeviceGray/BitsPerComponent 1/Filter[/FlateDecode/RunLengthDecode]"
            return _write_image(side, side, entries, zlib.compress(data, 9), is_deflated=True)
        case _:
            raise ValueError(f"codec={codec!r} is not one of the codecs of pictures in PDF")
    return _write_image(side, side, entries + b"/Filter/" + codec.encode(), data)


def repeat_annotations(count: int = 1_000_000) -> bytes:
    """A page with one annotation a million times; the list lies in a deflated object stream."""
    listed = b"[" + b"20 0 R " * count + b"]"
    return _write_page(
        {
            3: (_PAGE % b"<<>>").replace(b"/Contents", b"/Annots 21 0 R/Contents"),
            4: _stream(b"0 0 9 9 re f"),
            20: b"<</Type/Annot/Subtype/Square/Rect[10 10 90 90]/C[1 0 0]/F 4/AP<</N 22 0 R>>>>",
            22: _stream(b"1 0 0 rg 0 0 80 80 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 80 80]"),
        },
        {21: listed},
    )


def declare_page_size(width: float, height: float) -> bytes:
    """A page of any size in points: huge, flat, or next to nothing."""
    page = (_PAGE % b"<<>>").replace(b"[0 0 200 200]", f"[0 0 {width:f} {height:f}]".encode())
    return _write_page({3: page, 4: _stream(b"0 0 9 9 re f")})


def multiply_pages(levels: int = 9, uses: int = 10) -> bytes:
    """A page tree in which each node lists the next one ten times: 10^9 pages, as its counts say."""
    objects = {1: b"<</Type/Catalog/Pages 2 0 R>>"}
    for level in range(levels):
        objects[2 + level] = b"<</Type/Pages/Count %d/Kids[%b]>>" % (
            uses ** (levels - level),
            b"%d 0 R " % (3 + level) * uses,
        )
    objects[2 + levels] = b"<</Type/Page/MediaBox[0 0 200 200]>>"
    return write_pdf_objects(objects)


def list_pages_in_a_circle() -> bytes:
    """A page tree whose node lists its parent and itself among its pages."""
    return write_pdf_objects(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Count 1500/Kids[3 0 R 2 0 R 4 0 R]>>",
            3: b"<</Type/Pages/Parent 3 0 R/Count 700/Kids[2 0 R 3 0 R 4 0 R]>>",
            4: b"<</Type/Page/Parent 3 0 R/MediaBox[0 0 200 200]>>",
        }
    )


def deepen_page_tree(levels: int = 1_000) -> bytes:
    """A page a thousand nodes down the page tree; the nodes lie in a deflated object stream."""
    nodes = {
        10 + level: b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % (11 + level if level < levels - 1 else 3)
        for level in range(levels)
    }
    return write_pdf_objects(
        {
            1: b"<</Type/Catalog/Pages 10 0 R>>",
            3: _PAGE % b"<<>>",
            4: _stream(b"0 0 9 9 re f"),
        },
        nodes,
    )


def nest_arrays(levels: int = 1_000_000) -> bytes:
    """A million arrays, each the only member of the one before."""
    return _write_page(
        {3: (_PAGE % b"<<>>").replace(b"/Contents", b"/Annots 21 0 R/Contents"), 4: _stream(b"0 0 9 9 re f")},
        {21: b"[" * levels + b"]" * levels},
    )


def chain_cross_references() -> bytes:
    """Two tables of cross references that each name the other as the one before."""
    body = _write_page({3: _PAGE % b"<<>>", 4: _stream(b"0 0 9 9 re f")})
    first = body.rindex(b"xref\n0")
    second = len(body) + len(b"/Prev 0000000000") + 1
    body = body.replace(b"/Root", b"/Prev %010d/Root" % second)
    table = b"\nxref\n0 1\n0000000000 65535 f \ntrailer\n<</Size 5/Root 1 0 R/Prev %d>>\n" % first
    return body + table + b"startxref\n%d\n%%%%EOF" % second


def refer_in_a_circle() -> bytes:
    """A page whose size, content, resources and the length of its stream are references that lead to each other."""
    return _write_page(
        {
            3: b"<</Type/Page/Parent 2 0 R/MediaBox 11 0 R/Contents 12 0 R/Resources 13 0 R/Rotate 14 0 R>>",
            11: b"12 0 R",
            12: b"[11 0 R 12 0 R 15 0 R]",
            13: b"13 0 R",
            14: b"14 0 R",
            15: b"<</Length 15 0 R>>\nstream\n0 0 9 9 re f\nendstream",
        }
    )


def _write_page(objects: Mapping[int, bytes], packed: Mapping[int, bytes] | None = None) -> bytes:
    """A document of one page, object 3."""
    document = {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Count 1/Kids[3 0 R]>>"}
    return write_pdf_objects({**document, **objects}, packed)


def _write_image(width: int, height: int, entries: bytes, data: bytes, *, is_deflated: bool = False) -> bytes:
    if is_deflated:
        entries = entries.replace(b"/Filter[", b"/Filter[/FlateDecode")
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d" % (width, height) + entries
    return _write_page(
        {
            3: _PAGE % b"<</XObject<</I 10 0 R>>>>",
            4: _stream(b"200 0 0 200 0 0 cm /I Do"),
            10: _stream(data, entries),
        }
    )


def write_pdf_objects(objects: Mapping[int, bytes], packed: Mapping[int, bytes] | None = None) -> bytes:
    """Returns a document of these objects, by number; those in `packed` lie in a deflated object stream.

    Object 1 is the catalog. With `packed`, the cross references are a stream, as such objects need.
    """
    if packed:
        container = max((*objects, *packed)) + 1
        places = b""
        content = b""
        for number, value in packed.items():
            places += b"%d %d " % (number, len(content))
            content += value + b" "
        entries = b"/Type/ObjStm/N %d/First %d/Filter/FlateDecode" % (len(packed), len(places))
        objects = {**objects, container: _stream(zlib.compress(places + content, 9), entries)}
    body = b"%PDF-1.7\n"
    offsets: dict[int, int] = {}
    for number, value in objects.items():
        offsets[number] = len(body)
        body += b"%d 0 obj\n%b\nendobj\n" % (number, value)
    size = max((*objects, *(packed or {}))) + 1
    if not packed:
        lines = [
            b"%010d 00000 n \n" % offsets[number] if number in offsets else b"0000000000 65535 f \n"
            for number in range(size)
        ]
        table = b"xref\n0 %d\n%btrailer\n<</Size %d/Root 1 0 R>>\n" % (size, b"".join(lines), size)
        return body + table + b"startxref\n%d\n%%%%EOF" % len(body)
    offsets[size] = len(body)
    indexes = {number: index for index, number in enumerate(packed)}
    rows = [_write_row(number, offsets, indexes, size - 1) for number in range(size + 1)]
    entries = b"/Type/XRef/Size %d/Root 1 0 R/W[1 4 4]/Filter/FlateDecode" % (size + 1)
    stream = _stream(zlib.compress(b"".join(rows), 9), entries)
    return body + b"%d 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF" % (size, stream, offsets[size])


def _write_row(number: int, offsets: Mapping[int, int], indexes: Mapping[int, int], container: int) -> bytes:
    """A row of a stream of cross references: type, then an offset or the stream that holds the object."""
    if number in indexes:
        return b"\2" + container.to_bytes(4, "big") + indexes[number].to_bytes(4, "big")
    kind = b"\1" if number in offsets else b"\0"
    return kind + offsets.get(number, 0).to_bytes(4, "big") + bytes(4)


def _stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%b>>\nstream\n%b\nendstream" % (len(content), entries, content)


def _deflate_repeated(start: bytes, block: bytes, count: int, end: bytes) -> bytes:
    """`start`, then `block` `count` times, then `end`, deflated without ever being whole in memory."""
    many = min(count, max(1, (1 << 20) // max(1, len(block))))
    # After a full flush the deflated bytes of a megabyte do not depend on what came before: they are deflated once.
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    chunk = block * many
    deflated = b"x\xda" + compressor.compress(start) + compressor.flush(zlib.Z_FULL_FLUSH)
    deflated += (compressor.compress(chunk) + compressor.flush(zlib.Z_FULL_FLUSH)) * (count // many)
    end = block * (count % many) + end
    checksum = zlib.adler32(start)
    for _ in range(count // many):
        checksum = zlib.adler32(chunk, checksum)
    return deflated + compressor.compress(end) + compressor.flush() + zlib.adler32(end, checksum).to_bytes(4, "big")


POISONOUS_PDFS: dict[str, Callable[[], bytes]] = {
    "annotations.pdf": repeat_annotations,
    "arrays-nested.pdf": nest_arrays,
    "content-inflated.pdf": inflate_content,
    "cross-references-chained.pdf": chain_cross_references,
    "curves.pdf": draw_many_curves,
    "dashes.pdf": dash_a_long_line,
    "forms-circular.pdf": call_forms_in_a_circle,
    "forms-nested.pdf": nest_forms,
    "glyphs-nested.pdf": nest_glyphs,
    "image-ccitt.pdf": lambda: declare_image("CCITTFaxDecode"),
    "image-inflated.pdf": inflate_image,
    "image-jbig2.pdf": lambda: declare_image("JBIG2Decode"),
    "image-jpeg.pdf": lambda: declare_image("DCTDecode"),
    "image-jpx.pdf": lambda: declare_image("JPXDecode"),
    "image-run-length.pdf": lambda: declare_image("RunLengthDecode"),
    "page-flat.pdf": lambda: declare_page_size(14_400, 0.01),
    "page-huge.pdf": lambda: declare_page_size(1e9, 1e9),
    "page-tiny.pdf": lambda: declare_page_size(1e-4, 1e-4),
    "page-tree-circular.pdf": list_pages_in_a_circle,
    "page-tree-deep.pdf": deepen_page_tree,
    "pages-multiplied.pdf": multiply_pages,
    "patterns-nested.pdf": nest_patterns,
    "references-circular.pdf": refer_in_a_circle,
    "soft-masks-nested.pdf": nest_soft_masks,
    "text-endless.pdf": write_much_text,
    "tiles-tiny.pdf": tile_in_tiny_steps,
}
"""The name of a file, and what writes it."""
