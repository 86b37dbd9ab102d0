"""The units of an index by what people call them: file, page, time, or the id of an entry of a corpus."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.evaluation.corpus import CORPUS_ID, CORPUS_IDS
from qwen3_vl_retrieval.evaluation.questions import Judgement, Question, QuestionSet
from qwen3_vl_retrieval.index.results.hits import find_folder, shorten_path
from qwen3_vl_retrieval.index.store.catalog import StoredUnit
from qwen3_vl_retrieval.index.store.store import Store
from qwen3_vl_retrieval.paths import decode_path

__all__ = ["JudgedQuestion", "NamedUnit", "Target", "UnitDirectory"]

_NAMED_SOURCES = 10

_ID_CHARACTERS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedUnit:
    """A unit, and what it is called.

    Attributes:
        row: Its row in the store.
        id: Its id there.
        key: What it is called by where it has no name of its own: the same in indexes of other embedders.
        names: What it is called in runs: the ids of its entries in a corpus, or its file with page or time.
        sources: The files that hold it.
        media_type: What it is.
        page: Number of the page.
        start: First second of the window.
        end: Last second of the window.
    """

    row: int
    id: str
    key: str
    names: tuple[str, ...]
    sources: tuple[str, ...]
    media_type: MediaType
    page: int | None
    start: float | None
    end: float | None

    def judge(self, grade: int) -> Judgement:
        """Returns a judgement about this unit and no other, with page or time where its name has them."""
        name = self.names[0]
        placed = Judgement(source=name.rpartition("#")[0], page=self.page, start=self.start, end=self.end, grade=grade)
        return placed if placed.name == name else Judgement(source=name, grade=grade)

    def covers(self, judgement: Judgement) -> bool:
        """Returns whether the page or the moment of a judgement is this one, as far as it names one.

        A window is the moment if they share at least half of the shorter of both; a single time lies in it.
        """
        if judgement.page is not None:
            return self.page == judgement.page
        if judgement.start is None or judgement.end is None or self.start is None or self.end is None:
            return judgement.start is None or self.media_type == "video"
        length = min(judgement.end - judgement.start, self.end - self.start)
        shared = min(judgement.end, self.end) - max(judgement.start, self.start)
        return shared >= 0 and 2 * shared >= length


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is looked for: a judgement, and the units that are it.

    Attributes:
        name: What it is called in runs.
        grade: How well it answers.
        unit_ids: Any of these units is it; none if the index does not hold it.
        media_type: What it is; `None` if the index does not hold it.
    """

    name: str
    grade: int
    unit_ids: frozenset[str]
    media_type: MediaType | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedQuestion:
    """A question with what is looked for in one index.

    Attributes:
        question: The question.
        targets: What answers it, and what does not; the best first.
    """

    question: Question
    targets: tuple[Target, ...]

    @property
    def media_type(self) -> str:
        """What its best answer is; `"unknown"` if the index holds none."""
        return next((one.media_type for one in self.targets if one.grade > 0 and one.media_type), "unknown")

    @property
    def grades(self) -> dict[str, int]:
        """Grade of each target."""
        return {target.name: target.grade for target in self.targets}

    def name_units(self, units: Iterable[NamedUnit]) -> list[str]:
        """Returns a ranking of units as one of documents.

        A unit is called by the best target that it is, once: what else is found of a file that answers as a whole
        stands where it was found, under its own name.
        """
        found: set[str] = set()
        names: list[str] = []
        for unit in units:
            open_targets = [one for one in self.targets if unit.id in one.unit_ids and one.name not in found]
            of_unit = [one.name for one in open_targets if one.name in unit.names]
            called = of_unit or [one.name for one in open_targets[:1]]
            own = [name for name in unit.names if name not in called] if len(unit.names) > 1 or not called else []
            for name in (*called, *own):
                if name not in found:
                    found.add(name)
                    names.append(name)
        return names

    def grade_unit(self, unit_id: str) -> int:
        """Returns how well a unit answers; 0 if nobody has said."""
        return max((one.grade for one in self.targets if unit_id in one.unit_ids), default=0)


