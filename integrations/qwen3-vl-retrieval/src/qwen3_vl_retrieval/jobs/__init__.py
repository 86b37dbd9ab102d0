"""From a folder to millions of pages: a source embedded in shards, on one device or many, with nothing lost or doubled.

```python
from qwen3_vl_retrieval.jobs import embed_source

report = embed_source("scans", "run", embedder)
print(report.units, report.failures, report.missing)
```

Needs the extra `jobs`; importing this package imports none of it. How a run flows: `listing` finds files and the
identity of their contents, `shards` cuts them into pieces, an executor places these on devices, where `shard_embedder`
reads and embeds them as an index does, `supervision` decides what is tried again, `settling` lets each unit count once,
and `verification` says whether everything is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.lazy_imports import import_lazily

if TYPE_CHECKING:
    from qwen3_vl_retrieval.jobs.chroma_sink import ChromaSink
    from qwen3_vl_retrieval.jobs.executor import Executor
    from qwen3_vl_retrieval.jobs.failures import NamedFailure
    from qwen3_vl_retrieval.jobs.in_process import InProcessExecutor
    from qwen3_vl_retrieval.jobs.index_sink import IndexSink
    from qwen3_vl_retrieval.jobs.lancedb_sink import LanceDbSink
    from qwen3_vl_retrieval.jobs.loading import LoadReport, load_run
    from qwen3_vl_retrieval.jobs.milvus_sink import MilvusSink
    from qwen3_vl_retrieval.jobs.postgres_sink import PostgresSink
    from qwen3_vl_retrieval.jobs.processes import ProcessExecutor
    from qwen3_vl_retrieval.jobs.qdrant_sink import QdrantSink
    from qwen3_vl_retrieval.jobs.ray_actors import RayExecutor
    from qwen3_vl_retrieval.jobs.reading import ReadingOptions
    from qwen3_vl_retrieval.jobs.report import RunProgress, RunReport
    from qwen3_vl_retrieval.jobs.run import embed_source
    from qwen3_vl_retrieval.jobs.run_vectors import RunVectors
    from qwen3_vl_retrieval.jobs.sink import Sink
    from qwen3_vl_retrieval.jobs.status import RunStatus, read_status

__all__ = [
    "ChromaSink",
    "Executor",
    "InProcessExecutor",
    "IndexSink",
    "LanceDbSink",
    "LoadReport",
    "MilvusSink",
    "NamedFailure",
    "PostgresSink",
    "ProcessExecutor",
    "QdrantSink",
    "RayExecutor",
    "ReadingOptions",
    "RunProgress",
    "RunReport",
    "RunStatus",
    "RunVectors",
    "Sink",
    "embed_source",
    "load_run",
    "read_status",
]

_MODULES = {
    "ChromaSink": "jobs.chroma_sink",
    "Executor": "jobs.executor",
    "InProcessExecutor": "jobs.in_process",
    "IndexSink": "jobs.index_sink",
    "LanceDbSink": "jobs.lancedb_sink",
    "LoadReport": "jobs.loading",
    "MilvusSink": "jobs.milvus_sink",
    "NamedFailure": "jobs.failures",
    "PostgresSink": "jobs.postgres_sink",
    "ProcessExecutor": "jobs.processes",
    "QdrantSink": "jobs.qdrant_sink",
    "RayExecutor": "jobs.ray_actors",
    "ReadingOptions": "jobs.reading",
    "RunProgress": "jobs.report",
    "RunReport": "jobs.report",
    "RunStatus": "jobs.status",
    "RunVectors": "jobs.run_vectors",
    "Sink": "jobs.sink",
    "embed_source": "jobs.run",
    "load_run": "jobs.loading",
    "read_status": "jobs.status",
}

__getattr__ = import_lazily(__name__, _MODULES)
