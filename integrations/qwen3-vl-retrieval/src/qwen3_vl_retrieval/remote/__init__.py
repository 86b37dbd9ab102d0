"""Models that somebody else runs: a vLLM, or `qwen3vl serve`, as an embedder and a reranker with the same numbers.

Neither torch nor weights are needed; `Connection` and the golden figures are for those who build engines themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.lazy_imports import import_lazily

if TYPE_CHECKING:
    from qwen3_vl_retrieval.remote.connection import ConnectionOptions
    from qwen3_vl_retrieval.remote.embedder import RemoteEmbedder
    from qwen3_vl_retrieval.remote.golden import GoldenFigures, read_golden_figures
    from qwen3_vl_retrieval.remote.reranker import RemoteReranker
    from qwen3_vl_retrieval.remote.self_test import SelfTest
    from qwen3_vl_retrieval.remote.sharing import share_remote_embedder, share_remote_reranker

__all__ = [
    "ConnectionOptions",
    "GoldenFigures",
    "RemoteEmbedder",
    "RemoteReranker",
    "SelfTest",
    "read_golden_figures",
    "share_remote_embedder",
    "share_remote_reranker",
]

__getattr__ = import_lazily(
    __name__,
    {
        "ConnectionOptions": "remote.connection",
        "GoldenFigures": "remote.golden",
        "RemoteEmbedder": "remote.embedder",
        "RemoteReranker": "remote.reranker",
        "SelfTest": "remote.self_test",
        "read_golden_figures": "remote.golden",
        "share_remote_embedder": "remote.sharing",
        "share_remote_reranker": "remote.sharing",
    },
)
