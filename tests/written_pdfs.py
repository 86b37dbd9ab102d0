"""PDFs written by hand, so that a test knows each byte."""

from __future__ import annotations


def write_pdf(*texts, size=(200, 300), extra=b"", trailer=b""):
    """A PDF by hand: one page per text, in 20-point Helvetica, with a red square at the bottom left."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(texts)))
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(texts)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(texts):
        content = b"1 0 0 rg 0 0 50 50 re f 0 g BT /F 20 Tf 10 200 Td (%s) Tj ET" % text.encode() if text else b""
        bodies.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %g %g] /Resources << /Font << /F 3 0 R >> >> "
            b"/Contents %d 0 R >>" % (*size, 5 + 2 * number)
        )
        bodies.append(b"<< /Length %d >> stream\n%s\nendstream" % (len(content), content))
    bodies += [extra] if extra else []
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF" % (len(bodies) + 1, trailer, start)
    return bytes(out)
