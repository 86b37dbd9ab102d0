"""A table of Postgres with pgvector as the target of a loading."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.errors import StoreError, explain, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.parquet import ExportBatch
from qwen3_vl_retrieval.jobs.sink import TOLERANCES, Sink, SinkPrecision, require_precision, require_stamp
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["PostgresSink"]

_MOST_DIMENSIONS: Mapping[str, int] = {"float32": 2_000, "float16": 4_000, "binary": 16_000}
"""What an HNSW index covers of a `vector` and of a `halfvec`, and what a `halfvec` holds, whose bits are indexed
(https://github.com/pgvector/pgvector, README.md of 0.8)."""

_GROUP_ROWS = 10_000

_COLUMNS = ("media_type", "source", "page", "start", "end", "width", "height", "mime_type", "sha256")
"""Metadata with a column of their own; the rest is in `metadata`."""

_CREATE = """
CREATE TABLE {table} (
    id text PRIMARY KEY,
    vector {kind}({dimensions}) NOT NULL,
    media_type text,
    source text,
    page integer,
    start double precision,
    "end" double precision,
    width integer,
    height integer,
    mime_type text,
    sha256 text,
    sources text[] NOT NULL,
    text text NOT NULL,
    metadata jsonb NOT NULL,
    row_hash text NOT NULL
)
"""

_VIEW = """
CREATE OR REPLACE VIEW {view} AS SELECT
    hashtextextended(id, 0) AS id,
    text,
    metadata || jsonb_strip_nulls(jsonb_build_object({pairs})) AS metadata_,
    id AS node_id,
    vector AS embedding,
    to_tsvector({language}, text) AS text_search_tsv
FROM {table}
"""
"""What the `PGVectorStore` of LlamaIndex selects, with the flat metadata in one JSON object."""

_UPSERT = """
INSERT INTO {table} VALUES (%s, %s::{kind}, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s)
ON CONFLICT (id) DO UPDATE SET
    vector = EXCLUDED.vector, media_type = EXCLUDED.media_type, source = EXCLUDED.source, page = EXCLUDED.page,
    start = EXCLUDED.start, "end" = EXCLUDED."end", width = EXCLUDED.width, height = EXCLUDED.height,
    mime_type = EXCLUDED.mime_type, sha256 = EXCLUDED.sha256, sources = EXCLUDED.sources, text = EXCLUDED.text,
    metadata = EXCLUDED.metadata, row_hash = EXCLUDED.row_hash
"""

_FIND_KIND = "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = %s::oid AND attname = 'vector'"

_INDEX_BY_COSINE = "CREATE INDEX IF NOT EXISTS {index} ON {table} USING hnsw (vector {operators})"

_INDEX_BY_WORDS = "CREATE INDEX IF NOT EXISTS {index} ON {table} USING gin (to_tsvector({language}, text))"

_INDEX_BY_BITS = """
CREATE INDEX IF NOT EXISTS {index} ON {table}
USING hnsw ((binary_quantize(vector)::bit({dimensions})) bit_hamming_ops)
"""


class PostgresSink(Sink):
    """Enters units in a table, which is made if there is none, with an index by cosine.

    Columns are `id`, `vector`, the flat metadata, `sources`, `text`, `metadata` as JSON, and `row_hash`; the text of
    what has none is empty. The fingerprint is the comment of the table. Beside the table `NAME` there is a view
    `data_NAME` with the columns that LlamaIndex reads, and the table has an index of the words of its texts.

    Args:
        url: `postgresql://user@host/database`; what it leaves out is as libpq has it (`PGPASSWORD`, `~/.pgpass`).
        table: Name of the table.
        precision: Number format of a table that is made: `"float32"`, the default up to 2,000 dimensions, is a
            `vector`, `"float16"` a `halfvec`, and `"binary"` a `halfvec` with an index of its signs.
        language: Postgres's text search configuration for the index of words: `"simple"` leaves words as they are,
            `"english"` and others reduce them to their stems.
    """

    def __init__(
        self, url: str, *, table: str, precision: SinkPrecision | None = None, language: str = "simple"
    ) -> None:
        require_precision(precision, tuple(_MOST_DIMENSIONS), "Postgres")
        self._url = url
        self._table = table
        self._language = language
        self._precision: SinkPrecision | None = precision
        self._connection: Any = None
        self._kind = "vector"
        self._dimensions = 0

    @property
    def vector_tolerance(self) -> float:
        """What rounding to halves leaves, if they are halves."""
        return TOLERANCES["float16" if self._kind == "halfvec" else "float32"]

    def open(self, fingerprint: Fingerprint) -> None:
        """Opens the table, or makes it."""
        psycopg = import_extra("psycopg", purpose="tables of Postgres", extra="postgres")
        try:
            self._connection = psycopg.connect(self._url, autocommit=True)
        except psycopg.Error as error:
            raise StoreError(f"Postgres cannot be reached: {explain(error)}") from error
        self._dimensions = fingerprint.dimensions
        with self._explain():
            self._run("CREATE EXTENSION IF NOT EXISTS vector")
            found = self._run("SELECT to_regclass({name})::oid").fetchone()[0]
            if found is None:
                self._create(fingerprint)
                return
            comment = self._run("SELECT obj_description(%s::oid, 'pg_class')", [found]).fetchone()[0]
            require_stamp(comment, fingerprint, f"the table {quote(self._table)}")
            (self._kind,) = self._run(_FIND_KIND, [found]).fetchone()
            if self._precision is None:
                (has_bits,) = self._run("SELECT to_regclass({index_name}) IS NOT NULL", by="bits").fetchone()
                self._precision = "binary" if has_bits else None

    def find_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Returns the row hashes of those of `ids` that the table holds."""
        with self._explain():
            return dict(self._run("SELECT id, row_hash FROM {table} WHERE id = ANY(%s)", [list(ids)]).fetchall())

    def upsert(self, batch: ExportBatch, hashes: Sequence[str]) -> None:
        """Enters rows in one transaction."""
        rows = [
            [
                batch.ids[place],
                _write_vector(batch.vectors[place]),
                *(batch.metadata[place].get(name) for name in _COLUMNS),
                list(batch.sources[place]),
                _clean_text(batch.texts[place]),
                json.dumps({name: value for name, value in batch.metadata[place].items() if name not in _COLUMNS}),
                hashes[place],
            ]
            for place in range(len(batch.ids))
        ]
        with self._explain(), self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(self._compose(_UPSERT), rows)

    def fetch_vectors(self, ids: Sequence[str]) -> Mapping[str, npt.NDArray[Any]]:
        """Returns the vectors of `ids`."""
        with self._explain():
            found = self._run("SELECT id, vector::text FROM {table} WHERE id = ANY(%s)", [list(ids)]).fetchall()
        return {unit_id: np.array(json.loads(vector), dtype=np.float32) for unit_id, vector in found}

    def iterate_ids(self) -> Iterator[Sequence[str]]:
        """Yields the ids of all rows."""
        last = ""
        while True:
            with self._explain():
                found = self._run("SELECT id FROM {table} WHERE id > %s ORDER BY id LIMIT %s", [last, _GROUP_ROWS])
                ids = [unit_id for (unit_id,) in found.fetchall()]
            if not ids:
                return
            yield ids
            last = ids[-1]

    def delete(self, ids: Sequence[str]) -> None:
        """Removes rows."""
        with self._explain():
            self._run("DELETE FROM {table} WHERE id = ANY(%s)", [list(ids)])

    def count(self) -> int:
        """Returns the number of rows."""
        with self._explain():
            return int(self._run("SELECT count(*) FROM {table}").fetchone()[0])

    def finish(self) -> None:
        """Builds the indexes, unless they are there: it is faster once all rows are."""
        with self._explain():
            self._run(_VIEW)
            self._run(_INDEX_BY_WORDS, by=f"words_{self._language}")
            if self._precision == "binary":
                self._run(_INDEX_BY_BITS, by="bits")
            else:
                self._run(_INDEX_BY_COSINE, by="cosine")
            self._run("ANALYZE {table}")

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()

    def _create(self, fingerprint: Fingerprint) -> None:
        self._precision = _choose_precision(self._precision, fingerprint.dimensions)
        self._kind = "vector" if self._precision == "float32" else "halfvec"
        sql = import_extra("psycopg.sql", purpose="tables of Postgres", extra="postgres")
        with self._connection.transaction():
            self._run(_CREATE)
            self._run("COMMENT ON TABLE {table} IS {comment}", comment=sql.Literal(json.dumps(fingerprint.to_dict())))

    def _run(self, statement: str, values: Sequence[Any] | None = None, *, by: str = "cosine", **parts: Any) -> Any:
        return self._connection.execute(self._compose(statement, by=by, **parts), values)

    def _compose(self, statement: str, *, by: str = "cosine", **parts: Any) -> Any:
        """The statement with names quoted as Postgres wants them; `by` tells one index of the table from another."""
        sql = import_extra("psycopg.sql", purpose="tables of Postgres", extra="postgres")
        *schema, table_name = self._table.split(".")
        table = sql.Identifier(*schema, table_name)
        index_name = f"{table_name}_by_{by}"
        return sql.SQL(statement).format(
            table=table,
            name=sql.Literal(table.as_string(self._connection)),
            index=sql.Identifier(index_name),
            index_name=sql.Literal(sql.Identifier(*schema, index_name).as_string(self._connection)),
            view=sql.Identifier(*schema, f"data_{table_name}"),
            pairs=sql.SQL(", ").join(
                sql.SQL("{}, {}").format(sql.Literal(column), sql.Identifier(column)) for column in _COLUMNS
            ),
            language=sql.Literal(self._language),
            dimensions=sql.Literal(self._dimensions),
            kind=sql.SQL(self._kind),
            operators=sql.SQL(f"{self._kind}_cosine_ops"),
            **parts,
        )

    @contextmanager
    def _explain(self) -> Generator[None, None, None]:
        psycopg = import_extra("psycopg", purpose="tables of Postgres", extra="postgres")
        try:
            yield
        except psycopg.Error as error:
            raise StoreError(f"Postgres refuses the table {quote(self._table)}: {explain(error)}") from error


def _choose_precision(precision: SinkPrecision | None, dimensions: int) -> SinkPrecision:
    """The number format of a new table whose vectors can be indexed."""
    if precision is None:
        precision = "float32" if dimensions <= _MOST_DIMENSIONS["float32"] else "float16"
    most = _MOST_DIMENSIONS[precision]
    if dimensions > most:
        raise StoreError(
            f"Postgres indexes vectors of {most:,} dimensions at most in precision {precision!r}, and these have "
            f"{dimensions:,}; give fewer dimensions, or another precision: {', '.join(_MOST_DIMENSIONS)}"
        )
    return precision


def _clean_text(text: str | None) -> str:
    # NUL is the one character that Postgres does not keep.
    return "" if text is None else text.replace("\0", "")


def _write_vector(vector: npt.NDArray[Any]) -> str:
    return "[" + ",".join(repr(value) for value in vector.astype(np.float32).tolist()) + "]"
