"""A small office to search in: files of every sort, and questions that have exactly one answer among them each."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from qwen3_vl_pocket.office_files import Place, Shelf, write_shelf
from qwen3_vl_pocket.world.facts import Facts, Kind, draw_facts, draw_near_misses, meets
from qwen3_vl_pocket.world.pictures import draw_picture
from qwen3_vl_pocket.world.sentences import Language, ask, ask_change

__all__ = ["Office", "OfficeQuestion", "OfficeUnit", "write_office"]

_NEAR_MISSES = 6
_PICTURE_SCALE = 3.0
_WORDINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficeUnit:
    """An image, page, scene of a video, or note of the office.

    Attributes:
        place: Where it is.
        facts: What is true of it.
    """

    place: Place
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficeQuestion:
    """A question that one unit of the office answers.

    Attributes:
        title: What kind of question it is, in a few words.
        text: Its words.
        language: Language of the words.
        query_image: The image that belongs to it, if any; it lies outside the office.
        answer: File relative to the office, number of the page from 1, second at which the scene of a longer video
            begins; the latter two are `None` where there is nothing to tell apart.
        asked: The facts of the answer.
        mentioned: The slots of `asked` that the question tells, or that follow from its image.
    """

    title: str
    text: str
    language: Language
    query_image: Path | None
    answer: Place
    asked: Facts
    mentioned: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What was written.

    Attributes:
        folder: What to search.
        questions: What to ask.
        units: Everything there is to find, in the order of the files.
    """

    folder: Path
    questions: tuple[OfficeQuestion, ...]
    units: tuple[OfficeUnit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Topic:
    """A question before its facts are drawn; `changed` is where an image beside the words differs from the answer."""

    title: str
    kind: Kind
    language: Language
    shelf: Shelf
    mentioned: tuple[str, ...]
    changed: str | None = None


_TOPICS = (
    _Topic(
        title="A page of a PDF, by its title and number",
        kind="page",
        language="en",
        shelf="pages",
        mentioned=("type", "title", "tens", "ones"),
    ),
    _Topic(
        title="A scanned page, asked in Chinese",
        kind="page",
        language="zh",
        shelf="scans",
        mentioned=("type", "company", "color", "quantity"),
    ),
    _Topic(
        title="A chart, by what it shows",
        kind="chart",
        language="en",
        shelf="charts",
        mentioned=("type", "title", "color", "peak"),
    ),
    _Topic(
        title="A screenshot, by its message and code",
        kind="screenshot",
        language="en",
        shelf="screenshots",
        mentioned=("company", "fault", "tens", "ones"),
    ),
    _Topic(
        title="A picture, by what stands where",
        kind="pair",
        language="en",
        shelf="photos",
        mentioned=("color", "shape", "relation", "other_color", "other_shape"),
    ),
    _Topic(
        title="A picture, and what shall be different",
        kind="count",
        language="en",
        shelf="photos",
        mentioned=("count", "color", "shape", "other_color", "other_shape"),
        changed="color",
    ),
    _Topic(
        title="A moment of a longer clip",
        kind="motion",
        language="en",
        shelf="clips",
        mentioned=("color", "shape", "direction", "other_color", "other_shape"),
    ),
    _Topic(
        title="A note in English, asked in Spanish",
        kind="product",
        language="es",
        shelf="notes",
        mentioned=("color", "shape", "company", "tens", "ones"),
    ),
)

# How many units each shelf has, answers and near misses included, and which kinds fill it up.
_SHELVES: dict[Shelf, tuple[int, tuple[Kind, ...]]] = {
    "pages": (48, ("page",)),
    "scans": (14, ("page",)),
    "charts": (20, ("chart",)),
    "screenshots": (20, ("screenshot",)),
    "photos": (34, ("pair", "count")),
    "clips": (22, ("motion", "change", "recolor")),
    "notes": (20, ("product", "page", "chart", "screenshot")),
}


class _Plan:
    """The facts of the office under way: none twice, and none that answers another question than its own."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.asked: list[Facts] = []
        self.shown: dict[int, Facts] = {}
        self.shelves: dict[Shelf, list[Facts]] = {shelf: [] for shelf in _SHELVES}
        self._taken: set[Facts] = set()
        for topic in _TOPICS:
            self._draw_answer(topic)
        for number, topic in enumerate(_TOPICS):
            self._draw_near_misses(number, topic)
        for shelf, (count, kinds) in _SHELVES.items():
            while len(self.shelves[shelf]) < count:
                self._add(shelf, draw_facts(rng.choice(kinds), rng, split="test"))

    def _draw_answer(self, topic: _Topic) -> None:
        while True:
            facts = draw_facts(topic.kind, self.rng, split="test")
            is_alone = not any(meets(facts, asked, slots) for asked, slots in self._list_asked())
            if is_alone and not any(meets(other, facts, topic.mentioned) for other in self._taken):
                break
        self._taken.add(facts.canonical)
        self.asked.append(facts)
        self.shelves[topic.shelf].append(facts)

    def _draw_near_misses(self, number: int, topic: _Topic) -> None:
        facts = self.asked[number]
        if topic.changed is not None:
            ((_, shown),) = draw_near_misses(facts, self.rng, count=1, split=None, slots=(topic.changed,))
            self.shown[number] = shown
            self._taken.add(shown.canonical)
        wanted = len(self.shelves[topic.shelf]) + _NEAR_MISSES
        near = draw_near_misses(facts, self.rng, count=3 * _NEAR_MISSES, split=None, slots=topic.mentioned)
        for _, changed in near:
            if len(self.shelves[topic.shelf]) < wanted:
                self._add(topic.shelf, changed)

    def _add(self, shelf: Shelf, facts: Facts) -> None:
        if facts.canonical in self._taken or any(meets(facts, asked, slots) for asked, slots in self._list_asked()):
            return
        self._taken.add(facts.canonical)
        self.shelves[shelf].append(facts)

    def _list_asked(self) -> list[tuple[Facts, tuple[str, ...]]]:
        # While the answers are drawn there are fewer of them than topics.
        return [(asked, topic.mentioned) for asked, topic in zip(self.asked, _TOPICS, strict=False)]


def write_office(folder: Path, *, seed: int = 104) -> Office:
    """Writes an office of images, scans, PDFs, videos and notes that no training has seen, with questions about it.

    For each question there are six near misses of its answer, which differ from it in one thing that the question
    tells. Equal seeds give equal files.

    Args:
        folder: What to search later; made if it is missing, and files of the same names are replaced. Images that
            belong to questions are written beside it, into `questions/`.
        seed: Chooses everything.
    """
    rng = random.Random(f"office/{seed}")
    plan = _Plan(rng)
    units: list[OfficeUnit] = []
    for shelf, facts in plan.shelves.items():
        places = write_shelf(folder, shelf, facts, rng)
        units += [OfficeUnit(place=place, facts=told) for place, told in zip(places, facts, strict=True)]
    place_of = {unit.facts: unit.place for unit in units}
    questions = [
        OfficeQuestion(
            title=topic.title,
            text=_word_question(topic, asked, rng),
            language=topic.language,
            query_image=_write_query_image(folder, number, plan.shown.get(number), rng),
            answer=place_of[asked],
            asked=asked,
            mentioned=topic.mentioned,
        )
        for number, (topic, asked) in enumerate(zip(_TOPICS, plan.asked, strict=True))
    ]
    ordered = sorted(units, key=lambda unit: (unit.place.file, unit.place.page or 0, unit.place.start or 0.0))
    return Office(folder=folder, questions=tuple(questions), units=tuple(ordered))


def _word_question(topic: _Topic, asked: Facts, rng: random.Random) -> str:
    """A whole question rather than a few keywords, if the language has one for these facts."""
    if topic.changed is not None:
        return ask_change(asked, topic.changed, topic.language, rng)
    wordings = [ask(asked, topic.language, rng, mentioned=topic.mentioned) for _ in range(_WORDINGS)]
    return max(wordings, key=lambda wording: wording.endswith(("?", "？")))


def _write_query_image(folder: Path, number: int, shown: Facts | None, rng: random.Random) -> Path | None:
    if shown is None:
        return None
    path = folder.parent / "questions" / f"question-{number + 1}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_picture(shown, rng, scale=_PICTURE_SCALE).save(path)
    return path
