"""Pages: an invoice with a text layer, and scans, which are images of paper."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageDraw

from library_files.pictures import draw_text

__all__ = ["write_pages"]

_A5_POINTS = (420, 595)

_INVOICE = (
    (
        "INVOICE 2024-118",
        "Halloran Office Supplies",
        "To: Meridian Print Works, 14 Quay Street",
        "",
        "Date: 12 March 2024",
        "Payment due: 11 April 2024",
        "",
        "Summary: chairs and lamps for the second floor.",
    ),
    (
        "Items",
        "",
        "12 x blue chair, model C4         1,140.00",
        " 6 x green desk lamp, model L2      228.00",
        " 2 x delivery and assembly          150.00",
        "",
        "Net                               1,518.00",
        "Value added tax 20 %                303.60",
        "TOTAL DUE                         1,821.60 EUR",
    ),
    (
        "Terms",
        "",
        "Goods remain our property until paid in full.",
        "Chairs are guaranteed for five years, lamps for two.",
        "Damage in transit must be reported within three days",
        "to the loading dock office.",
    ),
)

_DELIVERY_NOTE = (
    "DELIVERY NOTE 7731",
    "From: Halloran Office Supplies",
    "To:   Meridian Print Works",
    "",
    "12  chairs, blue",
    " 6  desk lamps, green",
    " 1  kettle, orange (replacement)",
    "",
    "Received in good order:",
    "2 lamps missing - M. Okafor",
)

_LEASE = (
    "LEASE AGREEMENT",
    "",
    "between Quay Street Estates",
    "and Meridian Print Works",
    "",
    "Rooms: second floor, 340 m2",
    "Rent: 4,200 EUR per month",
    "Term: 1 May 2024 to 30 April 2029",
    "",
    "Signed",
)


def write_pages(folder: Path) -> list[Path]:
    """Writes two PDFs and a scan into `folder/papers`; returns their paths."""
    papers = folder / "papers"
    papers.mkdir(parents=True, exist_ok=True)
    invoice, lease = papers / "invoice-2024-118.pdf", papers / "lease-scan.pdf"
    note = papers / "delivery-note-scan.png"
    invoice.write_bytes(_join_pdf([_draw_text_page(lines) for lines in _INVOICE], image=None))
    scan = _encode_jpeg(_draw_scan(_LEASE, turn=-1.2))
    lease.write_bytes(_join_pdf([b"q 420 0 0 595 0 0 cm /Scan Do Q"], image=scan))
    _draw_scan(_DELIVERY_NOTE, turn=1.5).save(note, optimize=True)
    return [invoice, lease, note]


def _draw_scan(lines: tuple[str, ...], *, turn: float) -> Image.Image:
    """A sheet laid on the glass not quite straight, `turn` degrees, with a stamp and a signature."""
    sheet = Image.new("L", (420, 595), 246)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        size = 24 if number == 0 else 18
        draw_text(draw, (40, 50 + 36 * number), line, size=size, fill=40)
    draw.line([(60, 500), (90, 470), (110, 510), (150, 465), (180, 505), (240, 480)], fill=60, width=3)
    draw.ellipse((290, 440, 380, 530), outline=120, width=5)
    return sheet.rotate(turn, Image.Resampling.BICUBIC, fillcolor=214).quantize(16).convert("L")


def _encode_jpeg(sheet: Image.Image) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=70)
    return buffer.getvalue()


def _draw_text_page(lines: tuple[str, ...]) -> bytes:
    """The operators that set the lines in Courier, the first one large and bold."""
    operators = ["BT", "40 530 Td"]
    for number, line in enumerate(lines):
        escaped = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        font, step = ("Bold 18", -30) if number == 0 else ("Plain 10", -20)
        operators.append(f"/{font} Tf ({escaped}) Tj 0 {step} Td")
    return "\n".join([*operators, "ET", "0.8 0.1 0.1 rg 40 570 340 6 re f"]).encode("ascii")


def _join_pdf(pages: list[bytes], *, image: bytes | None) -> bytes:
    """A PDF of version 1.4 (ISO 32000-1, 7.5): objects, the table of where they begin, and the trailer."""
    first_page = 6
    kids = " ".join(f"{first_page + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier-Bold >>",
        _wrap_image(image),
    ]
    width, height = _A5_POINTS
    scan = "/XObject << /Scan 5 0 R >>" if image is not None else ""
    for number, content in enumerate(pages):
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] "
            f"/Contents {first_page + 2 * number + 1} 0 R "
            f"/Resources << /Font << /Plain 3 0 R /Bold 4 0 R >> {scan} >> >>".encode(),
            b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        ]
    written = bytearray(b"%PDF-1.4\n")
    offsets: list[int] = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(written))
    return bytes(written) + b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(objects) + 1, table) + trailer


def _wrap_image(image: bytes | None) -> bytes:
    if image is None:
        return b"null"
    width, height = _A5_POINTS
    return (
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 "
        b"/Filter /DCTDecode /Length %d >>\nstream\n%b\nendstream" % (width, height, len(image), image)
    )
