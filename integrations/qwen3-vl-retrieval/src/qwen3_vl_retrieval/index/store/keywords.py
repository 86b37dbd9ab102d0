"""Exact words and numbers of text layers, in any script, through SQLite's full-text index.

Vectors of pages that differ in one digit nearly coincide; a keyword index tells them apart. Where units hold all that
a query says, or a number of it, their ranking and that of the vectors are joined by `fuse_ranks`. A word or two of a
sentence are hints, see `insert_hints`: fused, they took nDCG@10 of the first stage from 0.99 to 0.65 over the pocket
world, where most answers are images and have no words (benchmarks/keyword_hints.py and LOG.md).
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from qwen3_vl_retrieval.index.store.filters import SqlFilter

__all__ = [
    "KEYWORD_SCHEMA",
    "KeywordMatches",
    "add_words",
    "find_rows",
    "fuse_ranks",
    "insert_hints",
    "remove_words",
    "segment_text",
]

KEYWORD_SCHEMA = """
CREATE VIRTUAL TABLE keywords USING fts5(
    words, content='', tokenize="unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
);
CREATE VIRTUAL TABLE keyword_counts USING fts5vocab(keywords, 'row');
"""
"""The index, which keeps no copy of the texts, and a view of its words with their counts.

`M*` beyond the default categories: without it the vowel signs of Hindi, Thai and others would be spaces, and words
would be equal that share their consonants only.
"""

# Scripts without spaces between words, without their punctuation and digits. In the first a character is a syllable
# or a word, in the second (Thai, Lao, Myanmar, Khmer) a letter.
_SYLLABLES = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
    "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
)
_LETTERS = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf"
    "\u1000-\u103f\u1050-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f\u1780-\u17d3\u17d7\u17dc\u17dd"
)
_UNSPACED = re.compile(f"[{_SYLLABLES}{_LETTERS}]")
_PIECE = re.compile(f"(?P<syllables>[{_SYLLABLES}]+)|(?P<letters>[{_LETTERS}]+)|[^\\s{_SYLLABLES}{_LETTERS}]+")

_SYLLABLES_PER_GRAM = 2
_LETTERS_PER_GRAM = 4
"""Most words of Chinese and Japanese have two characters; two letters of Thai are in nearly every text."""

# A null character would end a query, and half of a surrogate pair cannot be stored.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# Marks beyond any orthography: sorting a run of them takes Unicode's normalization quadratic time. The two katakana
# signs become marks by it.
_CROWDED_MARKS = re.compile("((?:[^\\w\\s\0-\x7f]|[\uff9e\uff9f]){32})(?:[^\\w\\s\0-\x7f]|[\uff9e\uff9f])+")
# What is written inside words without changing them: soft hyphens, joiners, direction marks, the points of Hebrew and
# Arabic, and the Arabic stroke that lengthens a word.
_OPTIONAL = re.compile(
    "[\u00ad\u200c-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u0652\u0670]"
)
_FOREIGN_DIGIT = re.compile("(?![0-9])\\d")
_CURLY_QUOTES = str.maketrans("“”„‟", '""""')
# Not after a digit, where the sign means inches.
_QUOTED = re.compile('(?<![0-9])"([^"]+)"')

_COMMON_SHARE = 20
_FEWEST_COMMON_UNITS = 20
"""A word in more than a twentieth of the units, and in more than 20, orders nothing.

Those are the words of a question that are on every page. In a small index a twentieth would be nothing at all, and 20
units are few enough to be ordered by the other words.
"""

_LITERAL_DIGITS = 3
"""A number of fewer is a count or a day as often as a name, and stands in many texts."""

_HINT_PLACE = 5
"""Every fifth place is that of a hint, so that the first four are those of the vectors."""

