"""The library that is shipped, and the code that makes it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from library_files import write_library
from qwen3_vl_retrieval import MediaPolicy
from qwen3_vl_retrieval.documents.files import list_files
from qwen3_vl_retrieval.documents.units import read_units

LIBRARY = Path(__file__).parents[1] / "data" / "library"


def test_the_shipped_library_is_what_the_generator_writes(tmp_path):
    written = [path.relative_to(tmp_path).as_posix() for path in write_library(tmp_path)]
    shipped = sorted(path.relative_to(LIBRARY).as_posix() for path in LIBRARY.rglob("*") if path.is_file())
    assert written == shipped
    assert len(written) == 24
    # Texts and PDFs of text do not depend on the version of an encoder.
    for name in written:
        if name.startswith("notes/") or name.endswith("118.pdf"):
            assert (tmp_path / name).read_bytes() == (LIBRARY / name).read_bytes()


def test_the_library_is_small_and_readable():
    listing = list_files(LIBRARY)
    assert listing.failures == ()
    assert listing.skipped == ()
    policy = MediaPolicy(allow_dirs=(LIBRARY,))
    units = [unit for path in listing.files for unit in read_units(path, policy)]
    assert {unit.media_type for unit in units} == {"text", "image", "page", "video"}
    assert sum(path.stat().st_size for path in listing.files) < 1_500_000


def test_the_library_has_images_in_the_awkward_modes():
    modes = set()
    for path in (*LIBRARY.rglob("*.png"), *LIBRARY.rglob("*.jpg")):
        with Image.open(path) as picture:
            modes.add(picture.mode)
    assert modes == {"RGB", "RGBA", "P", "L", "CMYK"}