class UnitDirectory:
    """Names of all units of an index.

    Args:
        store: The index.

    Attributes:
        by_id: The units.
    """

    def __init__(self, store: Store) -> None:
        stored = [unit for rows in store.iterate_rows() for unit in store.catalog.load_units(rows).values()]
        folder = find_folder([source for unit in stored for source in unit.sources])
        units = [_name_unit(unit, folder) for unit in stored]
        repeated = {name for name, count in Counter(name for one in units for name in one.names).items() if count > 1}
        self.by_id = {one.id: _distinguish(one, repeated) for one in units}
        self._by_name = {name: one for one in self.by_id.values() for name in one.names}
        self._by_source: dict[str, list[NamedUnit]] = defaultdict(list)
        for one in self.by_id.values():
            for source in one.sources:
                self._by_source[source].append(one)
        self._by_file_name: dict[str, list[str]] = defaultdict(list)
        for source in self._by_source:
            self._by_file_name[decode_path(source).name].append(source)

    def resolve(self, questions: QuestionSet, *, allow_unknown: bool = False) -> list[JudgedQuestion]:
        """Returns the questions with the units that answer them.

        Args:
            questions: The questions.
            allow_unknown: Let what the index does not hold count as not found; see `list_unknown`.

        Raises:
            InputError: A source is not in the index and may not be unknown, or is the end of several paths.
        """
        unknown = self.list_unknown(questions)
        if unknown and not allow_unknown:
            named = "; ".join(f"{quote(one.name)} ({one.where or 'given'})" for one in unknown[:_NAMED_SOURCES])
            more = f"; and {len(unknown) - _NAMED_SOURCES:,} more" if len(unknown) > _NAMED_SOURCES else ""
            raise InputError(
                f"{questions.origin} names {len(unknown):,} {'source' if len(unknown) == 1 else 'sources'} that the "
                f"index does not hold: {named}{more}. Index them, mend the names, or let them count as not found with "
                "allow_unknown=True (--allow-unknown)"
            )
        return [self._resolve_question(question) for question in questions.questions]

    def list_unknown(self, questions: QuestionSet) -> list[Judgement]:
        """Returns the judgements about what the index does not hold.

        Raises:
            InputError: A source is the end of several paths.
        """
        return [one for question in questions.questions for one in question.judgements if not self.find_units(one)]

    def _resolve_question(self, question: Question) -> JudgedQuestion:
        targets: dict[frozenset[str] | str, Target] = {}
        for judgement in question.judgements:
            units = self.find_units(judgement)
            ids = frozenset(unit.id for unit in units)
            # A page that is named as such and as all of its file is one thing that is looked for; of entries with
            # the same content each has its own name.
            name = judgement.name if judgement.source in self._by_name or len(units) != 1 else units[0].names[0]
            key = f"{name}" if not ids or judgement.source in self._by_name else ids
            known = targets.get(key)
            if known is None or known.grade < judgement.grade:
                media_type = units[0].media_type if units else None
                targets[key] = Target(name=name, grade=judgement.grade, unit_ids=ids, media_type=media_type)
        ordered = sorted(targets.values(), key=lambda one: (-one.grade, len(one.unit_ids)))
        return JudgedQuestion(question=question, targets=tuple(ordered))

    def find_units(self, judgement: Judgement) -> list[NamedUnit]:
        """Returns the units that a judgement is about; none if the index does not hold them.

        Raises:
            InputError: Its source is the end of several paths.
        """
        for name in (judgement.name, judgement.source):
            if name in self._by_name:
                return [self._by_name[name]]
        source = self._find_source(judgement)
        return [] if source is None else [unit for unit in self._by_source[source] if unit.covers(judgement)]

    def _find_source(self, judgement: Judgement) -> str | None:
        wanted = PurePath(judgement.source).parts
        if not wanted:
            return None
        candidates = self._by_file_name.get(wanted[-1], [])
        found = [source for source in candidates if decode_path(source).parts[-len(wanted) :] == wanted]
        # The same content at several places is found at any of them.
        if len({tuple(sorted(one.id for one in self._by_source[source])) for source in found}) > 1:
            where = f"{judgement.where}: " if judgement.where else ""
            raise InputError(
                f"{where}{quote(judgement.source)} is the end of {len(found)} paths in the index, {quote(found[0])} "
                f"and {quote(found[1])} among them; give more of the path"
            )
        return found[0] if found else None


def _name_unit(stored: StoredUnit, folder: str | None) -> NamedUnit:
    unit, metadata = stored.find_unit()
    names: Sequence[str]
    if CORPUS_IDS in metadata:
        names = json.loads(str(metadata[CORPUS_IDS]))
    elif CORPUS_ID in metadata:
        names = [str(metadata[CORPUS_ID])]
    elif stored.sources:
        name = shorten_path(stored.sources[0], folder).as_posix()
        place = Judgement(source=name, page=unit.page, start=unit.start, end=unit.end)
        names = [place.name]
    else:
        names = [stored.record.id]
    return NamedUnit(
        row=stored.row,
        id=stored.record.id,
        # The hash of a chunk is that of its words; of what is in a file with others, that of the file.
        key=stored.record.sha256 if unit.media_type == "text" else stored.record.id,
        names=tuple(names),
        sources=stored.sources,
        media_type=unit.media_type,
        page=unit.page,
        start=unit.start,
        end=unit.end,
    )


def _distinguish(unit: NamedUnit, repeated: set[str]) -> NamedUnit:
    """The unit with its key in its names where they are those of others, too: chunks of a text have no page."""
    names = [f"{name}#id={unit.key[:_ID_CHARACTERS]}" if name in repeated else name for name in unit.names]
    return replace(unit, names=tuple(names))
