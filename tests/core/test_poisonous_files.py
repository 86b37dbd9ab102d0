"""Files of a few kilobytes that would take all memory, or days: read or refused by name, and the next one is read."""

import resource

import pytest
from poisonous_files import POISONOUS_FILES

from qwen3_vl_retrieval.documents.units import load_item, read_units
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import VideoPart
from qwen3_vl_retrieval.media import FrameSampling, MediaPolicy, PixelBudget, read_image, read_video, render_pdf_page

POLICY = MediaPolicy(max_read_seconds=2, max_read_bytes=256 * 1024 * 1024)

# Below what a reader may take, and above what an image of `max_pixels` takes here.
MOST_GROWTH_BYTES = 1024 * 1024 * 1024


def read_everything(path):
    """As an index does: taken apart, and the first units with their pixels."""
    for unit in read_units(path, POLICY)[:2]:
        item = load_item(unit, POLICY)
        if unit.media_type == "image":
            read_image(item["image"], POLICY)
        elif unit.media_type == "video":
            part = VideoPart(source=path, start=unit.start, end=unit.end)
            read_video(part, policy=POLICY, sampling=FrameSampling(), budget=PixelBudget())


@pytest.mark.parametrize("name", POISONOUS_FILES)
def test_a_poisonous_file_is_read_or_refused_and_harms_no_other(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(POISONOUS_FILES[name]())
    assert path.stat().st_size <= 20 * 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = ""
    try:
        read_everything(path)
    except InputError as error:
        message = str(error)
    assert len(message) < 2000
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MOST_GROWTH_BYTES
    assert render_pdf_page(POISONOUS_FILES["references-circular.pdf"](), 1, MediaPolicy(), max_pixels=100).size
