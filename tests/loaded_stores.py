"""Stores that tests load runs into, each searched by its own client."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.index.store.store import Store
from qwen3_vl_retrieval.jobs import (
    ChromaSink,
    IndexSink,
    LanceDbSink,
    MilvusSink,
    PostgresSink,
    QdrantSink,
    Sink,
)
from qwen3_vl_retrieval.jobs.chroma_sink import close_client

NAME = "units"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedStore:
    """A store of a test.

    Attributes:
        make_sink: Makes sinks of it, one after the other, with the options of the sink.
        find_nearest: The ids of the nearest rows, as its own client finds them.
        make_foreign: Makes a table or collection by its own client; `None` where anything else is no store at all.
        read_row: The text and the metadata of a unit, where the stores of LangChain look for them; `None` if untested.
        recall: How many of the exact ten nearest it finds at least; 1 if it compares with each vector.
    """

    make_sink: Callable[..., Sink]
    find_nearest: Callable[[npt.NDArray[np.float32], int], Sequence[str]]
    make_foreign: Callable[[], object] | None = None
    read_row: Callable[[str], tuple[str, Mapping[str, Any]]] | None = None
    recall: float = 1.0


def open_index(folder: Path) -> LoadedStore:
    def find_nearest(vector: npt.NDArray[np.float32], limit: int) -> Sequence[str]:
        with Store.open(folder) as store:
            store.refresh()
            return store.collection.find_nearest(store.shorten(vector[None])[0], limit=limit)

    return LoadedStore(make_sink=lambda **options: IndexSink(folder, **options), find_nearest=find_nearest, recall=0.95)


def open_lancedb(folder: Path) -> LoadedStore:
    import lancedb

    def find_nearest(vector: npt.NDArray[np.float32], limit: int) -> Sequence[str]:
        query = lancedb.connect(str(folder)).open_table(NAME).search(vector).metric("cosine")
        return query.select(["id"]).limit(limit).to_arrow().column("id").to_pylist()

    def make_foreign() -> None:
        lancedb.connect(str(folder)).create_table(NAME, data=[{"id": "a", "vector": [0.0, 1.0]}])

    return LoadedStore(
        make_sink=lambda **options: LanceDbSink(str(folder), table=NAME, **options),
        find_nearest=find_nearest,
        make_foreign=make_foreign,
    )


def open_postgres(url: str, table: str) -> LoadedStore:
    import psycopg

    def find_nearest(vector: npt.NDArray[np.float32], limit: int) -> Sequence[str]:
        with psycopg.connect(url) as connection:
            connection.execute("SET hnsw.ef_search = 200")
            # With so few rows the planner would compare with each.
            connection.execute("SET enable_seqscan = off")
            statement = f"SELECT id FROM {table} ORDER BY vector <=> %s::vector LIMIT %s"  # noqa: S608 - our own table
            return [unit_id for (unit_id,) in connection.execute(statement, [str(vector.tolist()), limit])]

    def make_foreign() -> None:
        with psycopg.connect(url) as connection:
            connection.execute(f"CREATE TABLE {table} (id text)")

    return LoadedStore(
        make_sink=lambda **options: PostgresSink(url, table=table, **options),
        find_nearest=find_nearest,
        make_foreign=make_foreign,
        recall=0.95,
    )


def open_qdrant(folder: Path) -> LoadedStore:
    from qdrant_client import QdrantClient, models

    @contextmanager
    def connect() -> Generator[Any, None, None]:
        client = QdrantClient(path=str(folder))
        try:
            yield client
        finally:
            client.close()

    def find_nearest(vector: npt.NDArray[np.float32], limit: int) -> Sequence[str]:
        with connect() as client:
            found = client.query_points(NAME, query=vector.tolist(), limit=limit, with_payload=True).points
        return [point.payload["metadata"]["id"] for point in found]

    def make_foreign() -> None:
        with connect() as client:
            params = models.VectorParams(size=2, distance=models.Distance.COSINE)
            client.create_collection(NAME, vectors_config=params)

    def read_row(unit_id: str) -> tuple[str, Mapping[str, Any]]:
        condition = models.FieldCondition(key="metadata.id", match=models.MatchValue(value=unit_id))
        with connect() as client:
            (point,), _ = client.scroll(NAME, scroll_filter=models.Filter(must=[condition]))
        return point.payload["page_content"], point.payload["metadata"]

    return LoadedStore(
        make_sink=lambda **options: QdrantSink(str(folder), collection=NAME, **options),
        find_nearest=find_nearest,
        make_foreign=make_foreign,
        read_row=read_row,
    )


def open_milvus(file: Path) -> LoadedStore:
    from pymilvus import MilvusClient

    @contextmanager
    def connect() -> Generator[Any, None, None]:
        client = MilvusClient(uri=str(file))
        try:
            yield client
        finally:
            client.close()

    def find_nearest(vector: npt.NDArray[np.float32], limit: int) -> Sequence[str]:
        with connect() as client:
            client.load_collection(NAME)
            (found,) = client.search(
                NAME, data=[vector.tolist()], limit=limit, search_params={"params": {"ef": 200}}, output_fields=["id"]
            )
        return [hit["id"] for hit in found]

    def make_foreign() -> None:
        with connect() as client:
            client.create_collection(NAME, dimension=2)

    def read_row(unit_id: str) -> tuple[str, Mapping[str, Any]]:
        with connect() as client:
            client.load_collection(NAME)
            (row,) = client.query(NAME, ids=[unit_id], output_fields=["*"])
        return row["text"], {name: value for name, value in row.items() if name not in ("text", "vector")}

    return LoadedStore(
        make_sink=lambda **options: MilvusSink(str(file), collection=NAME, **options),
        find_nearest=find_nearest,
        make_foreign=make_foreign,
        read_row=read_row,
        recall=0.95,
    )


def open_chroma(url: str, collection: str) -> LoadedStore:
    import chromadb
    from chromadb.config import Settings

    @contextmanager
    def connect() -> Generator[Any, None, None]:
        port = int(url.rpartition(":")[2])
        client = chromadb.HttpClient(host="127.0.0.1", port=port, settings=Settings(anonymized_telemetry=False))
        try:
            yield client
        finally:
            close_client(client)

    def find_nearest(vector: npt.NDArray[np.float32], limit: int) -> Sequence[str]:
        with connect() as client:
            rows = client.get_collection(collection, embedding_function=None)
            return rows.query(query_embeddings=[vector], n_results=limit, include=[])["ids"][0]

    def make_foreign() -> None:
        with connect() as client:
            client.create_collection(collection, embedding_function=None)

    def read_row(unit_id: str) -> tuple[str, Mapping[str, Any]]:
        with connect() as client:
            found = client.get_collection(collection, embedding_function=None).get(ids=[unit_id])
        return found["documents"][0], {"id": found["ids"][0], **found["metadatas"][0]}

    return LoadedStore(
        make_sink=lambda **options: ChromaSink(url, collection=collection, **options),
        find_nearest=find_nearest,
        make_foreign=make_foreign,
        read_row=read_row,
        recall=0.95,
    )
