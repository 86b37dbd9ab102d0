"""The office of the demo: every question has one answer, and near misses of it."""

from __future__ import annotations

from collections import Counter

import av
import numpy as np
import pypdfium2
import pytest
from PIL import Image

from qwen3_vl_pocket.office import write_office
from qwen3_vl_pocket.world.facts import meets, split_of


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    return write_office(tmp_path_factory.mktemp("one") / "office")


def differ_in_one_slot(one, other):
    return other.kind == one.kind and any(
        sum(a != b for a, b in zip(one.values, told.values, strict=True)) == 1 for told in (other, other.mirrored)
    )


def test_the_office_holds_every_sort_of_file_and_no_fact_twice(office):
    assert len(office.units) >= 150
    shelves = Counter(unit.place.file.split("/")[0] for unit in office.units)
    assert set(shelves) == {"pages", "scans", "charts", "screenshots", "photos", "clips", "notes"}
    assert len({unit.facts.canonical for unit in office.units}) == len(office.units)
    assert len({unit.place for unit in office.units}) == len(office.units)
    written = {path.relative_to(office.folder).as_posix() for path in office.folder.rglob("*") if path.is_file()}
    assert written == {unit.place.file for unit in office.units}


def test_every_question_has_exactly_one_answer(office):
    assert len(office.questions) == 8
    assert {question.language for question in office.questions} == {"en", "zh", "es"}
    for question in office.questions:
        meeting = [unit for unit in office.units if meets(unit.facts, question.asked, question.mentioned)]
        assert [unit.place for unit in meeting] == [question.answer]
        assert split_of(question.asked) == "test"


def test_every_answer_has_near_misses_that_the_question_tells_apart(office):
    for question in office.questions:
        near = [unit for unit in office.units if differ_in_one_slot(question.asked, unit.facts)]
        assert 4 <= len(near) <= 8, question


def test_pdfs_have_three_to_five_pages_and_the_page_asked_for_is_not_the_first(office):
    pages = Counter(unit.place.file for unit in office.units if unit.place.page is not None)
    for file, count in pages.items():
        document = pypdfium2.PdfDocument(office.folder / file)
        assert len(document) == count
        assert 3 <= count <= 5
        document.close()
    (answer,) = (question.answer for question in office.questions if question.answer.page is not None)
    assert answer.page > 1


def test_two_videos_are_four_scenes_long_and_a_later_scene_is_asked_for(office):
    scenes = Counter(unit.place.file for unit in office.units if unit.place.start is not None)
    assert list(scenes.values()) == [4, 4]
    for file in scenes:
        with av.open(str(office.folder / file)) as container:
            assert container.duration == pytest.approx(24_000_000, rel=0.01)
    (answer,) = (question.answer for question in office.questions if question.answer.start is not None)
    assert answer.start in (6.0, 12.0, 18.0)


def test_the_image_of_a_question_lies_outside_the_office_and_answers_nothing(office):
    (question,) = (question for question in office.questions if question.query_image is not None)
    assert not question.query_image.is_relative_to(office.folder)
    with Image.open(question.query_image) as picture:
        assert picture.size == (384, 384)


def read_frames(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)]).astype(np.int16)


def test_equal_seeds_give_equal_files_and_other_seeds_another_office(office, tmp_path):
    again = write_office(tmp_path / "office")
    assert [(unit.place, unit.facts) for unit in again.units] == [(unit.place, unit.facts) for unit in office.units]
    assert [question.text for question in again.questions] == [question.text for question in office.questions]
    for unit in office.units:
        first, second = office.folder / unit.place.file, again.folder / unit.place.file
        if first.suffix == ".mp4":
            # x264 makes another file of the same frames now and then; what is seen in it is the same.
            assert np.abs(read_frames(first) - read_frames(second)).mean() < 1.0
        else:
            assert first.read_bytes() == second.read_bytes()
    other = write_office(tmp_path / "other" / "office", seed=8)
    assert [question.asked for question in other.questions] != [question.asked for question in office.questions]