_LONGEST_QUERY_CHARACTERS = 1024
"""What is longer is a passage, which its vector finds; every word costs a look into the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordMatches:
    """Units that hold words of a query.

    Attributes:
        rows: Their rows, best first.
        is_exact: Whether what they hold is all of the query that says anything, or a number or quoted phrase of it. If
            not, it is a word or two of a sentence, which other units may mean without holding them.
    """

    rows: Sequence[int]
    is_exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    """What a unit has to hold.

    Attributes:
        query: The term in FTS5's query language.
        count: Number of units that hold it, counted as far as matters.
        is_literal: Whether it names something: a number of three digits or more, or what was in quotes.
        rows: The units that hold enough of it; `None` if all that `query` finds do.
    """

    query: str
    count: int
    is_literal: bool = False
    rows: frozenset[int] | None = None


def segment_text(text: str) -> str:
    """Returns `text` as it is put into the index, in time linear in its length.

    Compatibility forms, case, digits of other scripts and optional marks are made one, and every character of a
    script without spaces is a word of its own, so that any run of them is found as a phrase.
    """
    return _space_characters(_fold_text(text))


def add_words(connection: sqlite3.Connection, row: int, text: str) -> None:
    """Adds the text of a unit that has none in the index yet.

    Args:
        connection: A store with `KEYWORD_SCHEMA`; the transaction is the caller's.
        row: `row` of the unit.
        text: Its text.
    """
    connection.execute("INSERT INTO keywords (rowid, words) VALUES (?, ?)", (row, segment_text(text)))


def remove_words(connection: sqlite3.Connection, row: int, text: str) -> None:
    """Removes the text of a unit; `text` must be what was added, or the index keeps the difference.

    Args:
        connection: As for `add_words`.
        row: `row` of the unit.
        text: The text that was added.
    """
    connection.execute(
        "INSERT INTO keywords (keywords, rowid, words) VALUES ('delete', ?, ?)", (row, segment_text(text))
    )


def find_rows(
    connection: sqlite3.Connection, query: str, *, limit: int, condition: SqlFilter | None = None
) -> KeywordMatches:
    """Returns the units that hold every discriminating term of `query`, best first by BM25.

    A term is a word (`INV-2024/117` is the phrase of its parts) or a phrase in double quotes. It is discriminating if
    it occurs, and not in more than a twentieth of the units and more than 20 of them; a phrase in quotes always is. If
    no unit holds all terms, those that hold the rarest one are returned, best first by all of them. Without a
    discriminating term there are none.

    A run of characters without spaces is a word if it occurs as it stands. Else it is a part of a sentence, and words
    are looked for inside: every two neighbouring characters (four letters of Thai, Lao, Khmer and Myanmar) are a gram,
    of which the discriminating ones count. They cannot all be required, as many lie across the border of two words and
    are on another page by chance: the run is held by units with more than half as many grams as the best unit has,
    and with at least two if the run is longer than two grams, because one gram of a sentence is chance.

    Args:
        connection: A store with `KEYWORD_SCHEMA`, and the tables of the filter if there is one.
        query: Any text.
        limit: Rows at most.
        condition: What else must hold; an index on `places (unit)` makes it fast.

    Raises:
        ValueError: `limit` is below 1.
    """
    if limit < 1:
        raise ValueError(f"limit={limit} must be at least 1")
    every = _choose_terms(connection, query)
    terms = [term for term in every if term.count]
    if not terms:
        return KeywordMatches(rows=(), is_exact=False)
    rows = _match_rows(connection, " AND ".join(term.query for term in terms), terms, limit, condition)
    if rows or len(terms) == 1:
        # Grams of a run are words by chance, and a word that occurs nowhere may be what the query is about.
        is_whole = all(term.count and term.rows is None for term in every)
        return KeywordMatches(rows=rows, is_exact=is_whole or any(term.is_literal for term in terms))
    any_term = " OR ".join(term.query for term in terms)
    # Of equally rare terms a number says more than a word, and a long word more than a short one.
    for term in sorted(terms, key=lambda term: (term.count, not re.search("[0-9]", term.query), -len(term.query))):
        rows = _match_rows(connection, f"{term.query} AND ({any_term})", [term], limit, condition)
        if rows:
            return KeywordMatches(rows=rows, is_exact=term.is_literal)
    return KeywordMatches(rows=(), is_exact=False)


def fuse_ranks(rankings: Sequence[Sequence[int]], *, constant: int = 60) -> list[tuple[int, float]]:
    """Returns the rows of all rankings with their reciprocal rank scores, best first.

    A row's score is the sum of `1 / (constant + rank)` over the rankings that hold it, ranks from 1. Ties keep the
    order of first appearance.

    Args:
        rankings: Rows, best first.
        constant: Weakens the first ranks against the later ones. 60 is the value of Cormack, Clarke and Büttcher,
            "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009.

    Raises:
        ValueError: `constant` is negative.
    """
    if constant < 0:
        raise ValueError(f"constant={constant} must not be negative")
    shares: dict[int, list[float]] = {}
    for ranking in rankings:
        for rank, row in enumerate(dict.fromkeys(ranking), start=1):
            shares.setdefault(row, []).append(1 / (constant + rank))
    # Summed exactly: rows with the same ranks in another order must tie.
    scores = [(row, math.fsum(parts)) for row, parts in shares.items()]
    return sorted(scores, key=lambda scored: -scored[1])


def insert_hints(ranking: Sequence[int], hints: Sequence[int]) -> list[int]:
    """Returns the rows of a ranking in its order, with a hint that is not among the best in every fifth place.

    Four of five places are the ranking's, whatever shares a word with the query; and a reranker sees the best of what
    the ranking may have missed.

    Args:
        ranking: Rows, best first.
        hints: Rows, best first; those that the ranking has before their turn keep its place.
    """
    ordered: dict[int, None] = {}
    waiting = iter(hints)
    for row in ranking:
        if len(ordered) % _HINT_PLACE == _HINT_PLACE - 1:
            hint = next((one for one in waiting if one not in ordered), None)
            ordered |= {} if hint is None else {hint: None}
        ordered[row] = None
    return list(ordered | dict.fromkeys(waiting))


def _fold_text(text: str) -> str:
    text = _UNSTORABLE.sub(" ", text)
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", _CROWDED_MARKS.sub(r"\1", text)).casefold()
    return _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), _OPTIONAL.sub("", text))


def _space_characters(text: str) -> str:
    return _UNSPACED.sub(r" \g<0> ", text)


def _choose_terms(connection: sqlite3.Connection, query: str) -> list[_Term]:
    """The discriminating terms in the order of the query, those that no unit holds (`count` 0) included."""
    (units,) = connection.execute("SELECT count(*) FROM keywords_docsize").fetchone()
    cutoff = max(_FEWEST_COMMON_UNITS, units // _COMMON_SHARE)
    folded = _fold_text(query[:_LONGEST_QUERY_CHARACTERS].translate(_CURLY_QUOTES))
    terms: dict[str, _Term] = {}
    # Every second part is what a pair of quotation marks holds.
    for place, part in enumerate(_QUOTED.split(folded)):
        if place % 2:
            found = [replace(_find_phrase(connection, part, cutoff), is_literal=True)]
        else:
            found = _find_words(connection, part, cutoff)
        terms.update((term.query, term) for term in found)
    return list(terms.values())


def _find_phrase(connection: sqlite3.Connection, phrase: str, cutoff: int) -> _Term:
    query = _quote_phrase(phrase)
    is_literal = len(re.findall("[0-9]", phrase)) >= _LITERAL_DIGITS
    return _Term(query=query, count=_count_units(connection, query, cutoff), is_literal=is_literal)


def _find_words(connection: sqlite3.Connection, text: str, cutoff: int) -> Iterator[_Term]:
    for piece, script in dict.fromkeys((match[0], match.lastgroup) for match in _PIECE.finditer(text)):
        word = _find_phrase(connection, piece, cutoff)
        if word.count == 0 and script == "syllables":
            word = _find_grams(connection, piece, _SYLLABLES_PER_GRAM, cutoff)
        elif word.count == 0 and script == "letters":
            word = _find_grams(connection, piece, _LETTERS_PER_GRAM, cutoff)
        # Punctuation by itself is no word that might have been found, and one in too many units orders nothing.
        if word.count <= cutoff and (word.count or any(letter.isalnum() for letter in piece)):
            yield word


def _find_grams(connection: sqlite3.Connection, run: str, length: int, cutoff: int) -> _Term:
    """The discriminating grams of a run, and the units that hold enough of them; see `find_rows`."""
    held: Counter[int] = Counter()
    queries: list[str] = []
    for gram in dict.fromkeys(run[first : first + length] for first in range(len(run) - length + 1)):
        query = _quote_phrase(gram)
        rows = _list_rows(connection, query, cutoff + 1)
        if 0 < len(rows) <= cutoff:
            queries.append(query)
            held.update(rows)
    fewest = 2 if len(run) > 2 * length else 1
    most = max(held.values(), default=0)
    enough = frozenset(row for row, count in held.items() if count >= fewest and 2 * count > most)
    return _Term(query=f"({' OR '.join(queries)})", count=len(enough), rows=enough)


def _quote_phrase(phrase: str) -> str:
    escaped = _space_characters(phrase).replace('"', '""')
    return f'"{escaped}"'


def _count_units(connection: sqlite3.Connection, query: str, cutoff: int) -> int:
    """Number of units, counted to one above the cutoff, so that common words are not scanned."""
    (count,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM keywords WHERE keywords MATCH ? LIMIT ?)", (query, cutoff + 1)
    ).fetchone()
    return count


def _list_rows(connection: sqlite3.Connection, query: str, limit: int) -> list[int]:
    rows = connection.execute("SELECT rowid FROM keywords WHERE keywords MATCH ? LIMIT ?", (query, limit))
    return [row for (row,) in rows]


def _match_rows(
    connection: sqlite3.Connection, query: str, terms: Sequence[_Term], limit: int, condition: SqlFilter | None
) -> list[int]:
    """The rows that `query` finds among those that hold enough of every term, best first."""
    clauses = ["keywords MATCH ?"]
    parameters: list[str | int | float] = [query]
    for term in terms:
        if term.rows is not None:
            # The sign keeps SQLite from asking the index once for every row.
            clauses.append("+keywords.rowid IN (SELECT value FROM json_each(?))")
            parameters.append(json.dumps(sorted(term.rows)))
    if condition is not None:
        units = "SELECT 1 FROM units AS u JOIN places AS p ON p.unit = u.row"
        clauses.append(f"EXISTS ({units} WHERE u.row = keywords.rowid AND {condition.condition})")
        parameters += condition.parameters
    rows = connection.execute(
        f"SELECT rowid FROM keywords WHERE {' AND '.join(clauses)} ORDER BY bm25(keywords), rowid LIMIT ?",  # noqa: S608 - from constants and a compiled filter
        (*parameters, limit),
    )
    return [row for (row,) in rows]
